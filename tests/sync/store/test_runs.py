"""Runs: opened once, closed by their last slice, counted on the way."""

import pytest
from sqlalchemy import select, update

from models import Attempt, Slice
from sync.states import State
from sync.store import runs
from sync.store.database import read, write

NOTES = {"stream": "notes", "list": "rows", "cause": "test", "lane": "schedule", "state": "waiting", "counts": {}}
SLICE = {"stream": "notes", "list": "rows", "lane": "schedule", "state": "ready", "ask": {}, "counts": {}}


@pytest.fixture
def desk(lab):
    """Runs of one connection."""
    lab.account()

    class Desk:
        def open(self, **values):
            row = {**NOTES, "connection_id": lab.id, "opened_at": lab.now(), **values}
            with write(lab.engine) as connection:
                return next(iter(runs.open_runs(connection, [row]).values()), None)

        def fill(self, run, *partitions, **values):
            asked = [{**SLICE, "connection_id": lab.id, "partition": one, **values} for one in partitions]
            with write(lab.engine) as connection:
                return runs.add_slices(connection, run, asked)

        def end(self, unit, state="done", **values):
            with write(lab.engine) as connection:
                connection.execute(update(Slice).where(Slice.id == unit).values(state=state, **values))
                run = connection.execute(select(Slice.run_id).where(Slice.id == unit)).scalar_one()
                return runs.slice_left(connection, run)

        def run(self, run):
            with read(lab.engine) as connection:
                return runs.get(connection, run)

        def ask(self, act, *given):
            with write(lab.engine) as connection:
                return act(connection, *given)

        def slice(self, unit):
            with read(lab.engine) as connection:
                return connection.execute(select(Slice.__table__).where(Slice.id == unit)).one()

        def last_attempt(self, unit):
            query = select(Attempt.before, Attempt.after).where(Attempt.unit == unit).order_by(Attempt.id.desc())
            with read(lab.engine) as connection:
                return tuple(connection.execute(query.limit(1)).one())

    return Desk()


def test_a_list_has_one_open_run(desk):
    """Waiting or running; another list, a backfill, and what comes after its end are others."""
    first = desk.open()
    assert desk.open() is None
    assert desk.open(list="deletes") is not None
    assert desk.open(exclusive=False) is not None
    (unit,) = desk.fill(first, "")
    assert desk.open() is None
    desk.end(unit)
    assert desk.open() is not None


def test_a_run_without_slices_is_done_at_once(desk):
    run = desk.open()
    desk.fill(run)
    found = desk.run(run)
    assert (found.state, found.open) == ("done", 0)
    assert found.closed_at is not None


def test_the_last_slice_closes_the_run(desk):
    """... with the counts of all of them, and no earlier one does."""
    run = desk.open()
    first, second = desk.fill(run, "a", "b")
    assert desk.run(run).open == 2
    assert not desk.end(first, counts={"inserted": 2, "requests": 1})
    assert desk.run(run).state == "running"
    assert desk.end(second, counts={"inserted": 3, "deleted": 0})
    found = desk.run(run)
    assert (found.state, found.counts) == ("done", {"inserted": 5, "requests": 1})


@pytest.mark.parametrize(
    ("ends", "state", "reason"),
    [
        (("done", "dead"), "failed", "it broke"),
        (("held", "done"), "held", "it broke"),
        (("held", "dead"), "failed", "it broke"),
        (("cancelled", "done"), "done", None),
    ],
)
def test_a_run_is_as_bad_as_its_worst_slice(desk, ends, state, reason):
    run = desk.open()
    for unit, end in zip(desk.fill(run, "a", "b"), ends, strict=True):
        desk.end(unit, end, reason=None if end in ("done", "cancelled") else "it broke")
    found = desk.run(run)
    assert (found.state, found.reason) == (state, reason)


def test_what_waits_for_a_run_is_ready_when_that_is_closed(desk):
    """Not before, and not once it has its slices."""
    parent = desk.open()
    child = desk.open(stream="tasks", after_id=parent)
    (unit,) = desk.fill(parent, "")
    assert desk.ask(runs.ready_after, parent) == []
    assert desk.ask(runs.plannable, child) is None
    desk.end(unit, "dead")
    assert [row.id for row in desk.ask(runs.ready_after, parent)] == [child]
    assert child in [row.id for row in desk.ask(runs.orphans)]
    assert desk.ask(runs.plannable, child).id == child
    desk.fill(child)
    assert desk.ask(runs.ready_after, parent) == []
    assert desk.ask(runs.plannable, child) is None


def test_a_run_that_cant_be_planned_fails_with_the_reason(desk):
    run = desk.open()
    desk.ask(runs.fail, run, "no such stream")
    found = desk.run(run)
    assert (found.state, found.reason) == ("failed", "no such stream")
    assert desk.open() is not None


@pytest.mark.parametrize(("full", "states"), [(False, ("cancelled", "held")), (True, ("cancelled", "cancelled"))])
def test_a_success_settles_what_was_dead_before_it(desk, full, states):
    """What is held only a full pass settles; other partitions and what came later stay. The history knows what the
    slices were."""
    dead, held, other, later = (desk.open(exclusive=False) for _ in range(4))
    units = [desk.fill(run, part)[0] for run, part in ((dead, ""), (held, ""), (other, "x"))]
    for unit, state in zip(units, ("dead", "held", "dead"), strict=True):
        desk.end(unit, state)
    success = desk.fill(later, "", full=full)[0]
    after = desk.fill(desk.open(exclusive=False), "")[0]
    desk.end(after, "dead")
    desk.ask(runs.supersede, desk.slice(success))
    assert [desk.slice(unit).state for unit in (*units, after)] == [*states, "dead", "dead"]
    assert desk.last_attempt(units[0]) == (State.DEAD.value, State.CANCELLED.value)


def test_counts_add_up_without_zeros():
    assert runs.total([{"a": 1, "b": 0}, {"a": 2, "c": 3}, {}, {"c": -3}]) == {"a": 3, "c": 0}
    assert runs.total([]) == {}
