"""What happened to every stream: its last runs, its open slices, its records. Few queries, whatever there is."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, FromClause, Row, Table, case, func, inspect, or_, select, text

from models import Reject, Run, Slice
from models.slice import STUCK, UNFINISHED
from sync.store.runs import OPEN

Place: TypeAlias = tuple[int, str, str]
"""Connection, stream, list."""

_runs = Run.__table__
_slices = Slice.__table__
_rejects = Reject.__table__


def read_all(runs: FromClause) -> ColumnElement[bool]:
    """These runs are done, and had no bounds: they say how fresh the data is."""
    return (runs.c.state == "done") & runs.c.since.is_(None) & runs.c.until.is_(None)


_last = select(
    _runs.c.connection_id, _runs.c.stream, _runs.c.list,
    func.max(_runs.c.id).label("newest"),
    func.max(case((read_all(_runs), _runs.c.opened_at))).label("fresh_at"),
    func.max(case((_runs.c.state.in_(OPEN), _runs.c.id))).label("under_way"),
).group_by(_runs.c.connection_id, _runs.c.stream, _runs.c.list)  # fmt: skip

_unfinished = (
    select(
        _slices.c.connection_id, _slices.c.stream, _slices.c.list, _slices.c.state,
        func.count().label("many"),
        func.min(_slices.c.due_at).label("due_at"),
        func.max(_slices.c.reason).label("reason"),
    )
    .where(or_(text(f"slices.{UNFINISHED}"), text(f"slices.{STUCK}")))
    .group_by(_slices.c.connection_id, _slices.c.stream, _slices.c.list, _slices.c.state)
)  # fmt: skip

_bad = (
    select(_rejects.c.connection_id, _rejects.c.stream, func.count().label("many"))
    .where(_rejects.c.state == "dead")
    .group_by(_rejects.c.connection_id, _rejects.c.stream)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Last:
    """The runs of one list: the newest, and when the last one that read everything was opened."""

    newest: Row[Any]
    fresh_at: datetime | None
    under_way: bool


def lasts(connection: Connection) -> dict[Place, Last]:
    """The last runs of every list that ever had one."""
    rows = list(connection.execute(_last))
    newest = _by_id(connection, [row.newest for row in rows])
    return {
        (row.connection_id, row.stream, row.list): Last(
            newest=newest[row.newest], fresh_at=row.fresh_at, under_way=row.under_way is not None
        )
        for row in rows
    }


def _by_id(connection: Connection, runs: list[int]) -> dict[int, Row[Any]]:
    found: dict[int, Row[Any]] = {}
    for start in range(0, len(runs), 500):
        chunk = select(_runs).where(_runs.c.id.in_(runs[start : start + 500]))
        found |= {row.id: row for row in connection.execute(chunk)}
    return found


def unfinished(connection: Connection) -> dict[Place, dict[str, Row[Any]]]:
    """The slices that are not finished, by list and by state: many, due_at (the earliest) and a reason."""
    found: dict[Place, dict[str, Row[Any]]] = {}
    for row in connection.execute(_unfinished):
        found.setdefault((row.connection_id, row.stream, row.list), {})[row.state] = row
    return found


def rejected(connection: Connection) -> dict[tuple[int, str], int]:
    """How many records of each stream wait for a person."""
    return {(row.connection_id, row.stream): row.many for row in connection.execute(_bad)}


def live(connection: Connection, tables: Iterable[Table]) -> dict[tuple[str, int], int]:
    """How many records are alive, by table and connection; a table that isn't there has none."""
    there = set(inspect(connection).get_table_names())
    found: dict[tuple[str, int], int] = {}
    for table in tables:
        if table.name in there:
            counted = (
                select(table.c.connection_id, func.count().label("many"))
                .where(table.c.deleted_at.is_(None))
                .group_by(table.c.connection_id)
            )
            found |= {(table.name, row.connection_id): row.many for row in connection.execute(counted)}
    return found


def recent(
    connection: Connection, *, account: int | None = None, states: Iterable[str] = (), most: int = 50
) -> list[Any]:
    """The newest runs first."""
    statement = select(_runs).order_by(_runs.c.id.desc()).limit(most)
    if account is not None:
        statement = statement.where(_runs.c.connection_id == account)
    chosen = list(states)
    if chosen:
        statement = statement.where(_runs.c.state.in_(chosen))
    return list(connection.execute(statement))
