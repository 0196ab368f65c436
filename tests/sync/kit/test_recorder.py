"""The recorder: what it writes can be replayed, and holds nobody's secrets or addresses."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from connectors import Ask, Outcome, Stream, TidelockError, cursor, get_one, offset
from sync.door import OutcomeError
from sync.kit import vendor as simulator
from sync.kit.recorder import Scrub, record, record_lists
from sync.kit.recording import Exchange, RecordingError, Request, Response, load, write
from sync.kit.replay import Replay, Unrecorded
from sync.kit.subject import subjects
from sync.kit.vendor import Collection, Limit, demo_vendor
from sync.registry import load as load_connector
from tests.connectors.test_demo import Authorized
from tests.connectors.vendors import Door, keys, vendor, walk

SECRET = "sk_live_4eC39HqLyjWDarjtT1zdp7dc"  # the example of Stripe's documentation
STREAM = Stream("rows", "/v1/rows", cursor("data", "next_cursor", size=("limit", 10)), get=get_one())


@pytest.fixture
def door() -> Door:
    """A vendor with 25 people."""
    made = vendor(Collection(name="rows", paging=simulator.cursor(), order="id"))
    for number in range(1, 26):
        person = {"name": "Ann Lee", "email": "ann@lee.test", "note": f"her key is {SECRET}", "api_key": "plain"}
        made.create("rows", number, {**person, "next_token": "kept", "list": [{"password": "p"}]})
    return Door(made)


def test_recording_is_replayed(door: Door, tmp_path: Path) -> None:
    """Shortened pages lead on to the same next ones."""
    path = record(door, STREAM, [Ask(config={"url": "x"})], tmp_path, pages=9, most=3)
    recorded = load(tmp_path)
    assert path == tmp_path / "rows.json"
    assert recorded.config == {"url": "x"}
    replay = Replay(recorded.exchanges)
    assert keys(walk(replay, STREAM)) == [1, 2, 10, 11, 12, 20, 21, 22, 25]
    assert msgspec.json.decode(get_one()(replay, STREAM, "1"))["id"] == 1


def test_page_that_counts_its_rows_is_not_shortened(door: Door, tmp_path: Path) -> None:
    """An offset depends on how many there were."""
    made = vendor(Collection(name="rows", paging=simulator.offset(), order="id"))
    for number in range(1, 26):
        made.create("rows", number, {})
    counted = Stream("rows", "/v1/rows", offset("data", size=("limit", 10), total="total"))
    record(Door(made), counted, [Ask()], tmp_path, pages=9, most=3)
    assert set(keys(walk(Replay(load(tmp_path).exchanges), counted))) == set(range(1, 26))


def test_what_is_written_is_scrubbed(door: Door, tmp_path: Path) -> None:
    """Secrets by their form, by their name and by their value; addresses; names if asked for. Tokens stay."""
    scrub = Scrub(secrets=["kept-out"], names=True)
    path = record(door, STREAM, [Ask(config={"key": "kept-out"})], tmp_path, scrub=scrub)
    written = path.read_text() + (tmp_path / "connection.json").read_text()
    for secret in (SECRET, "ann@lee.test", "Ann Lee", "plain", '"p"', "kept-out"):
        assert secret not in written
    row = load(tmp_path).exchanges[0].response.body
    first, second = msgspec.json.decode(row)["data"][:2]
    assert first["next_token"] == "kept"
    assert first["email"] == second["email"]
    assert first["email"].endswith("@example.com")
    assert first["name"].startswith("Someone-")


def test_links_lead_nowhere_real() -> None:
    """A host may be a customer's."""
    found = Scrub().exchange(
        Exchange(Request.of("GET", "/x"), Response(200, {"link": '<https://acme.test/x?page=2>; rel="next"'}, b"{}"))
    )
    assert found.response.headers["link"] == '<https://recorded.invalid/x?page=2>; rel="next"'


