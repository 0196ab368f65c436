"""Pages as vendors cut them: limited, capped, short, empty, drifting, late."""

from typing import Any

import httpx
import pytest

from sync.kit.vendor import Paging, cursor, offset


def walk_cursor(client: httpx.Client) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    given: str | None = ""
    while given is not None:
        body = client.get("/v1/notes", params={"cursor": given, "limit": 7}).json()
        rows += body["data"]
        given = body["next_cursor"]
    return rows


def test_a_row_edited_during_the_walk_moves_behind_it(notes, asker, clock):
    vendor = notes(10)
    client = asker(vendor)
    first = client.get("/v1/notes", params={"limit": 5}).json()
    vendor.update("notes", 8, {"text": "new"})
    rest = client.get("/v1/notes", params={"cursor": first["next_cursor"]}).json()
    assert [row["id"] for row in rest["data"]] == [6, 7, 9, 10, 8]


def test_offset_drifts_when_a_row_before_it_is_deleted(notes, asker):
    vendor = notes(10, paging=offset())
    client = asker(vendor)
    client.get("/v1/notes", params={"limit": 5})
    vendor.delete("notes", 3)
    rest = client.get("/v1/notes", params={"offset": 5}).json()["data"]
    assert [row["id"] for row in rest] == [7, 8, 9, 10]


def test_a_page_is_never_larger_than_the_maximum(notes, asker):
    client = asker(notes(10, paging=cursor(default=3, maximum=4)))
    assert len(client.get("/v1/notes").json()["data"]) == 3
    assert len(client.get("/v1/notes", params={"limit": 9}).json()["data"]) == 4


def test_a_silent_cap_ends_the_list_as_if_it_were_complete(notes, asker):
    assert len(walk_cursor(asker(notes(30, paging=cursor(cap=10))))) == 10


@pytest.mark.parametrize("paging", [cursor(cap=10, cap_status=400), offset(cap=10, cap_status=400)])
def test_a_speaking_cap_refuses_what_is_beyond(notes, asker, paging: Paging):
    client = asker(notes(30, paging=paging))
    first = client.get("/v1/notes", params={"limit": 10}).json()
    assert len(first["data"]) == 10
    assert client.get("/v1/notes", params={paging.position: first.get("next_cursor", 10)}).status_code == 400


def test_short_and_empty_pages_lose_nothing(notes, asker):
    vendor = notes(40, paging=cursor(short_every=2, empty_every=3))
    assert len(walk_cursor(asker(vendor))) == 40
    sizes = [entry.rows for entry in vendor.log.since()]
    assert sizes[:6] == [7, 3, 0, 3, 7, 0]


def test_a_lagging_row_shows_late_and_with_its_old_time(notes, asker, clock):
    vendor = notes(0, lag_s=90)
    client = asker(vendor)
    key = vendor.create("notes", None, {"text": "late"})
    stamp = vendor.truth("notes")[str(key)]["updated_at"]
    assert client.get("/v1/notes").json()["data"] == []
    assert client.get(f"/v1/notes/{key}").status_code == 200
    clock.advance(90)
    assert client.get("/v1/notes").json()["data"][0]["updated_at"] == stamp
