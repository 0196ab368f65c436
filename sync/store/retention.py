"""Retention: what was over long ago is deleted, a little at a time, so that nobody waits for it.

Runs go with their slices, and attempts; deliveries as `sync.store.aging` says. What stays however old it is: whatever
is open, dead or held, with its history; of each list the newest run, and the newest that read all of it, which says how
fresh the data is; and rejected records.
"""

import time
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import CompoundSelect, Table, and_, bindparam, exists, not_, or_, select, text

from models import Attempt, Run, Slice
from models.slice import STUCK, UNFINISHED
from sync.store.aging import aged
from sync.store.database import now
from sync.store.history import read_all
from sync.store.removal import remove, some, with_slices

BATCH = 300  # rows a transaction
GAP = 0.002  # seconds between two transactions: SQLite's other writers get their turn
PATIENCE = 1.0  # seconds a call may take: whoever calls has more to do
_DAY = 86_400.0

_runs = Run.__table__
_slices = Slice.__table__
_attempts = Attempt.__table__
_newer = _runs.alias("newer")

_long_ago = now(bindparam("offset"))
_newer_of_list = and_(
    _newer.c.connection_id == _runs.c.connection_id,
    _newer.c.stream == _runs.c.stream,
    _newer.c.list == _runs.c.list,
    _newer.c.id > _runs.c.id,
)


def _live(column: Any) -> CompoundSelect[Any]:
    """This column of every slice that is not over, read from the two small indexes of such slices."""
    return select(column).where(text(f"slices.{UNFINISHED}")).union_all(select(column).where(text(f"slices.{STUCK}")))


_old_runs = (
    select(_runs.c.id)
    .where(
        _runs.c.closed_at < _long_ago,
        exists().where(_newer_of_list),
        or_(not_(read_all(_runs)), exists().where(_newer_of_list, read_all(_newer))),
        _runs.c.id.not_in(_live(_slices.c.run_id)),
    )
    .order_by(_runs.c.closed_at)
    .limit(bindparam("most"))
)
_old_attempts = (
    select(_attempts.c.id)
    .where(
        _attempts.c.at < _long_ago,
        or_(_attempts.c.kind != "slice", _attempts.c.unit.not_in(_live(_slices.c.id))),
    )
    .order_by(_attempts.c.at)
    .limit(bindparam("most"))
)


def prune(days: float, patience: float = PATIENCE) -> dict[str, int]:
    """Delete what was over before so many days; how many rows of each table. The next call goes on where this one
    ran out of patience. Any number of these may run at once."""
    until = time.monotonic() + patience
    gone: dict[str, int] = {}
    for batches in (_removed({"offset": -days * _DAY}), aged(days)):
        for name, count in batches:
            gone[name] = gone.get(name, 0) + count
            if time.monotonic() > until:
                break
            time.sleep(GAP)  # see GAP
    return gone


def _removed(age: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    """Removes a batch at a time."""
    for table, ids in _batches(age):
        count = remove(table, ids)
        yield table.name, count
        if not count:
            return  # another one is at these rows


def _batches(age: Mapping[str, Any]) -> Iterator[tuple[Table, list[int]]]:
    """What is to be removed next."""
    yield from with_slices(_old_runs, age, BATCH)
    while attempts := some(_old_attempts, {**age, "most": BATCH}):
        yield _attempts, attempts
