"""Edits and what they leave behind: stamps, flags, tombstones, events, the deaths of children."""

import httpx
import pytest

from sync.kit.vendor import Collection, KeyTaken, Since, UnknownCollection, UnknownRow, Vendor, cursor, last_id

DAY = 86_400


@pytest.fixture
def shop(clock) -> Vendor:
    """Boxes, the things in them, their tombstones and events."""
    return Vendor(
        [
            Collection(name="boxes", tombstones="boxes_deleted", events="events", moved="activity_at", etag=True),
            Collection(
                name="boxes_deleted",
                path="/v1/boxes/deleted",
                since=Since(param="since"),
                created="",
                updated="deleted_at",
                paging=cursor(default=2),
            ),
            Collection(
                name="things",
                parent="boxes",
                parent_field="box_id",
                stirs="activity_at",
                flag=("deleted", True),
                gone_status=200,
                flag_param="include_deleted",
            ),
            Collection(
                name="events",
                paging=last_id(default=2),
                order="created",
                descending=True,
                created="created",
                updated="",
                stamps="epoch",
                retention_s=30 * DAY,
            ),
        ],
        clock=clock,
    )


@pytest.fixture
def client(shop, asker):
    return asker(shop)


def ids(reply: httpx.Response) -> list[int]:
    return [row["id"] for row in reply.json()["data"]]


def test_an_edit_moves_the_update_time_and_keeps_the_time_of_making(shop, client, clock):
    key = shop.create("boxes", None, {"name": "a"})
    clock.advance(5)
    shop.update("boxes", key, {"name": "b"})
    row = client.get(f"/v1/boxes/{key}").json()
    assert row["name"] == "b"
    assert row["created_at"] == "2026-03-01T00:00:00.000000Z"
    assert row["updated_at"] == "2026-03-01T00:00:05.000000Z"


def test_the_parent_is_stirred_by_its_children_without_being_updated(shop, client, clock):
    box = shop.create("boxes", None, {})
    clock.advance(5)
    shop.create("things", None, {"box_id": box})
    row = client.get(f"/v1/boxes/{box}").json()
    assert row["activity_at"] == "2026-03-01T00:00:05.000000Z"
    assert row["updated_at"] == "2026-03-01T00:00:00.000000Z"


def test_a_removed_row_is_absent_alone_and_in_the_list(shop, client):
    keys = [shop.create("boxes", None, {}) for _ in range(3)]
    shop.delete("boxes", keys[1])
    assert ids(client.get("/v1/boxes")) == [1, 3]
    assert client.get("/v1/boxes/2").status_code == 404


def test_a_removed_row_can_be_gone_instead(notes, asker):
    vendor = notes(1, gone_status=410)
    vendor.delete("notes", 1)
    client = asker(vendor)
    assert [client.get(f"/v1/notes/{key}").status_code for key in (1, 2)] == [410, 404]


def test_tombstones_are_a_feed_of_their_own(shop, client, clock):
    for key in [shop.create("boxes", None, {}) for _ in range(3)]:
        clock.advance(1)
        shop.delete("boxes", key)
    first = client.get("/v1/boxes/deleted", params={"since": "2026-03-01T00:00:01Z"}).json()
    rest = client.get("/v1/boxes/deleted", params={"cursor": first["next_cursor"]}).json()
    assert first["data"][0] == {"id": 1, "deleted_at": "2026-03-01T00:00:01.000000Z"}
    assert [row["id"] for row in first["data"] + rest["data"]] == [1, 2, 3]


def test_a_flagged_row_stays_in_the_list_for_those_who_ask(shop, client):
    box = shop.create("boxes", None, {})
    keys = [shop.create("things", None, {"box_id": box}) for _ in range(2)]
    shop.delete("things", keys[0])
    path = f"/v1/boxes/{box}/things"
    assert ids(client.get(path)) == [2]
    rows = client.get(path, params={"include_deleted": "true"}).json()["data"]
    assert {row["id"]: row.get("deleted") for row in rows} == {1: True, 2: None}
    assert client.get("/v1/things/1").json()["deleted"] is True


