"""Writing through the API, and the ways of repeating a write without doubling it."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from sync.kit.vendor import Fault, Writing


@pytest.fixture
def writable(notes):
    """Three notes, writable in this way; and the vendor."""
    return lambda **writing: notes(3, writing=Writing(**writing))


def test_a_row_is_made_changed_and_deleted(writable, asker):
    vendor = writable()
    client = asker(vendor)
    made = client.post("/v1/notes", json={"text": "new", "id": 77, "updated_at": "2020"})
    assert made.status_code == 201
    assert made.json()["id"] == 4
    assert made.json()["updated_at"].startswith("2026")
    changed = client.patch("/v1/notes/4", json={"text": "newer"})
    assert changed.json() == vendor.truth("notes")["4"]
    assert changed.json()["text"] == "newer"
    assert client.delete("/v1/notes/4").status_code == 204
    assert client.patch("/v1/notes/4", json={}).status_code == 404


def test_a_collection_is_read_only_unless_declared(notes, asker):
    client = asker(notes(3))
    assert client.post("/v1/notes", json={}).status_code == 405
    assert client.delete("/v1/notes/1").status_code == 405


@pytest.mark.parametrize("body", [b"{", b"[1]", b'"x"'])
def test_a_body_that_is_no_object_is_a_400(writable, asker, body):
    assert asker(writable()).post("/v1/notes", content=body).status_code == 400


def test_a_missing_field_is_a_422(writable, asker):
    reply = asker(writable(required=("text",))).post("/v1/notes", json={"text": ""})
    assert (reply.status_code, reply.json()["error"]["message"]) == (422, "missing: text")


def test_an_idempotency_key_makes_one_row_and_repeats_its_answer(writable, asker):
    vendor = writable()
    client = asker(vendor)
    headers = {"Idempotency-Key": "k"}
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: client.post("/v1/notes", json={"a": 1}, headers=headers), range(8)))
    assert {reply.text for reply in replies} == {replies[0].text}
    assert sum("idempotent-replay" in reply.headers for reply in replies) == 7
    assert len(vendor.truth("notes")) == 4
    assert client.post("/v1/notes", json={"a": 2}, headers=headers).status_code == 409


def test_a_lost_answer_can_be_had_again_with_the_key(writable, asker):
    vendor = writable()
    vendor.faults.set([Fault(kind="failed", times=1)])
    client = asker(vendor)
    replies = [client.post("/v1/notes", json={}, headers={"Idempotency-Key": "k"}) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [500, 201]
    assert len(vendor.truth("notes")) == 4


def test_a_caller_may_bring_its_own_id_once(writable, asker):
    client = asker(writable(client_ids=True))
    assert [client.post("/v1/notes", json={"id": one}).status_code for one in (77, 77, "x")] == [201, 409, 422]


def test_a_deleted_row_can_be_read_but_not_written(notes, asker):
    vendor = notes(2, writing=Writing(), flag=("deleted", True), gone_status=200)
    client = asker(vendor)
    assert client.delete("/v1/notes/1").status_code == 204
    assert client.get("/v1/notes/1").json()["deleted"] is True
    assert client.patch("/v1/notes/1", json={"deleted": False}).status_code == 404
    assert client.delete("/v1/notes/1").status_code == 404


def test_an_upsert_finds_by_its_field(writable, asker):
    vendor = writable(upsert="text")
    client = asker(vendor)
    asked = {"params": {"text": "note 1"}, "json": {"seen": True}}
    assert client.put("/v1/notes", **asked).json()["id"] == 2
    assert client.put("/v1/notes", params={"text": "other"}, json={}).status_code == 201
    vendor.create("notes", None, {"text": "note 1"})
    assert client.put("/v1/notes", **asked).status_code == 300


def test_a_stale_etag_changes_nothing(writable, asker):
    vendor = writable(if_match=True)
    client = asker(vendor)
    etag = client.get("/v1/notes/1").headers["etag"]
    assert client.patch("/v1/notes/1", json={"text": "a"}).status_code == 428
    statuses = [
        client.patch("/v1/notes/1", json={"text": text}, headers={"If-Match": etag}).status_code for text in "ab"
    ]
    assert statuses == [200, 412]
    assert vendor.truth("notes")["1"]["text"] == "a"