def test_nothing_to_record_is_said(door: Door, tmp_path: Path) -> None:
    """A child stream without parents."""
    with pytest.raises(TidelockError, match="rows: there is nothing to record"):
        record(door, STREAM, [], tmp_path)


def test_every_list_of_a_connector_is_recorded(tmp_path: Path) -> None:
    """With its tombstones, and partitions of the parents that were seen; the contract suite takes them as they are."""
    door = Authorized(demo_vendor(scale=0.02, limit=Limit(rate=None)))
    config = {"url": "https://recorded.invalid"}
    written = record_lists(load_connector("demo"), config, lambda stream: door, tmp_path / "demo", most=3)
    names = ["customers", "customers.deletes", "projects", "tasks", "orders"]
    assert [path.name for path in written] == [f"{name}.json" for name in names]
    covered = subjects("demo", load_connector("demo"), tmp_path)
    assert {subject.stream.name: bool(subject.asks()) for subject in covered} == dict.fromkeys(
        ["customers", "projects", "tasks", "orders"], True
    )


# --- recordings and replay ---


def test_request_is_the_same_in_every_spelling() -> None:
    """As path and parameters, or as the URL of a link; absent parameters are none."""
    assert Request.of("GET", "/x", {"b": 1, "a": True, "c": None}) == Request.of("GET", "https://v.test/x?a=true&b=1")
    assert str(Request.of("POST", "/g", None, {"q": 1})) == 'POST /g {"q":1}'


def test_unrecorded_request_fails_loudly() -> None:
    """And names what there is."""
    replay = Replay([Exchange(Request.of("GET", "/a", {"page": 2}), Response(body=b"{}"))])
    with pytest.raises(Unrecorded, match=r"GET /b is not recorded; there are \n  GET /a\?page=2"):
        replay.get("/b")
    assert replay.asked == [Request.of("GET", "/b")]


def test_replay_classifies() -> None:
    """An answer that is not OK never returns, as with the real door."""
    replay = Replay([Exchange(Request.of("GET", "/a"), Response(404))])
    with pytest.raises(OutcomeError) as caught:
        replay.get("/a")
    assert caught.value.outcome is Outcome.GONE


def test_replay_tells_the_vendors_clock() -> None:
    """Where an answer has a date."""
    dated = Response(200, {"date": "Tue, 04 Nov 2025 10:00:00 GMT"}, b"{}")
    assert Replay([Exchange(Request.of("GET", "/a"), dated)]).get("/a").as_of == 1_762_250_400_000_000


def test_recording_survives_its_file(tmp_path: Path) -> None:
    """Bodies, posted questions, and answers that are no JSON."""
    exchanges = (
        Exchange(Request.of("GET", "/a", {"x": "1"}), Response(200, {"etag": "1"}, b'{"n":1.5}')),
        Exchange(Request.of("POST", "/g", None, {"query": "q"}), Response(200, {}, b"[]")),
        Exchange(Request.of("GET", "/h"), Response(502, {}, b"<html>")),
        Exchange(Request.of("GET", "/n"), Response(304, {}, b"")),
    )
    write(tmp_path / "deep" / "x.json", exchanges)
    assert load(tmp_path / "deep").exchanges == exchanges


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        ('[{"request": {}}]', "not as"),
        ('[{"request": {"path": "/"}, "response": 5}]', "not as"),
        ("[5]", "not as"),
    ],
)
def test_recording_that_is_wrong_is_named(tmp_path: Path, content: str, sentence: str) -> None:
    """By its file."""
    (tmp_path / "x.json").write_text(content)
    with pytest.raises(RecordingError, match=rf"x\.json.*{sentence}"):
        load(tmp_path)


def test_folder_that_is_missing_holds_nothing(tmp_path: Path) -> None:
    """A new connector has none yet."""
    found: Any = load(tmp_path / "none")
    assert (found.exchanges, found.config, found.verdicts) == ((), {}, ())
