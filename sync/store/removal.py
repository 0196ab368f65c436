"""Removing the records and the history of a connection, a little at a time, so that nobody waits for it."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import Engine, Select, Table, bindparam, delete, inspect, select

from models import Run, Slice
from sync.store.database import engine, read, write

BATCH = 500
GAP = 0.002  # seconds between two transactions: SQLite's other writers get their turn

_runs = Run.__table__
_slices = Slice.__table__
_slices_of = (
    select(_slices.c.id).where(_slices.c.run_id.in_(bindparam("runs", expanding=True))).limit(bindparam("most"))
)
_runs_of = select(_runs.c.id).where(_runs.c.connection_id == bindparam("account")).limit(bindparam("most"))


def empty(table: Table, account: int, target: Engine | None = None) -> int:
    """Delete all rows of this connection from a stream's table; how many there were."""
    if not inspect(target or engine()).has_table(table.name):
        return 0
    mine = table.c.connection_id == account
    some = select(table.c.key).where(mine).limit(BATCH)
    removed = 0
    while True:
        with write(target) as connection:
            count = connection.execute(delete(table).where(mine, table.c.key.in_(some))).rowcount
        removed += count
        if count < BATCH:
            return removed
        time.sleep(GAP)  # see GAP


def forget(account: int) -> None:
    """Delete the runs of this connection with their slices; what a worker has of them it can't write any more."""
    for table, ids in with_slices(_runs_of, {"account": account}, BATCH):
        remove(table, ids, waits=True)
        time.sleep(GAP)  # see GAP


def with_slices(chosen: Select[Any], values: Mapping[str, Any], most: int) -> Iterator[tuple[Table, list[int]]]:
    """Runs in batches of `most` rows, the slices of each batch before it. `chosen` selects at most `most` ids of
    runs, and whoever takes a batch removes it before the next."""
    while runs := some(chosen, {**values, "most": most}):
        while slices := some(_slices_of, {"runs": runs, "most": most}):
            yield _slices, slices
        yield _runs, runs


def some(chosen: Select[Any], values: Mapping[str, Any]) -> list[int]:
    """The ids that this selects, in a transaction of their own."""
    with read() as connection:
        return list(connection.execute(chosen, values).scalars())


def remove(table: Table, ids: list[int], *, waits: bool = False) -> int:
    """Delete these rows in a transaction of their own; how many. Those that another one has locked are left, or
    waited for."""
    free = select(table.c.id).where(table.c.id.in_(ids)).order_by(table.c.id).with_for_update(skip_locked=not waits)
    with write() as connection:
        return connection.execute(delete(table).where(table.c.id.in_(free))).rowcount
