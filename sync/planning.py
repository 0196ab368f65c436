"""Planning: a run that waits for nothing gets its slices, one a partition.

A stream without a parent has one. A child stream has one for each record of its parent, except those of which the
parent says that nothing has moved.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import Connection, Row, Table

from connectors import Json, Stream, Timestamp, WithParent, seconds
from sync.lists import FEED, ROWS, list_of
from sync.registry import load
from sync.states import State
from sync.store import absence, checkpoints, runs
from sync.store.mirror import mirror
from sync.store.partitions import forget_partitions, gone_parents, is_empty, partitions


class Planned(Protocol):
    """A run, or what is going to be one: the columns that its slices depend on."""

    @property
    def connection_id(self) -> int: ...
    @property
    def stream(self) -> str: ...
    @property
    def list(self) -> str: ...
    @property
    def lane(self) -> str: ...
    @property
    def full(self) -> bool: ...
    @property
    def since(self) -> str | None: ...
    @property
    def until(self) -> str | None: ...


def sweep_due(stream: Stream, full_at: datetime, clock: datetime) -> bool:
    """It is time for another full pass to prove absence."""
    if not stream.sweep or stream.sweep.every is None:
        return False
    return clock - full_at >= timedelta(seconds=seconds(stream.sweep.every))


def plan(connection: Connection, run_id: int, account: Row[Any]) -> list[int]:
    """Give a waiting run its slices; the ids of the slices. A run that was planned already, or whose predecessor is
    open still, stays as it is: messages come twice, and early."""
    run = runs.plannable(connection, run_id)
    if run is None:
        return []
    stream = list_of(load(account.connector), account.config, run.stream, run.list)
    parts = _parts(connection, run, stream, account)
    return runs.add_slices(connection, run.id, [slice_of(run, stream, part) for part in parts])


@dataclass(frozen=True, kw_only=True)
class Part:
    """One partition of a run that is being planned."""

    key: str = ""
    parent: Mapping[str, Json] | None = None
    moved: Json = None
    full: bool = False
    first: bool = False
    position: Json = None
    etag: str | None = None


def _parts(connection: Connection, run: Row[Any], stream: Stream, account: Row[Any]) -> Iterable[Part]:
    if stream.parent:
        return _children(connection, run, stream, account)
    saved = checkpoints.get(connection, account.id, run.stream, "", run.list)
    return [whole(connection, run, stream, account, saved)]


def whole(connection: Connection, run: Planned, stream: Stream, account: Row[Any], saved: Row[Any] | None) -> Part:
    """All of a stream without a parent. Whoever has a checkpoint has records: nobody looks whether there are any."""
    first = run.list == ROWS and saved is None
    return Part(
        full=run.full,
        first=first and is_empty(connection, mirror(account.connector, stream, connection.dialect).table, account.id),
        position=None if run.full or saved is None else _position(run, saved),
        etag=saved.etag if saved and not (run.full and stream.cursor) else None,
    )


def _position(run: Planned, saved: Row[Any]) -> Json:
    """A feed remembers events beside its position."""
    return saved.cursor["at"] if run.list == FEED and saved.cursor else saved.cursor


def _children(connection: Connection, run: Row[Any], stream: Stream, account: Row[Any]) -> Iterator[Part]:
    """The partitions whose parent is alive and, where `when` says so, has moved."""
    known = checkpoints.of_stream(connection, account.id, stream.name)
    first = is_empty(connection, mirror(account.connector, stream, connection.dialect).table, account.id)
    above = list_of(load(account.connector), account.config, str(stream.parent), ROWS)
    parents = mirror(account.connector, above, connection.dialect).table
    if any(isinstance(rule, WithParent) for rule in stream.deletes):
        _bury_orphans(connection, run, parents, stream, account)
    for key, parent, moved in partitions(connection, account.id, parents, stream):
        saved = known.get(key)
        swept = saved is not None and saved.full_at is not None and not sweep_due(stream, saved.full_at, run.opened_at)
        if swept and stream.when and saved is not None and saved.moved == moved and not run.full and not run.since:
            continue
        full = run.full or not swept or stream.cursor is None
        position = None if full or saved is None else saved.cursor
        etag = saved.etag if saved is not None and not full else None
        yield Part(key=key, parent=parent, moved=moved, full=full, first=first, position=position, etag=etag)


def _bury_orphans(connection: Connection, run: Row[Any], parents: Table, stream: Stream, account: Row[Any]) -> None:
    """The children of a deleted parent are gone with it."""
    children = mirror(account.connector, stream, connection.dialect)
    gone = gone_parents(connection, parents, children.table, account.id)
    buried = absence.with_parent(connection, children, account.id, gone)
    runs.note_counts(connection, run.id, {"deleted": len(buried)})
    forget_partitions(connection, parents, account.id, stream.name)


def slice_of(run: Planned, stream: Stream, part: Part) -> dict[str, Any]:
    """The values of a slice, but for its run and the time when it is due."""
    ask = {"since": _since(run, stream, part), "until": _bound(stream, run.until), "page": None}
    return {
        "connection_id": run.connection_id,
        "stream": run.stream,
        "partition": part.key,
        "list": run.list,
        "lane": run.lane,
        "phase": "fetch",
        "state": State.READY.value,
        "full": part.full and not run.since,
        "first": part.first,
        "moved": part.moved,
        "etag": part.etag,
        "ask": {**ask, "parent": part.parent},
        "counts": {},
    }


def _since(run: Planned, stream: Stream, part: Part) -> Json:
    if run.since:
        return _bound(stream, run.since)
    return stream.cursor.wire(part.position) if stream.cursor else None


def _bound(stream: Stream, moment: str | None) -> Json:
    """A backfill's bound in the vendor's spelling, where the stream's cursor is a time."""
    if moment is None or not isinstance(stream.cursor, Timestamp):
        return None
    return stream.cursor.wire(round(datetime.fromisoformat(moment).timestamp() * 1_000_000))