def test_children_die_with_their_parent(shop, client):
    box = shop.create("boxes", None, {})
    shop.create("things", None, {"box_id": box})
    shop.delete("boxes", box)
    assert shop.account().truth("things") == {"rows": {}, "deleted": ["1"]}
    assert client.get(f"/v1/boxes/{box}/things").status_code == 404


def test_a_parent_that_is_flagged_deleted_lists_no_children(clock, asker):
    things = Collection(name="things", parent="boxes", parent_field="box_id")
    vendor = Vendor([Collection(name="boxes", flag=("deleted", True)), things], clock=clock)
    box = vendor.create("boxes", None, {})
    vendor.delete("boxes", box)
    assert asker(vendor).get(f"/v1/boxes/{box}/things").status_code == 404


def test_children_are_listed_below_their_own_parent_only(shop, client):
    boxes = [shop.create("boxes", None, {}) for _ in range(2)]
    for box in (*boxes, boxes[0]):
        shop.create("things", None, {"box_id": box})
    assert ids(client.get(f"/v1/boxes/{boxes[0]}/things")) == [1, 3]
    assert client.get(f"/v1/boxes/{boxes[1]}/things/1").status_code == 404


def test_a_row_that_moves_changes_both_parents(shop, client, clock):
    boxes = [shop.create("boxes", None, {}) for _ in range(2)]
    shop.create("things", None, {"box_id": boxes[0]})
    clock.advance(5)
    shop.update("things", 1, {"box_id": boxes[1]})
    assert [ids(client.get(f"/v1/boxes/{box}/things")) for box in boxes] == [[], [1]]
    stirred = {row["activity_at"] for row in client.get("/v1/boxes").json()["data"]}
    assert stirred == {"2026-03-01T00:00:05.000000Z"}


def test_a_row_made_again_lives_again(shop, client):
    shop.create("boxes", 7, {"name": "old"})
    shop.delete("boxes", 7)
    shop.create("boxes", 7, {"name": "new"})
    assert client.get("/v1/boxes/7").json()["name"] == "new"
    assert shop.account().truth("boxes")["deleted"] == []


def test_every_edit_is_an_event_newest_first(shop, client):
    key = shop.create("boxes", None, {"name": "a"})
    shop.update("boxes", key, {"name": "b"})
    shop.delete("boxes", key)
    first = client.get("/v1/events").json()
    rest = client.get("/v1/events", params={"starting_after": first["data"][-1]["id"]}).json()
    events = first["data"] + rest["data"]
    assert [event["type"] for event in events] == ["boxe.deleted", "boxe.updated", "boxe.created"]
    assert [event["data"]["object"]["name"] for event in events] == ["b", "b", "a"]
    assert {event["created"] for event in events} == {1_772_323_200}


def test_events_are_kept_for_a_time_only(shop, client, clock):
    shop.create("boxes", None, {})
    clock.advance(31 * DAY)
    shop.create("boxes", None, {})
    assert len(shop.truth("events")) == 1
    clock.advance(1)
    assert [event["data"]["object"]["id"] for event in client.get("/v1/events").json()["data"]] == [2]


@pytest.mark.parametrize("path", ["/v1/boxes", "/v1/boxes/1"])
def test_an_etag_spares_the_body_until_something_changes(shop, client, path):
    shop.create("boxes", 1, {})
    etag = client.get(path).headers["etag"]
    same = client.get(path, headers={"If-None-Match": etag})
    assert (same.status_code, same.content) == (304, b"")
    shop.update("boxes", 1, {"name": "b"})
    assert client.get(path, headers={"If-None-Match": etag}).status_code == 200


def test_what_is_not_there_is_said(shop):
    shop.create("boxes", 1, {})
    with pytest.raises(KeyTaken):
        shop.create("boxes", 1, {})
    with pytest.raises(UnknownRow):
        shop.update("boxes", 2, {})
    with pytest.raises(UnknownCollection, match="there are boxes"):
        shop.create("bags", None, {})
