"""The state machine, driven through histories of claims, crashes, zombies, lost and doubled messages, and time.

The model is one unit with `PAGES` pages of work. Workers hold what they believe (`fence`, page); some fall silent
and come back. The law under test: what is stored is exactly pages 0..n in order, each once; whoever lost the lease
writes nothing; and no unit is stuck while time goes on.
"""

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from sync import states
from sync.states import CHANGE, DELIVERY, EVENTS, FINAL, SLICE, Kind, State, Work

PAGES = 2
LEASE = 10.0


@dataclass
class Worker:
    """What a worker believes: it may be wrong."""

    fence: int
    page: int


class Machine:
    """The transitions under test; mutants replace one of them."""

    claim = staticmethod(states.claim)
    commit = staticmethod(states.commit)
    leave = staticmethod(states.leave)
    retry = staticmethod(states.retry)
    expire = staticmethod(states.expire)


class History(RuleBasedStateMachine):
    """Random histories of one unit of work."""

    machine: type[Machine] = Machine
    kind: Kind = SLICE

    @initialize()
    def begin(self):
        self.now = 0.0
        self.work = Work()
        self.stored: list[int] = []
        self.position = 0
        self.workers: list[Worker] = []
        self.messages = 0
        self.finished = 0

    @rule(seconds=st.sampled_from([1.0, LEASE + 1]), prompt=st.booleans())
    def tick(self, seconds, prompt):
        """Time passes; the tick takes back what is expired, and rings for what is due. A prompt message is there."""
        self.now += seconds
        taken = self.machine.expire(self.work, self.now, self.kind)
        if taken:
            assert taken.fence > self.work.fence, "taking back must raise the fence"
            self.work = taken
        if self.work.state in states.CLAIMABLE and self.work.due <= self.now:
            self.messages += 1
            if prompt:
                self.message_arrives()

    @rule(change=st.sampled_from([-1, 1, 1]))
    def message_lost_or_doubled(self, change):
        self.messages = max(0, self.messages + change) if self.messages else 0

    @rule()
    def message_arrives(self):
        if self.messages:
            self.messages -= 1
            claimed = self.machine.claim(self.work, self.now, LEASE)
            if claimed:
                self.work = claimed
                self.workers.append(Worker(claimed.fence, self.position))

    @rule(data=st.data())
    def worker_commits_a_page(self, data):
        worker = self.some_worker(data)
        if worker and worker.page < PAGES:
            self.lands(worker)

    def lands(self, worker):
        """Data and position in one transaction: both happen, or neither."""
        after = self.machine.commit(self.work, worker.fence, self.now, LEASE)
        if after:
            self.work = after
            self.stored.append(worker.page)
            worker.page += 1
            self.position = worker.page
        return after

    @rule(data=st.data(), how=st.sampled_from([State.READY, State.DEFERRED, State.HELD, State.DEAD]))
    def worker_lets_go(self, data, how):
        """A person sees to what needs one in the same breath."""
        worker = self.some_worker(data)
        if worker:
            after = self.machine.leave(self.work, worker.fence, how, self.now + 1, "because")
            self.work = after or self.work
            self.workers.remove(worker)
            self.work = states.release(self.work, how, self.now) or self.work

    @rule(data=st.data())
    def worker_fails(self, data):
        worker = self.some_worker(data)
        if worker:
            after = self.machine.retry(self.work, worker.fence, self.now + 2, "failed", self.kind)
            self.work = after or self.work
            self.workers.remove(worker)

    @rule(data=st.data())
    def worker_finishes(self, data):
        """It lands what is left, page by page, and lets go for good."""
        worker = self.some_worker(data)
        if worker:
            self.workers.remove(worker)
            while worker.page < PAGES and self.lands(worker):
                pass
            after = self.machine.leave(self.work, worker.fence, State.DONE) if worker.page == PAGES else None
            if after:
                self.work = after
                self.finished += 1

    @rule(data=st.data())
    def worker_is_killed(self, data):
        worker = self.some_worker(data)
        if worker:
            self.workers.remove(worker)

    def some_worker(self, data):
        return data.draw(st.sampled_from(self.workers)) if self.workers else None

    @invariant()
    def pages_are_stored_once_and_in_order(self):
        assert list(range(len(self.stored))) == self.stored

    @invariant()
    def done_means_all_of_it(self):
        if self.work.state is State.DONE:
            assert len(self.stored) == PAGES

    @invariant()
    def done_stays_done(self):
        assert (self.work.state is State.DONE) == bool(self.finished)

    @invariant()
    def only_what_runs_has_a_lease(self):
        assert (self.work.lease_until > 0) == (self.work.state is State.RUNNING)

    @invariant()
    def what_needs_a_person_says_why(self):
        if self.work.state in states.NEEDS_A_PERSON:
            assert self.work.reason

    def teardown(self):
        """Left alone with time and the tick, every unit comes to an end or to a person."""
        if not hasattr(self, "work"):
            return
        for _ in range(200):
            if self.work.state in FINAL | states.NEEDS_A_PERSON:
                return
            self.tick(LEASE * 2, prompt=False)
            claimed = self.machine.claim(self.work, self.now, LEASE)
            if claimed:
                self.work = claimed
                self.work = self.machine.leave(claimed, claimed.fence, State.DONE) or self.work
        pytest.fail(f"stuck in {self.work}")


