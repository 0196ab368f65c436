"""The ready-made paginations against a vendor that sets the traps of real ones."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec
import pytest

from connectors import (
    Ask,
    ContractError,
    Reply,
    Stream,
    cursor,
    get_one,
    graphql,
    keyset,
    last_id,
    link_header,
    next_url,
    offset,
    page_number,
    sequence,
    whole,
)
from sync.kit import vendor as pages
from sync.kit.vendor import Collection, Since, SyncToken, Vendor, moment
from tests.connectors.vendors import Door, keys, vendor, walk

MANY = 25
AT = moment(2026, 1, 1)
BY_EDIT = Collection(name="rows", rows="", paging=pages.link(default=10), since=Since(param="since"))
BY_KEYSET = Stream("rows", "/v1/rows", keyset("updated_at", size=("per_page", 10)))


def filled(collection: Collection, count: int = MANY, step: int = 1_000_000) -> Vendor:
    made = vendor(collection)
    for number in range(count):
        made.create(collection.name, number + 1, {"name": f"row {number}"}, at=AT + number * step)
    return made


@dataclass
class Canned:
    """An `Api` that gives the same answer to everything."""

    body: Any
    headers: Mapping[str, str] = field(default_factory=dict)
    asked: list[Any] = field(default_factory=list)

    def get(self, path: str, params: Mapping[str, Any] | None = None) -> Reply:
        self.asked.append((path, dict(params or {})))
        return Reply(200, self.headers, msgspec.json.encode(self.body), path, 0)

    def post(self, path: str, json: Any, params: Mapping[str, Any] | None = None) -> Reply:
        self.asked.append((path, json))
        return self.get(path, params)


PAGINATIONS = {
    "cursor": (cursor("data", "next_cursor", size=("limit", 10)), pages.cursor()),
    "last_id": (last_id("starting_after", size=("limit", 10)), pages.last_id()),
    "link_header": (link_header(rows="data", size=("per_page", 10)), pages.link()),
    "next_url": (next_url("data", "next", size=("limit", 10)), pages.next_url()),
    "page_number": (page_number("data", size=("per_page", 10)), pages.page_number()),
    "offset": (offset("data", size=("limit", 10), total="total"), pages.offset()),
    "offset_blind": (offset("data", size=("limit", 10)), pages.offset()),
    "sequence": (sequence("data", param="after_seq", more="more", last="last_seq", size=("limit", 10)),
                 pages.sequence()),
    "graphql": (graphql("query($first: Int, $after: String) {rows {nodes {id}}}", "rows", first=10),
                pages.graphql()),
}  # fmt: skip


@pytest.mark.parametrize("name", PAGINATIONS)
@pytest.mark.parametrize("count", [0, 1, 10, 20, MANY])
def test_every_row_arrives_and_the_list_ends(name: str, count: int) -> None:
    """Also where the last page is full, or there is none."""
    pull, paging = PAGINATIONS[name]
    order = "sequence" if name == "sequence" else "id"
    made = filled(Collection(name="rows", paging=paging, order=order), count)
    found = keys(walk(Door(made), Stream("rows", "/v1/rows", pull)))
    assert sorted(set(found)) == list(range(1, count + 1))
    assert len(found) <= count + count // 10 + 1


def test_empty_page_with_a_cursor_goes_on() -> None:
    """Slack and Salesforce send them: only the vendor's signal is the end."""
    made = filled(Collection(name="rows", paging=pages.cursor(empty_every=2)))
    stream = Stream("rows", "/v1/rows", cursor("data", "next_cursor", size=("limit", 10)))
    assert sorted(keys(walk(Door(made), stream))) == list(range(1, MANY + 1))


def test_cursor_after_the_last_page_is_not_followed() -> None:
    """Zendesk's export hands a cursor out for ever; the flag is what ends it."""
    answer = Canned({"rows": [], "after_cursor": "x", "more": False})
    assert cursor("rows", "after_cursor", more="more")(answer, BY_KEYSET, Ask()).next is None


def test_sync_token_is_for_the_next_run() -> None:
    """It is not a page token, and comes back as `since`."""
    collection = Collection(name="rows", paging=pages.cursor(), sync_token=SyncToken())
    made = filled(collection, 15)
    pull = cursor("data", "next_cursor", size=("limit", 10), since="syncToken", sync_token="nextSyncToken")
    stream = Stream("rows", "/v1/rows", pull)
    door = Door(made)
    first = stream.pull(door, stream, Ask())
    assert first.cursor is None
    last = stream.pull(door, stream, Ask(page=first.next))
    assert last.next is None
    assert last.cursor
    made.update("rows", 3, {"name": "new"})
    assert keys(walk(door, stream, Ask(since=last.cursor))) == [3]


# --- keyset: lists that rise by their time of change ---


def test_ties_larger_than_a_page_land_and_end() -> None:
    """250 rows of one timestamp, page size 100: never raised past the tie, never in circles."""
    made = filled(BY_EDIT, 250, step=0)
    stream = Stream("rows", "/v1/rows", keyset("updated_at", size=("per_page", 100)))
    assert sorted(set(keys(walk(Door(made), stream)))) == list(range(1, 251))


def test_page_ends_inside_equal_timestamps() -> None:
    """The rest of the tie is on the next page."""
    made = vendor(BY_EDIT)
    for number in range(1, 31):
        made.create("rows", number, {}, at=AT + (0 if number < 8 else 1_000_000 if number < 15 else number * 1_000_000))
    assert sorted(set(keys(walk(Door(made), BY_KEYSET)))) == list(range(1, 31))


