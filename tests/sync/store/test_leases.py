"""Leases in SQL do exactly what the pure state machine says."""

import random
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import insert, select, update

from models import Connection, Run, Sighting, Slice
from sync import states
from sync.states import SLICE, State, Work
from sync.store import leases
from sync.store.database import now, read, write

LEASE = 60.0


@pytest.fixture
def unit(world):
    """One slice that is due."""
    with write() as connection:
        account = connection.execute(
            insert(Connection)
            .values(
                name="a", connector="demo", config={}, state="active", parallel=1, created_at=now(), updated_at=now()
            )
            .returning(Connection.id)
        ).scalar_one()
        run = connection.execute(
            insert(Run)
            .values(
                connection_id=account,
                stream="s",
                cause="test",
                lane="schedule",
                state="running",
                opened_at=now(),
                counts={},
            )
            .returning(Run.id)
        ).scalar_one()
        return connection.execute(
            insert(Slice)
            .values(run_id=run, connection_id=account, stream="s", lane="schedule", due_at=now(-1), ask={}, counts={})
            .returning(Slice.id)
        ).scalar_one()


PROGRESS: dict[str, Any] = {
    "at_phase": "fetch",
    "next_ask": {},
    "max_seen": None,
    "pass_started": None,
    "first_etag": None,
    "token_trail": None,
    "absent_keys": None,
    "page_count": 1,
    "tally": {},
}


def done(act, *arguments):
    """It was done, if it did not raise."""
    act(*arguments)
    return True


class Clocked:
    """One step on the row and on the model. Time stands still: what is due is due, a lease ends when told to."""

    def __init__(self, unit):
        self.unit = unit
        self.work = Work()
        self.fences = [0]

    def step(self, act, fence):
        expected = getattr(self, f"_{act}")(fence)
        if expected is not None:
            self.work = expected
            self.fences.append(expected.fence)

    def _attempt(self, change):
        try:
            with write() as connection:
                return change(connection)
        except leases.LostLeaseError:
            return None

    def _claim(self, _fence):
        row = self._attempt(lambda c: leases.claim(c, self.unit, "w", LEASE))
        after = states.claim(self.work, 0, LEASE)
        assert (row is None) == (after is None)
        return after

    def _commit(self, fence):
        kept = self._attempt(lambda c: done(leases.commit, c, self.unit, fence, LEASE, PROGRESS))
        after = states.commit(self.work, fence, 0, LEASE)
        assert bool(kept) == (after is not None)
        return after

    def _leave(self, fence, state=State.READY):
        kept = self._attempt(lambda c: done(leases.leave, c, self.unit, fence, state))
        after = states.leave(self.work, fence, state)
        assert bool(kept) == (after is not None)
        return after

    def _hold(self, fence):
        return self._leave(fence, State.HELD)

    def _fail(self, fence):
        return self._leave(fence, State.DEAD)

    def _retry(self, fence):
        state = self._attempt(lambda c: leases.retry(c, self.unit, fence, wait=0, reason="x"))
        after = states.retry(self.work, fence, 0, "x", SLICE)
        assert state == (after and after.state)
        return after

    def _expire(self, _fence):
        with write() as connection:
            ended = update(Slice).where(Slice.id == self.unit, Slice.state == "running")
            connection.execute(ended.values(lease_until=now(-1)))
            taken = leases.take_back(connection)
        after = states.expire(self.work, self.work.lease_until + 1, SLICE)
        assert len(taken) == (after is not None)
        return after and replace(after, due=0)

    def _release(self, _fence):
        with write() as connection:
            count = leases.release(connection, [self.unit], self.work.state)
        after = states.release(self.work, self.work.state, 0)
        if after is None:
            assert self.work.state not in states.NEEDS_A_PERSON
            return None
        assert count == 1
        return after

    def check(self):
        with read() as connection:
            row = connection.execute(select(Slice.__table__).where(Slice.id == self.unit)).one()
        assert (self.work.state.value, self.work.fence, self.work.attempts) == (row.state, row.fence, row.attempts)
        assert (row.lease_until is not None) == (self.work.state is State.RUNNING)


ACTS = ["claim", "claim", "commit", "commit", "leave", "hold", "fail", "retry", "retry", "expire", "release"]


@pytest.mark.parametrize("seed", range(3))
def test_rows_follow_the_state_machine(unit, seed):
    """Two hundred random steps, with the fences of the living and of the dead: row and model agree after each."""
    chance = random.Random(seed)
    clocked = Clocked(unit)
    for _ in range(200):
        act = chance.choice(ACTS)
        if act == "release" and clocked.work.state not in states.NEEDS_A_PERSON:
            continue
        clocked.step(act, chance.choice([clocked.work.fence, chance.choice(clocked.fences)]))
        clocked.check()


def test_a_paused_connection_is_not_worked_for(unit):
    """A message that was under way when somebody paused the connection changes nothing."""
    with write() as connection:
        connection.execute(update(Connection).values(state="paused"))
        assert leases.claim(connection, unit, "w", LEASE) is None


def test_what_is_due_later_is_not_claimed(unit):
    """A doubled message can't shorten a wait."""
    with write() as connection:
        connection.execute(update(Slice).values(due_at=now(30)))
        assert leases.claim(connection, unit, "w", LEASE) is None


def test_a_lost_lease_undoes_the_whole_transaction(unit):
    """Data that was written beside a refused position is not there."""
    with write() as connection:
        row = leases.claim(connection, unit, "w", LEASE)
    assert row is not None

    def zombie():
        with write() as connection:
            connection.execute(update(Connection).values(owner="zombie"))
            leases.commit(connection, unit, row.fence - 1, LEASE, PROGRESS)

    with pytest.raises(leases.LostLeaseError):
        zombie()
    with read() as connection:
        assert connection.execute(select(Connection.owner)).scalar_one() is None


@pytest.mark.parametrize("state", State)
def test_only_what_waits_for_a_person_is_cancelled(unit, state):
    """A slice that was released meanwhile goes on, for its run waits for it."""
    with write() as connection:
        connection.execute(update(Slice).values(state=state.value))
        ended = leases.cancel(connection, [unit], "not wanted")
        after = connection.execute(select(Slice.state)).scalar_one()
    stuck = state in states.NEEDS_A_PERSON
    assert (ended, after) == (int(stuck), "cancelled" if stuck else state.value)


def test_what_a_cancelled_slice_has_seen_is_forgotten(unit):
    """At once, and only its own: nobody will ask for it."""
    with write() as connection:
        row = dict(connection.execute(select(Slice.__table__)).mappings().one())
        connection.execute(insert(Slice).values({**row, "id": unit + 1, "partition": "other"}))
        for one in (unit, unit + 1):
            connection.execute(insert(Sighting).values(slice_id=one, page=1, hashes=b"12345678"))
        connection.execute(update(Slice).values(state="dead"))
        leases.cancel(connection, [unit], "not wanted")
        assert connection.execute(select(Sighting.slice_id)).scalars().all() == [unit + 1]