HISTORIES = settings(max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.mark.parametrize("kind", [SLICE, DELIVERY, CHANGE], ids=lambda kind: kind.name)
def test_no_history_breaks_a_law(kind):
    """Whatever crashes, is lost, doubled or late: each page is stored once, in order, and work comes to an end."""
    run_state_machine_as_test(type("_History", (History,), {"kind": kind}), settings=HISTORIES)


def _commit_without_fence(work, fence, now, lease):
    return states.commit(work, work.fence, now, lease)


def _never_expires(work, now, kind):
    return None


def _expire_without_fence(work, now, kind):
    after = states.expire(work, now, kind)
    return after and replace(after, fence=work.fence)


def _claims_what_runs(work, now, lease):
    return states.claim(replace(work, state=State.READY, due=0), now, lease)


BUGS: dict[str, dict[str, Any]] = {
    "commit ignores the fence": {"commit": staticmethod(_commit_without_fence)},
    "nothing is taken back": {"expire": staticmethod(_never_expires)},
    "taking back keeps the fence": {"expire": staticmethod(_expire_without_fence)},
    "finished work is claimed again": {"claim": staticmethod(_claims_what_runs)},
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_planted_bug_is_found(bug):
    """The simulation is worth something only because it finds these."""
    machine = type("_Broken", (Machine,), BUGS[bug])
    broken = type("_History", (History,), {"machine": machine})
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        run_state_machine_as_test(
            broken,
            settings=settings(
                HISTORIES, max_examples=2000, print_blob=False, derandomize=True, phases=[Phase.generate]
            ),
        )


def test_the_last_attempt_makes_it_dead():
    """A failure counts once; the last one leaves a dead letter with its reason, due never again by itself."""
    work = Work()
    for attempt in range(SLICE.max_attempts):
        held = states.claim(replace(work, due=0), 1, LEASE)
        assert held is not None
        failed = states.retry(held, held.fence, 0, f"failure {attempt}", SLICE)
        assert failed is not None
        work = failed
    assert work.state is State.DEAD
    assert work.attempts == SLICE.max_attempts
    assert work.reason == f"failure {SLICE.max_attempts - 1}"
    assert states.claim(work, 1e9, LEASE) is None


def test_waiting_for_a_quota_uses_up_no_attempt():
    """Deferred is not failed."""
    held = states.claim(Work(), 0, LEASE)
    assert held is not None
    deferred = states.leave(held, held.fence, State.DEFERRED, 60, "quota")
    assert deferred is not None
    assert deferred.attempts == 0


def test_the_events_name_every_transition_of_the_functions():
    """The table that people read and the functions that run agree on states and on what only changes can do."""
    assert "doubt" in CHANGE.events()
    assert "doubt" not in SLICE.events()
    assert {State.DONE, State.CANCELLED}.isdisjoint(set().union(*(event.before for event in EVENTS.values())))
    assert [DELIVERY.word(s) for s in (State.READY, State.RUNNING, State.DONE)] == ["received", "applying", "applied"]
    assert states.cancel(replace(Work(), state=State.DONE)) is None
    cancelled = states.cancel(Work(), "not wanted")
    assert cancelled is not None
    assert cancelled.fence == 1
