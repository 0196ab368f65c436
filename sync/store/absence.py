"""Absence: tombstones, and what a full pass did not show.

A tombstone carries a version like any record, so what is older can't bring the record back, and what is newer can.
A deletion of a record that was never held leaves a tombstone too, for the old version that may still be on its way.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Connection, bindparam, case, func, literal, select, update

from sync.store.database import insert_into, now
from sync.store.identity import digests, hashed
from sync.store.mirror import Mirror
from sync.store.tally import Tally
from sync.store.upsert import IDENTITY, known_keys, newer

_NOTHING = b"{}"
_CHUNK = 500
_READ = 5000
_FEW = 5  # rows: in a small table a share says little


def bury(
    connection: Connection,
    mirror: Mirror,
    connection_id: int,
    gone: Mapping[str, int],
    asked_at: datetime | None = None,
) -> Tally:
    """Make tombstones of the records that a vendor says are deleted: key -> version of the deletion.

    Only what is newer than the stored record counts; a tombstone that is already there takes on the newer version.
    """
    tally = Tally()
    if not gone:
        return tally
    at = connection.execute(select(now())).scalar_one()
    statement = _burial(connection, mirror, at, asked_at)
    for key in sorted(gone):
        values = {"connection_id": connection_id, "key": key, "version": gone[key]}
        held, deleted_at = _stored(connection, mirror, connection_id, key)
        if connection.execute(statement, values).first() is None:
            same = deleted_at is not None and gone[key] == held
            tally.left(key, version=gone[key], held=held if held is not None else gone[key], same=same)
        elif held is None:
            tally.unknown.append(key)
        elif deleted_at is None:
            tally.deleted.append(key)
        else:
            tally.unchanged += 1
    return tally


def _stored(connection: Connection, mirror: Mirror, connection_id: int, key: str) -> tuple[int | None, datetime | None]:
    """Version and burial of the stored row, which is locked: what is read here is what the statement meets."""
    stored = mirror.table.c
    query = select(stored.version, stored.deleted_at).where(stored.connection_id == connection_id, stored.key == key)
    row = connection.execute(query.with_for_update()).first()
    return (None, None) if row is None else (row[0], row[1])


def _burial(connection: Connection, mirror: Mirror, at: datetime, asked_at: datetime | None) -> Any:
    stored = mirror.table.c
    (digest,) = digests([_NOTHING], [True])
    fixed = {"digest": digest, "payload": {}, "changed_at": at, "deleted_at": at}
    statement = insert_into(connection, mirror.table).values(
        {name: bindparam(name) for name in (*IDENTITY, "version")} | fixed
    )
    lives = stored.deleted_at.is_(None)
    changes = {
        "version": statement.excluded.version,
        "digest": case((lives, stored.digest.bitwise_not()), else_=stored.digest),
        "changed_at": case((lives, statement.excluded.changed_at), else_=stored.changed_at),
        "deleted_at": func.coalesce(stored.deleted_at, statement.excluded.deleted_at),
    }
    where = newer(statement, mirror.table, literal(asked_at, stored.changed_at.type), lives)
    return statement.on_conflict_do_update(index_elements=IDENTITY, set_=changes, where=where).returning(stored.key)


def absent(
    connection: Connection,
    mirror: Mirror,
    connection_id: int,
    parent_key: str | None,
    seen: Iterable[bytes],
    began_at: datetime,
) -> list[tuple[str, int]]:
    """Key and version of the live rows that a pass did not see, unless they changed since it began.

    `seen` are the pages' `Batch.hashes`. The table is read in chunks; what is kept is 8 bytes a key.
    """
    known = Seen(seen)
    rows = _unchanged_since(connection, mirror, connection_id, parent_key, began_at)
    return [(key, version) for key, version in rows if hashed(key) not in known]


class Seen:
    """A set of 8-byte hashes that costs little more than 8 bytes each."""

    def __init__(self, pages: Iterable[bytes]) -> None:
        self._shelves: list[bytearray] = [bytearray() for _ in range(4096)]
        for page in pages:
            for start in range(0, len(page), 8):
                one = page[start : start + 8]
                self._shelves[one[0] << 4 | one[1] >> 4] += one

    def __contains__(self, one: bytes) -> bool:
        shelf = self._shelves[one[0] << 4 | one[1] >> 4]
        found = shelf.find(one)
        while found > 0 and found % 8:
            found = shelf.find(one, found + 1)
        return found >= 0


def _unchanged_since(
    connection: Connection, mirror: Mirror, connection_id: int, parent_key: str | None, began_at: datetime
) -> Iterator[tuple[str, int]]:
    stored = mirror.table.c
    query = (
        select(stored.key, stored.version)
        .where(*_live(mirror, connection_id, parent_key), stored.changed_at < began_at, stored.key > bindparam("after"))
        .order_by(stored.key)
        .limit(_READ)
    )
    after: str | None = ""
    while after is not None:
        rows = connection.execute(query, {"after": after}).all()
        yield from ((row[0], row[1]) for row in rows)
        after = rows[-1][0] if len(rows) == _READ else None


def _live(mirror: Mirror, connection_id: int, parent_key: str | None) -> list[ColumnElement[bool]]:
    stored = mirror.table.c
    of_parent = [] if parent_key is None else [stored.parent_key == parent_key]
    return [stored.connection_id == connection_id, stored.deleted_at.is_(None), *of_parent]


def live(
    connection: Connection,
    mirror: Mirror,
    connection_id: int,
    parent_key: str | None,
    keys: Sequence[str] | None = None,
) -> int:
    """How many records of a connection, of one partition, or of these keys, are not deleted."""
    which = _live(mirror, connection_id, parent_key)
    if keys is not None:
        which.append(mirror.table.c.key.in_(known_keys(connection, keys)))
    query = select(func.count()).select_from(mirror.table).where(*which)
    return int(connection.execute(query).scalar_one())


def guard(total: int, absent: int, max_drop: float, approved: int = 0) -> str | None:
    """Why a pass that would delete `absent` of `total` records must wait for its owner; None = it need not.

    Allowed are the share `max_drop`, or in a small table half of it but at most five rows, or what was approved.
    """
    allowed = max(int(max_drop * total), min(_FEW, (total + 1) // 2), approved)
    if absent <= allowed:
        return None
    return f"{absent} of {total} records are gone, {allowed} may go unasked: approve {absent} if that is right"


def bury_absent(
    connection: Connection, mirror: Mirror, connection_id: int, keys: Sequence[str], as_of: int, began_at: datetime
) -> list[str]:
    """Make tombstones of records whose absence is proved, except those that changed since the pass began.

    They keep their version, with which they may come back; only where versions are the time of the request
    (the stream declares none) it becomes `as_of`, the pass's start. Returns the keys buried.
    """
    stored = mirror.table.c
    unchanged = [*_live(mirror, connection_id, None), stored.changed_at < began_at]
    changes: dict[str, Any] = {}
    if mirror.stream.version is None:
        latest = literal(as_of, BigInteger())
        changes["version"] = case((stored.version < latest, latest), else_=stored.version)
    return _bury_where(connection, mirror, unchanged, stored.key, keys, changes)


def with_parent(connection: Connection, mirror: Mirror, connection_id: int, parent_keys: Sequence[str]) -> list[str]:
    """Make tombstones of the children of deleted parents; `mirror` is the children's. Returns their keys."""
    every = _live(mirror, connection_id, None)
    return _bury_where(connection, mirror, every, mirror.table.c.parent_key, parent_keys, {})


def _bury_where(
    connection: Connection,
    mirror: Mirror,
    where: Sequence[ColumnElement[bool]],
    column: ColumnElement[str],
    values: Sequence[str],
    changes: Mapping[str, Any],
) -> list[str]:
    stored = mirror.table.c
    at = connection.execute(select(now())).scalar_one()
    buried = {"deleted_at": at, "changed_at": at, "digest": stored.digest.bitwise_not(), **changes}
    found: list[str] = []
    for start in range(0, len(values), _CHUNK):
        chunk = column.in_(known_keys(connection, sorted(values[start : start + _CHUNK])))
        statement = update(mirror.table).where(*where, chunk).values(buried).returning(stored.key)
        found += connection.execute(statement).scalars()
    return found
