"""Plans: with any amount of history, no statement of these reads a table from its first row to its last."""

import re
from contextlib import contextmanager

import pytest
from sqlalchemy import event, select, text

from models import Slice
from sync.states import State
from sync.store import leases, letters, removal, retention, runs
from sync.store.database import read, write

GROWS = ("runs", "slices", "attempts", "rejects")
SMALL = ("ix_slices_open", "ix_slices_stuck", "ix_slices_running", "ix_slices_due")  # they leave out what is over
URL = {"url": "http://127.0.0.1:9"}


@contextmanager
def explained(world):
    """The plans of the statements inside, line by line."""
    lines = []

    def explain(_conn, cursor, statement, parameters, _context, _many):
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            lines.extend(plan(world, cursor.connection.cursor(), statement, parameters))

    event.listen(world.engine, "before_cursor_execute", explain)
    try:
        yield lines
    finally:
        event.remove(world.engine, "before_cursor_execute", explain)


def plan(world, cursor, statement, parameters):
    if world.engine.dialect.name == "sqlite":
        cursor.execute(f"EXPLAIN QUERY PLAN {statement}", parameters)
        return [row[3] for row in cursor.fetchall()]
    cursor.execute(f"EXPLAIN {statement}", parameters)
    return re.split(r"\n *-> +", "\n".join(row[0] for row in cursor.fetchall()))


def whole(lines):
    """The steps that read all of a table that grows, or all of an index of it."""
    names = "|".join(GROWS)
    sqlite = re.compile(rf"SCAN ({names}|newer)\b|SEARCH ({names}) USING INTEGER PRIMARY KEY \(rowid[<>]")
    postgres = re.compile(rf"(Seq|Index|Index Only|Bitmap Heap) Scan .*\bon ({names})\b")
    return [
        line
        for line in lines
        if not any(name in line for name in SMALL)
        and (sqlite.match(line) or (postgres.match(line) and "Cond:" not in line))
    ]


@pytest.fixture
def unit(world):
    """A slice in the hands of a worker, with a dead one before it."""
    account = world.connect("demo", URL)
    world.open(account, select=["customers"])
    world.execute("UPDATE slices SET state = CASE list WHEN 'rows' THEN 'dead' ELSE 'done' END")
    world.execute("UPDATE runs SET state = 'failed', open = 0, closed_at = opened_at")
    world.open(account, select=["customers"])
    (row,) = rows("state = 'ready'")
    world.execute("UPDATE slices SET due_at = began_at WHERE began_at IS NOT NULL")
    with write() as connection:
        return leases.claim(connection, row.id, "w", 60)


def rows(where):
    with read() as connection:
        return connection.execute(select(Slice.__table__).where(text(where), Slice.list == "rows")).all()


def test_the_end_of_a_slice(world, unit):
    with write() as connection, explained(world) as lines:
        leases.leave(connection, unit.id, unit.fence, State.DONE)
        runs.supersede(connection, unit)
        assert runs.slice_left(connection, unit.run_id)
    assert len(lines) > 5
    assert whole(lines) == []
    assert len(rows("state = 'cancelled'")) == 1


def test_what_needs_a_person(world, unit):
    with write() as connection, explained(world) as lines:
        assert letters.drop(connection, letters.slices(connection, account=unit.connection_id), "not wanted") == 1
    assert len(lines) > 2
    assert whole(lines) == []


def test_retention(world, unit):
    world.execute("UPDATE slices SET state = 'done'")
    world.execute("UPDATE runs SET state = 'done', closed_at = '2020-01-01 00:00:00.000000'")
    with explained(world) as lines:
        assert retention.prune(30)["runs"] == 2
    assert len(lines) > 5
    assert whole(lines) == []


def test_removal(world, unit):
    with explained(world) as lines:
        removal.forget(unit.connection_id)
    assert len(lines) > 3
    assert whole(lines) == []
    assert rows("1 = 1") == []
