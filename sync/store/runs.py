"""Runs and their slices: opened once, closed by the last slice, counted on the way."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, insert, null, or_, select, text, update

from models import Run, Slice
from models.slice import STUCK
from sync.states import State
from sync.store import leases
from sync.store.database import insert_into, now

runs = Run.__table__
slices = Slice.__table__

OPEN = ("waiting", "running")
_ENDS = {State.DONE.value: "done", State.CANCELLED.value: "cancelled"}

_one_less = (
    update(runs)
    .where(runs.c.id == bindparam("run"))
    .values(open=runs.c.open - 1)
    .returning(runs.c.open, runs.c.state, runs.c.counts)
)
_close = (
    update(runs)
    .where(runs.c.id == bindparam("run"))
    .values(state=bindparam("ends"), reason=bindparam("why"), counts=bindparam("summed", type_=runs.c.counts.type),
            closed_at=now())
)  # fmt: skip
_insert_slices = insert(slices).values(due_at=now())
_ids = select(slices.c.id).where(slices.c.run_id == bindparam("run")).order_by(slices.c.id)
_of_run = select(slices.c.id, slices.c.state, slices.c.counts, slices.c.reason).where(
    slices.c.run_id == bindparam("run")
)


def open_runs(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> dict[tuple[int, str, str], int]:
    """Open runs; the ids of those that were opened by (connection, stream, list). A list of which an exclusive run
    is open already is skipped."""
    if not rows:
        return {}
    key = (runs.c.connection_id, runs.c.stream, runs.c.list)
    statement = insert_into(connection, runs).on_conflict_do_nothing().returning(runs.c.id, *key)
    found = connection.execute(statement, rows)
    return {(row.connection_id, row.stream, row.list): row.id for row in found}


def insert_slices(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Slices of runs that are open, due now."""
    if rows:
        connection.execute(_insert_slices, rows)


def add_slices(connection: Connection, run: int, asked: Sequence[Mapping[str, Any]]) -> list[int]:
    """Give a run its slices and set it going; their ids. A run without any is done at once."""
    insert_slices(connection, [{"run_id": run, **values} for values in asked])
    state = "running" if asked else "done"
    closed = null() if asked else now()
    values = {"state": state, "open": len(asked), "closed_at": closed}
    connection.execute(update(runs).where(runs.c.id == run).values(**values))
    return list(connection.execute(_ids, {"run": run}).scalars())


def slice_left(connection: Connection, run: int) -> bool:
    """One slice of the run needs no worker any more; True = it was the last, and the run is closed now."""
    row = connection.execute(_one_less, {"run": run}).one()
    if row.open > 0 or row.state != "running":
        return False
    close(connection, run, row.counts)
    return True


def close(connection: Connection, run: int, noted: Mapping[str, int]) -> None:
    """Close a run by what became of its slices: done, held or failed, with their counts and those noted summed."""
    rows = list(connection.execute(_of_run, {"run": run}))
    states = {row.state for row in rows}
    state = next((name for mark, name in _WORST if mark in states), "done")
    reason = next((row.reason for row in rows if row.state in (State.DEAD.value, State.HELD.value)), None)
    counts = total([noted, *(row.counts for row in rows)])
    connection.execute(_close, {"run": run, "ends": state, "why": reason, "summed": counts})


_WORST = ((State.DEAD.value, "failed"), (State.HELD.value, "held"))


def counted(connection: Connection, run: int) -> dict[str, int]:
    """What the run's slices have counted so far."""
    return total(connection.execute(select(slices.c.counts).where(slices.c.run_id == run)).scalars())


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Counts added up by name, without the zeros."""
    summed: dict[str, int] = {}
    for name, value in ((name, value) for one in counts for name, value in (one or {}).items() if value):
        summed[name] = summed.get(name, 0) + value
    return summed


_before = runs.alias()
PLANNABLE = (
    select(runs)
    .outerjoin(_before, runs.c.after_id == _before.c.id)
    .where(text("runs.state = 'waiting'"), or_(_before.c.id.is_(None), _before.c.state.not_in(OPEN)))
    .order_by(runs.c.id)
)
"""Waiting runs that wait for nothing any more."""
_ready_after = PLANNABLE.where(runs.c.after_id == bindparam("run"))


def ready_after(connection: Connection, run: int) -> list[Row[Any]]:
    """The runs that waited for this one, if it is closed by now."""
    return list(connection.execute(_ready_after, {"run": run}))


def orphans(connection: Connection) -> list[Row[Any]]:
    """Waiting runs whose predecessor is closed, or gone: the message that should have planned them was lost."""
    return list(connection.execute(PLANNABLE))


def plannable(connection: Connection, run: int) -> Row[Any] | None:
    """The run, locked, if it waits for nothing but its slices."""
    return connection.execute(PLANNABLE.where(runs.c.id == run).with_for_update(of=runs)).one_or_none()


def fail(connection: Connection, run: int, reason: str) -> None:
    """Close a run that can't be given its slices."""
    values = {"state": "failed", "reason": reason, "closed_at": now()}
    connection.execute(update(runs).where(runs.c.id == run, runs.c.state == "waiting").values(**values))


def get(connection: Connection, run: int) -> Row[Any] | None:
    """The run as it stands."""
    return connection.execute(select(runs).where(runs.c.id == run)).one_or_none()


def supersede(connection: Connection, done: Row[Any]) -> None:
    """A later success of the same partition settles what was dead or held before it."""
    settled = [State.DEAD, *([State.HELD] if done.full else [])]  # only a full pass proves again what is absent
    _settle(connection, done, settled, f"overtaken by the success of slice {done.id}")


def hold_instead(connection: Connection, held: Row[Any]) -> None:
    """A later full pass found again what is gone: the owner decides about that, not about what was found before."""
    _settle(connection, held, [State.HELD], f"slice {held.id} looked again")


_stuck_before = select(slices.c.id).where(
    slices.c.connection_id == bindparam("account"),
    slices.c.stream == bindparam("of_stream"),
    slices.c.partition == bindparam("of_partition"),
    slices.c.list == bindparam("of_list"),
    text(f"slices.{STUCK}"),
    slices.c.state.in_(bindparam("states", expanding=True)),
    slices.c.id < bindparam("later"),
)


def _settle(connection: Connection, later: Row[Any], settled: Sequence[State], reason: str) -> None:
    values = {"account": later.connection_id, "of_stream": later.stream, "of_partition": later.partition,
              "of_list": later.list, "states": [state.value for state in settled], "later": later.id}  # fmt: skip
    earlier = list(connection.execute(_stuck_before, values).scalars())
    if earlier:
        leases.cancel(connection, earlier, reason, settled)


def note_counts(connection: Connection, run: int, counts: Mapping[str, int]) -> None:
    """Counts that belong to no slice of the run."""
    connection.execute(update(runs).where(runs.c.id == run).values(counts=dict(counts)))
