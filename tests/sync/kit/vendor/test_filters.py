"""What a list request may ask for: since when, until when, with which field."""

import pytest

from sync.kit.vendor import Since, SyncToken


def test_a_sync_token_comes_with_the_last_page_only_and_gives_what_changed_since(notes, asker, clock):
    vendor = notes(10, sync_token=SyncToken(expires_s=600))
    client = asker(vendor)
    first = client.get("/v1/notes", params={"limit": 6}).json()
    assert "nextSyncToken" not in first
    clock.advance(1)
    vendor.update("notes", 1, {"text": "during the walk"})
    last = client.get("/v1/notes", params={"cursor": first["next_cursor"]}).json()
    changed = client.get("/v1/notes", params={"syncToken": last["nextSyncToken"]}).json()
    assert [row["id"] for row in changed["data"]] == [1]
    clock.advance(601)
    assert client.get("/v1/notes", params={"syncToken": last["nextSyncToken"]}).status_code == 410


@pytest.mark.parametrize(
    ("since", "text", "ids"),
    [
        (Since(), "2026-03-01T00:00:02Z", [3, 4, 5]),
        (Since(inclusive=False), "2026-03-01T00:00:02Z", [4, 5]),
        (Since(), "2026-03-01T01:00:02+01:00", [3, 4, 5]),
        (Since(), "1772323202", [3, 4, 5]),
        (Since(), "1772323202000", [3, 4, 5]),
        (Since(on="created"), "2026-03-01T00:00:03Z", [4, 5]),
        (Since(granularity_s=60), "2026-03-01T00:00:59Z", [1, 2, 3, 4, 5]),
        (Since(granularity_s=60, inclusive=False), "2026-02-28T23:59:59Z", [1, 2, 3, 4, 5]),
        (Since(granularity_s=86_400, inclusive=False), "2026-03-01T00:00:00Z", []),
        (Since(zone="America/New_York"), "2026-02-28 19:00:03", [4, 5]),
        (Since(zone="Asia/Kolkata", granularity_s=3600, inclusive=False), "2026-02-28T23:40:00Z", []),
    ],
)
def test_since_gives_what_changed_from_its_bucket_on(notes, asker, since, text, ids):
    client = asker(notes(5, since=since))
    rows = client.get("/v1/notes", params={"updated_since": text}).json()["data"]
    assert [row["id"] for row in rows] == ids


def test_until_is_exclusive(notes, asker):
    client = asker(notes(5, since=Since(until="updated_before")))
    rows = client.get("/v1/notes", params={"updated_before": "2026-03-01T00:00:02Z"}).json()["data"]
    assert [row["id"] for row in rows] == [1, 2]


def test_since_holds_in_a_descending_list_too(notes, asker):
    client = asker(notes(5, since=Since(), descending=True))
    rows = client.get("/v1/notes", params={"updated_since": "2026-03-01T00:00:03Z"}).json()["data"]
    assert [row["id"] for row in rows] == [5, 4]


def test_a_time_that_is_none_is_a_400(notes, asker):
    client = asker(notes(5, since=Since()))
    assert client.get("/v1/notes", params={"updated_since": "yesterday"}).status_code == 400


def test_rows_can_be_asked_for_by_a_field(notes, asker):
    client = asker(notes(5, where=("text",)))
    assert [row["id"] for row in client.get("/v1/notes", params={"text": "note 3"}).json()["data"]] == [4]
