"""Every list of a connector is read as a stream: its rows, its tombstones, the feed over all."""

from dataclasses import replace

import pytest

from connectors import Connector, ContractError, Feed, Flag, Stream, Timestamp, Tombstones, epoch, iso, last_id, whole
from sync.lists import DELETES, FEED, ROWS, list_of, selection, streams

GRAVES = Tombstones(path="/v1/deleted", pull=whole(), at=iso("deleted_at"), key="uid", lookback="1 minute")
NOTES = Stream(
    "notes", "/v1/notes", whole(), version=iso("updated_at"), deletes=(GRAVES, Flag("deleted")), params={"all": "1"}
)
TASKS = Stream("tasks", "/v1/notes/{id}/tasks", whole(), parent="notes")
EVENTS = Feed(
    "/v1/events", last_id("after"), lambda event: (), at=epoch("created"), streams=("notes",), id="uid",
    lookback="1 minute", params={"type": "note"},
)  # fmt: skip
ACME = Connector(base_url="http://acme", streams=(NOTES, TASKS), feed=EVENTS)


def test_streams_keep_the_connectors_order():
    """Parents come before children, whatever the order of the selection."""
    assert streams(ACME, {}) == (NOTES, TASKS)
    assert streams(ACME, {}, ["tasks", "notes"]) == (NOTES, TASKS)
    assert streams(ACME, {}, {"tasks"}) == (TASKS,)
    assert streams(ACME, {}, "tasks") == (TASKS,)


def test_a_connection_selects_no_child_without_its_parent():
    assert selection(ACME, {}, ["tasks", "notes"]) == selection(ACME, {}) == (NOTES, TASKS)
    with pytest.raises(ContractError, match="'tasks' is read by the records of 'notes': select 'notes' too"):
        selection(ACME, {}, ["tasks"])


def test_an_unknown_stream_is_named_with_those_there_are():
    with pytest.raises(ContractError, match="no stream 'note'; there are notes, tasks"):
        streams(ACME, {}, ["note"])


def test_rows_are_the_stream_itself():
    assert list_of(ACME, {}, "notes", ROWS) is NOTES


def test_tombstones_have_their_own_key_time_and_cursor():
    """Nothing of the stream's own declaration is left that would filter or delete them."""
    found = list_of(ACME, {}, "notes", DELETES)
    assert (found.name, found.path, found.key, found.version) == ("notes", "/v1/deleted", "uid", GRAVES.at)
    assert found.cursor == Timestamp(field=GRAVES.at, lookback="1 minute")
    assert (found.deletes, found.params, found.columns, found.parent) == ((), {}, (), None)


def test_the_feed_is_a_stream_of_events():
    found = list_of(ACME, {}, "", FEED)
    assert (found.path, found.key, found.version, found.params) == ("/v1/events", "uid", EVENTS.at, {"type": "note"})
    assert found.cursor == Timestamp(field=EVENTS.at, lookback="1 minute", wire_format="epoch")


@pytest.mark.parametrize(
    ("name", "kind", "sentence"),
    [
        ("gone", ROWS, "no stream 'gone' any more"),
        ("tasks", DELETES, "'tasks' lists no deletions any more"),
        ("", FEED, "the connector has no feed"),
    ],
)
def test_what_a_new_version_has_no_more_is_told(name, kind, sentence):
    """A slice that is still open says why it can't go on."""
    with pytest.raises(ContractError, match=sentence):
        list_of(replace(ACME, feed=None), {}, name, kind)
