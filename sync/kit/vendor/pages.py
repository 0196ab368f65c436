"""Cutting a list into pages, honestly or with the traps that the collection declares."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice

from sync.kit.vendor import positions
from sync.kit.vendor.collection import Key, Paging
from sync.kit.vendor.exchange import Refusal, Request
from sync.kit.vendor.filters import Filter, filter_of
from sync.kit.vendor.positions import Asked, Start
from sync.kit.vendor.table import Place, Row, Table
from sync.kit.vendor.tokens import encode


@dataclass(frozen=True, kw_only=True)
class Cut:
    """One page: its rows, whether more follow, and the position after it ("" = none is told)."""

    rows: list[Row]
    more: bool
    next: str
    total: int | None = None
    sync_token: str = ""


def cut(table: Table, parent: Key | None, request: Request, now: int) -> Cut:
    """The page that a request asks for; raises Refusal when it asks for what can't be."""
    collection = table.collection
    table.purge(now)
    size = _size(collection.paging, request)
    text = request.query.get(collection.paging.position, "")
    start = positions.read(Asked(table=table, parent=parent, text=text, size=size, now=now))
    wanted = filter_of(collection, request, now)
    rows, more = _rows(table, parent, wanted, start, size, now)
    following = more or collection.paging.always_next
    return Cut(
        rows=rows,
        more=more,
        next=positions.after(start, rows, table, now) if following else "",
        total=_total(table, parent, wanted, now) if collection.paging.total else None,
        sync_token=encode(start.asof) if collection.sync_token and not more else "",
    )


def _size(paging: Paging, request: Request) -> int:
    text = request.query.get(paging.size)
    if text is None:
        return paging.default
    if not text.isdecimal() or not int(text):
        raise Refusal(400, "invalid_parameter", f"{paging.size} must be a whole number from 1")
    return min(int(text), paging.maximum)


def _rows(
    table: Table, parent: Key | None, wanted: Filter, start: Start, size: int, now: int
) -> tuple[list[Row], bool]:
    paging = table.collection.paging
    full = _within_cap(paging, start, size)
    found = list(islice(_matching(table, parent, wanted, start, now), full + 1))
    if full < size and paging.cap_status is None:
        return found[:full], False
    take = _thinned(paging, start.page, full)
    return found[:take], len(found) > take


def _within_cap(paging: Paging, start: Start, size: int) -> int:
    if paging.cap is None:
        return size
    left = max(0, paging.cap - start.served)
    if not left and paging.cap_status is not None:
        raise Refusal(paging.cap_status, "result_limit", f"only the first {paging.cap} results can be listed")
    return min(size, left)


def _thinned(paging: Paging, page: int, size: int) -> int:
    if paging.empty_every and page % paging.empty_every == 0:
        return 0
    if paging.short_every and page % paging.short_every == 0:
        return max(1, size // 2)
    return size


def _matching(table: Table, parent: Key | None, wanted: Filter, start: Start, now: int) -> Iterator[Row]:
    start = replace(start, after=_beginning(table, wanted, start.after))
    rows = table.walk(parent, start.after, now)
    if wanted.tests:
        rows = (row for row in rows if wanted.passes(row))
    return islice(rows, start.skip, None)


def _beginning(table: Table, wanted: Filter, after: Place | None) -> Place | None:
    """Where to begin so that rows below the filter's bound aren't even looked at."""
    if wanted.bound is None or table.collection.descending:
        return after
    return max(after or (), (wanted.bound,))


def _total(table: Table, parent: Key | None, wanted: Filter, now: int) -> int:
    return sum(1 for _ in _matching(table, parent, wanted, Start(), now))
