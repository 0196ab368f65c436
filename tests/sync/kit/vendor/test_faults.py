"""Every fault strikes as planned, on the wire, and is on record."""

import gzip

import httpx
import pytest

from sync.kit.vendor import Collection, Fault, Request, Vendor, Writing
from sync.kit.vendor.faults import KINDS, Plan


@pytest.fixture
def struck(notes, asker):
    """A client of a vendor with ten notes, whose first request meets this fault; and the vendor."""

    def make(**fault) -> tuple[httpx.Client, Vendor]:
        vendor = notes(10, vendor={"plan": [Fault(nth=(1,), **fault)]}, writing=Writing())
        return asker(vendor), vendor

    return make


STATUSES = [
    ("status", {"status": 500}, 500),
    ("status", {"status": 503}, 503),
    ("throttle", {"seconds": 7}, 429),
    ("unauthorized", {}, 401),
    ("forbidden", {}, 403),
    ("missing", {}, 404),
    ("redirect", {}, 307),
    ("failed", {"status": 502}, 502),
]


@pytest.mark.parametrize(("kind", "options", "status"), STATUSES)
def test_a_status_is_answered_once_and_logged(struck, kind, options, status):
    client, vendor = struck(kind=kind, **options)
    assert [client.get("/v1/notes").status_code for _ in range(2)] == [status, 200]
    assert [entry.fault for entry in vendor.log.since()] == [kind, ""]
    assert vendor.stats()["faults"] == {kind: 1}


def test_a_throttle_tells_its_wait(struck):
    client, _ = struck(kind="throttle", seconds=7)
    assert client.get("/v1/notes").headers["retry-after"] == "7"


def test_a_redirect_leads_to_another_host(struck):
    client, _ = struck(kind="redirect", location="http://thief.invalid")
    assert client.get("/v1/notes?a=1").headers["location"] == "http://thief.invalid/v1/notes?a=1"


@pytest.mark.parametrize(("kind", "made"), [("reset", 0), ("lost", 1), ("failed", 1), ("status", 0)])
def test_a_write_is_carried_out_or_not_before_the_answer_is_lost(struck, kind, made):
    client, vendor = struck(kind=kind)
    try:
        assert client.post("/v1/notes", json={"text": "new"}).status_code == 500
    except httpx.ReadError:
        assert kind in {"reset", "lost"}
        assert vendor.log.since()[0].status == 0
    assert len(vendor.truth("notes")) == 10 + made


@pytest.mark.parametrize("kind", ["cut", "wrong_length"])
def test_a_body_ends_too_early(struck, kind):
    client, _ = struck(kind=kind)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get("/v1/notes")


@pytest.mark.parametrize("kind", ["truncated", "html"])
def test_a_body_is_no_json(struck, kind):
    client, _ = struck(kind=kind)
    reply = client.get("/v1/notes")
    assert reply.status_code == 200
    with pytest.raises(ValueError):
        reply.json()


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_a_slow_answer_is_still_whole(struck, kind):
    client, _ = struck(kind=kind, seconds=0.1)
    assert len(client.get("/v1/notes").json()["data"]) == 10


def test_a_hang_outlasts_an_impatient_caller(struck):
    client, _ = struck(kind="hang", seconds=30)
    with pytest.raises(httpx.ReadTimeout):
        client.get("/v1/notes", timeout=0.1)


def test_a_drip_comes_in_many_pieces_each_well_in_time(struck):
    client, _ = struck(kind="drip", seconds=0.4)
    with client.stream("GET", "/v1/notes") as reply:
        assert len(list(reply.iter_raw())) > 2


def test_an_oversized_body_is_valid(struck):
    client, _ = struck(kind="oversized", size=100_000)
    reply = client.get("/v1/notes")
    assert len(reply.content) == 100_000
    assert len(reply.json()["data"]) == 10


def test_gzip_is_labelled(struck):
    client, _ = struck(kind="gzip")
    with client.stream("GET", "/v1/notes") as reply:
        raw = b"".join(reply.iter_raw())
    assert reply.headers["content-encoding"] == "gzip"
    assert b"note 9" in gzip.decompress(raw)


def test_a_bomb_is_small_on_the_wire(struck):
    client, _ = struck(kind="bomb", size=10_000_000)
    with client.stream("GET", "/v1/notes") as reply:
        raw = b"".join(reply.iter_raw())
    assert len(raw) < 100_000
    assert len(gzip.decompress(raw)) == 10_000_000


def test_a_list_is_suddenly_empty(struck):
    client, vendor = struck(kind="empty")
    assert client.get("/v1/notes").json() == {"data": [], "next_cursor": None}
    assert len(vendor.truth("notes")) == 10


def strikes(fault: Fault, count: int = 12, seed: int = 0, method: str = "GET") -> list[int]:
    plan = Plan([fault], seed)
    asked = [Request(method=method, target="/v1/notes") for _ in range(count)]
    return [number for number, one in enumerate(asked, 1) if plan.strike(one)]


def test_when_a_fault_strikes():
    assert strikes(Fault(kind="reset", nth=(2, 5))) == [2, 5]
    assert strikes(Fault(kind="reset", every=5)) == [5, 10]
    assert strikes(Fault(kind="reset", times=3)) == [1, 2, 3]
    assert strikes(Fault(kind="reset", path="/v1/other")) == []
    assert strikes(Fault(kind="reset", method="POST")) == []
    assert strikes(Fault(kind="reset", method="POST", times=1), method="POST") == [1]


def test_chance_is_repeatable():
    fault = Fault(kind="reset", probability=0.3)
    first = strikes(fault, 1000, seed=4)
    assert first == strikes(fault, 1000, seed=4)
    assert first != strikes(fault, 1000, seed=5)
    assert 200 < len(first) < 400


def test_an_unknown_kind_is_refused_with_the_list_of_the_known():
    with pytest.raises(ValueError, match="truncated"):
        Fault(kind="typo")


def test_every_kind_works_on_any_request(clock):
    for kind in KINDS:
        vendor = Vendor([Collection(name="notes")], clock=clock, plan=[Fault(kind=kind, seconds=0, size=10)])
        assert vendor.answer(Request(method="GET", target="/v1/notes")).fault == kind