@pytest.mark.parametrize("pull", [BY_KEYSET.pull, link_header(size=("per_page", 10))], ids=["keyset", "numbered"])
def test_row_edited_under_way_hides_no_other(pull: Any) -> None:
    """An edit moves a row that was read to the end of the list, and every other one place up: over the page's
    border goes one that nobody has seen. Numbered pages miss it, which is why `keyset` is there."""
    made = filled(BY_EDIT, 40)
    edited = iter(range(1, 9))
    found = keys(walk(Door(made), Stream("rows", "/v1/rows", pull),
                      between=lambda _: made.update("rows", next(edited), {"name": "edited"})))  # fmt: skip
    missed = set(range(1, 41)) - set(found)
    assert missed == (set() if pull is BY_KEYSET.pull else {11, 22, 33})


def test_keyset_starts_at_the_cursor() -> None:
    """And asks for nothing before it."""
    made = filled(BY_EDIT, 40)
    since = made.truth("rows")["31"]["updated_at"]
    assert keys(walk(Door(made), BY_KEYSET, Ask(since=since))) == list(range(31, 41))


def test_offset_survives_a_row_deleted_under_way() -> None:
    """Pages overlap by one row; where that has moved, the list is read again from further up."""
    made = filled(Collection(name="rows", paging=pages.offset(), order="id"))
    stream = Stream("rows", "/v1/rows", offset("data", size=("limit", 10), total="total"))
    gone = [3, 4]

    def between(_: int) -> None:
        if gone:
            made.delete("rows", gone.pop())

    found = keys(walk(Door(made), stream, between=between))
    assert set(found) == set(range(1, MANY + 1))


def test_offset_beyond_the_cap_fails() -> None:
    """10,001 rows where 10,000 are listed: silence would be taken for completeness."""
    stream = Stream("rows", "/v1/rows", offset("data", size=("limit", 10), total="total", cap=20))
    with pytest.raises(ContractError, match="more than the 20 rows"):
        walk(Door(filled(Collection(name="rows", paging=pages.offset(), order="id"), 40)), stream)


def test_record_to_go_on_from_deleted_under_way() -> None:
    """The vendor refuses it, so the list does not end in silence; a rule makes a new pass of it."""
    made = filled(Collection(name="rows", paging=pages.last_id(), order="created", descending=True))
    stream = Stream("rows", "/v1/rows", last_id("starting_after", size=("limit", 10)))
    with pytest.raises(RuntimeError, match="No such row"):
        walk(Door(made), stream, between=lambda _: made.delete("rows", 16))


# --- what ends a list must be said ---


@pytest.mark.parametrize(
    ("pull", "body"),
    [
        (last_id("starting_after"), {"data": [{"id": 1}]}),
        (last_id("starting_after"), {"data": [], "has_more": True}),
        (last_id("starting_after"), {"has_more": False}),
        (page_number("data", more="more"), {"data": [{"id": 1}]}),
        (page_number("data", last="pages"), {"data": [{"id": 1}]}),
        (offset("data", total="total"), {"data": [{"id": 1}]}),
        (sequence("data", param="after", more="more", last="last"), {"data": [{"id": 1}], "last": 1}),
        (sequence("data", param="after", more="more", last="last"), {"data": [{"id": 1}], "more": True}),
        (graphql("{rows}", "rows"), {"data": None, "errors": [{"message": "no such field"}]}),
        (cursor("data", "next"), {"items": []}),
        (next_url("data", "next"), []),
        (keyset("updated_at"), {"message": "Not Found"}),
        (whole("data"), {}),
    ],
)
def test_list_whose_end_is_not_told_does_not_end(pull: Any, body: Any) -> None:
    """An answer without its sign of the end is an error, not the last page."""
    with pytest.raises(ContractError):
        pull(Canned(body), BY_KEYSET, Ask())


def test_bounds_and_size_are_parameters() -> None:
    """`since` and `until` travel in the vendor's parameters, beside the stream's own; absent ones stay away."""
    door = Canned({"data": [], "next": None})
    stream = Stream("rows", "/v1/rows", cursor("data", "next", size=("limit", 7), since="gte", until="lt"),
                    params={"status": "all"})  # fmt: skip
    stream.pull(door, stream, Ask(since="a", until="b"))
    assert door.asked == [("/v1/rows", {"status": "all", "limit": 7, "gte": "a", "lt": "b", "cursor": None})]


def test_graphql_variables() -> None:
    """The lower bound, the parent and the declared ones."""
    door = Canned({"data": {"rows": {"nodes": [], "pageInfo": {"hasNextPage": False, "endCursor": "z"}}}})
    stream = Stream("rows", "/graphql", graphql("q", "rows", first=5, since="from", variables={"kind": "x"}))
    assert stream.pull(door, stream, Ask(since="s", page="p")).next is None
    assert door.asked[0][1]["variables"] == {"kind": "x", "first": 5, "after": "p", "from": "s"}


def test_get_one_quotes_the_key() -> None:
    """A key with a slash or a question mark is a key, not a path."""
    door = Canned({"data": {"id": "a/b?c"}})
    stream = Stream("rows", "/v1/rows", whole())
    assert bytes(get_one(row="data")(door, stream, "a/b?c")) == b'{"id":"a/b?c"}'
    get_one("/other/{key}")(door, stream, "ü 1")
    assert [path for path, _ in door.asked] == ["/v1/rows/a%2Fb%3Fc", "/other/%C3%BC%201"]
