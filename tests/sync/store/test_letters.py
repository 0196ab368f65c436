"""Dead letters: replaying is one UPDATE, beside whatever runs by schedule, and counts nothing twice."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from sync.states import State
from sync.store import letters, runs
from sync.store.database import read, write

URL = {"url": "http://127.0.0.1:9"}


@pytest.fixture
def dead(world):
    """A run of one dead slice that had stored 5 records."""
    account = world.connect("demo", URL, {"secret_key": "x"})
    run = world.open(account, select=["customers"])[0]
    fail(world, run)
    return run


def fail(world, run, state="dead"):
    world.execute(
        "UPDATE slices SET state = :state, reason = 'it broke', counts = '{\"inserted\": 5}' WHERE run_id = :run",
        state=state, run=run,
    )  # fmt: skip
    with write() as connection:
        assert runs.slice_left(connection, run)


def stuck(**chosen):
    with read() as connection:
        return letters.slices(connection, **chosen)


def run_row(world, run):
    return next(row for row in world.rows("runs") if row["id"] == run)


def test_what_is_dead_or_held_is_listed_with_its_connection(world, dead):
    found = stuck()
    assert [(row.run_id, row.connection, row.state, row.reason) for row in found] == [
        (dead, "demo", "dead", "it broke")
    ]
    assert stuck(state=State.HELD) == []


def test_a_released_slice_is_due_again_and_its_run_is_open_beside_the_next(world, dead):
    with write() as connection:
        assert letters.release(connection, stuck()) == 1
    row = run_row(world, dead)
    assert (row["state"], row["open"], bool(row["exclusive"]), row["closed_at"]) == ("running", 1, False, None)
    account = world.rows("connections")[0]["id"]
    assert world.open(account, select=["customers"]) != []
    assert world.ring() >= 1


def test_a_slice_that_was_released_twice_is_released_once(world, dead):
    chosen = stuck()
    with write() as connection:
        letters.release(connection, chosen)
        assert letters.release(connection, chosen) == 0
    assert run_row(world, dead)["open"] == 1


def test_what_a_run_told_before_is_not_counted_twice(world, dead):
    with write() as connection:
        letters.release(connection, stuck())
    world.execute("UPDATE slices SET state = 'done', counts = '{\"inserted\": 7}' WHERE run_id = :run", run=dead)
    with write() as connection:
        assert runs.slice_left(connection, dead)
    assert '"inserted": 7' in str(run_row(world, dead)["counts"]).replace("'", '"')


def test_an_approval_is_a_ceiling(world):
    account = world.connect("demo", URL, {"secret_key": "x"})
    run = world.open(account, select=["projects"])[0]
    fail(world, run, "held")
    with write() as connection:
        assert letters.release(connection, stuck(state=State.HELD), 12) == 1
    assert [row["approved"] for row in world.rows("slices", f"run_id = {run}")] == [12]


def test_dropping_ends_it(world, dead):
    with write() as connection:
        assert letters.drop(connection, stuck(), "dropped by me") == 1
    assert stuck() == []


def test_what_somebody_else_has_released_is_not_dropped(world, dead):
    """Its run waits for it: dropped now, that run would be open for ever."""
    chosen = stuck()
    with write() as connection:
        letters.release(connection, chosen)
    with write() as connection:
        assert letters.drop(connection, chosen, "dropped by me") == 0
    assert [row["state"] for row in world.rows("slices", f"run_id = {dead}")] == ["ready"]
    assert run_row(world, dead)["open"] == 1


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_a_success_settles_nothing_that_a_person_is_just_releasing(world, dead):
    """The success has found the dead slice, and waits for the person who releases it: the slice goes on."""
    account = world.rows("connections")[0]["id"]
    world.open(account, select=["customers"])
    (later,) = stuck_or_not(world, "stream = 'customers' AND list = 'rows' AND state = 'ready'")
    with ThreadPoolExecutor(1) as worker:
        with write() as person:
            assert letters.release(person, stuck()) == 1
            success = worker.submit(settle, later)
            while not waits(world):
                assert not success.done()
        success.result()
    assert [row.state for row in stuck_or_not(world, f"run_id = {dead}")] == ["ready"]
    assert run_row(world, dead)["open"] == 1


def stuck_or_not(world, where):
    with read() as connection:
        return connection.execute(text(f"SELECT * FROM slices WHERE {where}")).all()


def settle(later):
    with write() as connection:
        runs.supersede(connection, later)


def waits(world):
    """Whether some statement of this database waits for a lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    with read() as connection:
        return connection.execute(text(query)).scalar_one()
