"""Dead letters: slices that are dead or held, and records that were rejected, until a person decides.

Replaying is one UPDATE: the slice is due again with all its attempts, and its run is open again beside whatever
run follows the schedule.
"""

from collections.abc import Iterable, Mapping, Sequence
from operator import attrgetter
from typing import Any

from sqlalchemy import Connection, Row, null, select, text, update

from models import Connection as Account
from models import Run, Slice
from models.slice import STUCK
from sync.states import State
from sync.store import leases
from sync.store.runs import OPEN, total

_runs = Run.__table__
_slices = Slice.__table__
_accounts = Account.__table__
_stuck = text(f"slices.{STUCK}")


def slices(
    connection: Connection, *, account: int | None = None, state: State | None = None, ids: Iterable[int] | None = None
) -> Sequence[Row[Any]]:
    """Slices that need a person, with `connection` (the name), `owner` and `connector`; the oldest first."""
    statement = (
        select(_slices, _accounts.c.name.label("connection"), _accounts.c.owner, _accounts.c.connector)
        .join(_accounts, _accounts.c.id == _slices.c.connection_id)
        .where(_stuck)
    )
    if state is not None:
        statement = statement.where(_slices.c.state == state.value)
    if account is not None:
        statement = statement.where(_slices.c.connection_id == account)
    if ids is not None:
        statement = statement.where(_slices.c.id.in_(list(ids)))
    # sorted here: asked for an order, SQLite reads the whole table, which has it
    return sorted(connection.execute(statement), key=attrgetter("id"))


def release(connection: Connection, stuck: Sequence[Row[Any]], ceiling: int | None = None) -> int:
    """Set these going again, held ones up to `ceiling` deletions; how many there were. Their runs are open again."""
    released = 0
    for row in stuck:
        before = State(row.state)
        if leases.release(connection, [row.id], before, ceiling if before is State.HELD else None):
            _reopen(connection, row.run_id)
            released += 1
    return released


def drop(connection: Connection, stuck: Sequence[Row[Any]], reason: str) -> int:
    """Give up on these slices; their checkpoints stay where they were. How many there were: not those that somebody
    else has released meanwhile."""
    return leases.cancel(connection, [row.id for row in stuck], reason)


def _reopen(connection: Connection, run: int) -> None:
    """One slice more to wait for. The next close adds up the slices again, so what they told before is taken out."""
    row = connection.execute(select(_runs).where(_runs.c.id == run)).one()
    values: dict[str, Any] = {"state": "running", "exclusive": False, "open": _runs.c.open + 1, "closed_at": null()}
    if row.state not in OPEN:
        values["counts"] = _less(row.counts, _told(connection, run))
    connection.execute(update(_runs).where(_runs.c.id == run).values(reason=null(), **values))


def _told(connection: Connection, run: int) -> dict[str, int]:
    counts = connection.execute(select(_slices.c.counts).where(_slices.c.run_id == run)).scalars()
    return total(counts)


def _less(counts: Mapping[str, int], told: Mapping[str, int]) -> dict[str, int]:
    left = {name: value - told.get(name, 0) for name, value in counts.items()}
    return {name: value for name, value in left.items() if value > 0}
