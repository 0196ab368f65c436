"""Checkpoints: saved with the data whose position they are."""

from collections.abc import Collection
from functools import cache
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, delete, select, update

from models import Checkpoint
from sync.store.database import insert_for

checkpoints = Checkpoint.__table__
_KEY = ("connection_id", "stream", "partition", "list")
_MOMENTS = {"fresh_at", "full_at"}

_one = select(checkpoints).where(
    checkpoints.c.connection_id == bindparam("account"),
    checkpoints.c.stream == bindparam("of_stream"),
    checkpoints.c.partition == bindparam("of_partition"),
    checkpoints.c.list == bindparam("of_list"),
)

_whole = select(checkpoints).where(
    checkpoints.c.connection_id.in_(bindparam("accounts", expanding=True)), checkpoints.c.partition == ""
)


def get(connection: Connection, account: int, stream: str, partition: str = "", list_: str = "rows") -> Row[Any] | None:
    """The checkpoint of a partition; None = it was never read to its end."""
    key = {"account": account, "of_stream": stream, "of_partition": partition, "of_list": list_}
    return connection.execute(_one, key).one_or_none()


def of_lists(connection: Connection, accounts: Collection[int]) -> dict[int, dict[tuple[str, str], Row[Any]]]:
    """The checkpoints of whole lists, those without partitions: by connection, then by (stream, list)."""
    found: dict[int, dict[tuple[str, str], Row[Any]]] = {}
    for row in connection.execute(_whole, {"accounts": sorted(accounts)}):
        found.setdefault(row.connection_id, {})[row.stream, row.list] = row
    return found


def of_stream(connection: Connection, account: int, stream: str) -> dict[str, Row[Any]]:
    """The checkpoints of all partitions of a stream, by partition."""
    statement = select(checkpoints).where(
        checkpoints.c.connection_id == account, checkpoints.c.stream == stream, checkpoints.c.list == "rows"
    )
    return {row.partition: row for row in connection.execute(statement)}


def every(connection: Connection, account: int, stream: str | None = None) -> list[Row[Any]]:
    """The checkpoints of a connection (or of one stream of it), of all partitions and lists."""
    statement = select(checkpoints).where(checkpoints.c.connection_id == account)
    if stream is not None:
        statement = statement.where(checkpoints.c.stream == stream)
    order = (checkpoints.c.stream, checkpoints.c.list, checkpoints.c.partition)
    return list(connection.execute(statement.order_by(*order)))


def save(connection: Connection, account: int, stream: str, partition: str, list_: str, **values: Any) -> None:
    """Save what a pass that fully succeeded has proved; only the given columns change. What an old pass proves late
    makes nothing less fresh."""
    key = {"connection_id": account, "stream": stream, "partition": partition, "list": list_}
    connection.execute(_saving(connection.dialect.name, tuple(sorted(values))), {**key, **values})


@cache
def _saving(dialect: str, names: tuple[str, ...]) -> Any:
    """The statement that saves these columns on this kind of database."""
    statement = insert_for(dialect, checkpoints)
    given = statement.excluded
    changes = {name: given[name] for name in names} | {
        name: case((checkpoints.c[name] > given[name], checkpoints.c[name]), else_=given[name])
        for name in _MOMENTS & set(names)
    }
    return statement.on_conflict_do_update(index_elements=_KEY, set_=changes)


def outdate(connection: Connection, account: int, stream: str) -> None:
    """Only a full pass can tell where the stream stands: it is due until one has succeeded."""
    which = (checkpoints.c.connection_id == account, checkpoints.c.stream == stream, checkpoints.c.list == "rows")
    connection.execute(update(checkpoints).where(*which).values(full_at=None))


def outdated(connection: Connection, account: int, stream: str) -> bool:
    """Whether a partition of the stream waits for a full pass."""
    return any(row.full_at is None for row in of_stream(connection, account, stream).values())


def reset(connection: Connection, account: int, stream: str | None = None) -> int:
    """Forget where a stream (or all streams) stood: the next run is a full pass. How many were forgotten."""
    statement = delete(checkpoints).where(checkpoints.c.connection_id == account)
    if stream is not None:
        statement = statement.where(checkpoints.c.stream == stream)
    return connection.execute(statement).rowcount
