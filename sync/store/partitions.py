"""Partitions: the live records of a parent stream, each a share of its child."""

from collections.abc import Iterator
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, delete, exists, select, text

from connectors import Json, Stream
from models import Checkpoint, Slice
from sync.store import leases

_CHUNK = 1000
_checkpoints = Checkpoint.__table__
_slices = Slice.__table__


def partitions(
    connection: Connection, account: int, parents: Table, stream: Stream
) -> Iterator[tuple[str, dict[str, Json], Json]]:
    """(key, the fields that name the partition, the `when` field) of every record of the table `parents` that has
    children in `stream`."""
    table = parents
    last = ""
    while True:
        rows = connection.execute(
            select(table.c.key, table.c.payload)
            .where(table.c.connection_id == account, table.c.deleted_at.is_(None), table.c.key > last)
            .order_by(table.c.key)
            .limit(_CHUNK)
        ).all()
        for row in rows:
            record = _record(row.payload)
            if stream.where is None or stream.where(record):
                fields = {name: record.get(name) for name in stream.parent_fields}
                yield row.key, {**fields, "key": row.key}, record.get(stream.when) if stream.when else None
        if len(rows) < _CHUNK:
            return
        last = rows[-1].key


def _record(payload: Any) -> dict[str, Json]:
    found = payload if isinstance(payload, dict) else msgspec.json.decode(payload)
    return found if isinstance(found, dict) else {}


def is_empty(connection: Connection, table: Table, account: int) -> bool:
    """The connection has no record in this table yet."""
    one = select(table.c.key).where(table.c.connection_id == account).limit(1)
    return connection.execute(one).first() is None


def forget_partitions(connection: Connection, parents: Table, account: int, stream: str) -> None:
    """The partitions of deleted parents stand nowhere: a parent that comes back is read in full, and what was dead
    for want of its parent is settled."""
    gone = select(parents.c.key).where(parents.c.connection_id == account, parents.c.deleted_at.is_not(None))
    mine = (_checkpoints.c.connection_id == account, _checkpoints.c.stream == stream)
    connection.execute(delete(_checkpoints).where(*mine, _checkpoints.c.partition.in_(gone)))
    dead = select(_slices.c.id).where(
        text("slices.state IN ('dead', 'held')"),
        _slices.c.connection_id == account,
        _slices.c.stream == stream,
        _slices.c.partition.in_(gone),
    )
    units = list(connection.execute(dead).scalars())
    if units:
        leases.cancel(connection, units, "the parent was deleted")


def gone_parents(connection: Connection, parents: Table, children: Table, account: int) -> list[str]:
    """The keys of deleted parents that still have live children."""
    alive = exists().where(
        children.c.connection_id == account, children.c.parent_key == parents.c.key, children.c.deleted_at.is_(None)
    )
    gone = (parents.c.connection_id == account, parents.c.deleted_at.is_not(None), alive)
    return list(connection.execute(select(parents.c.key).where(*gone)).scalars())
