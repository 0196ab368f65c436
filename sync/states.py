"""The state machine of every unit of work: pure, without database, broker or clock.

A slice (pull), a delivery (webhook) and a change (push) live the same life under their own words:

    ready ──claim──▶ running ──commit──▶ running (progress: the lease is renewed, attempts start again)
      ▲                 ├─finish──▶ done
      │                 ├─pause───▶ ready       (time is up: the continuation is due at once)
      ├────due──────────├─defer───▶ deferred    (quota, order, pause: uses up no attempt)
      ├────due──────────├─retry───▶ deferred    (a failure: one attempt; the last one makes it dead)
      │                 ├─doubt───▶ unsettled   (changes only: sent, and nobody knows whether it arrived)
      │                 ├─hold────▶ held        (a guard stopped it) ──approve──▶ ready
      │                 ├─fail────▶ dead        (needs a person) ──replay──▶ ready
      └────expire───────┘                       (the lease ran out: the fence rises, one attempt)

Every claim raises the fence, and what a worker does with an older fence is refused: `commit`, `finish` and all
the others return None. Times are numbers on one clock, the database's. `sync.store.leases` says the same in SQL,
and a test holds the two against each other.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum


class State(StrEnum):
    """The states that all kinds share; a kind gives some of them words of its own."""

    READY = "ready"
    RUNNING = "running"
    DEFERRED = "deferred"
    UNSETTLED = "unsettled"
    HELD = "held"
    DEAD = "dead"
    DONE = "done"
    CANCELLED = "cancelled"


CLAIMABLE = frozenset({State.READY, State.DEFERRED, State.UNSETTLED})
FINAL = frozenset({State.DONE, State.CANCELLED})
NEEDS_A_PERSON = frozenset({State.HELD, State.DEAD})


class Cause(StrEnum):
    """Who may bring a transition about."""

    WORKER = "worker"
    TICK = "tick"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One kind of transition: from which states, to which, and by whom."""

    before: frozenset[State]
    after: State
    causes: frozenset[Cause]


def _event(before: Iterable[State], after: State, *causes: Cause) -> Event:
    return Event(before=frozenset(before), after=after, causes=frozenset(causes))


EVENTS: Mapping[str, Event] = {
    "claim": _event(CLAIMABLE, State.RUNNING, Cause.WORKER),
    "commit": _event([State.RUNNING], State.RUNNING, Cause.WORKER),
    "pause": _event([State.RUNNING], State.READY, Cause.WORKER),
    "defer": _event([State.RUNNING], State.DEFERRED, Cause.WORKER),
    "retry": _event([State.RUNNING], State.DEFERRED, Cause.WORKER),
    "doubt": _event([State.RUNNING], State.UNSETTLED, Cause.WORKER),
    "finish": _event([State.RUNNING], State.DONE, Cause.WORKER),
    "hold": _event([State.RUNNING], State.HELD, Cause.WORKER),
    "fail": _event([State.RUNNING], State.DEAD, Cause.WORKER),
    "expire": _event([State.RUNNING], State.READY, Cause.TICK),
    "approve": _event([State.HELD], State.READY, Cause.PERSON),
    "replay": _event([State.DEAD], State.READY, Cause.PERSON),
    "cancel": _event(set(State) - FINAL, State.CANCELLED, Cause.PERSON, Cause.WORKER),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A kind of unit: its words for the shared states, its events, and how many failures in a row it survives."""

    name: str
    words: Mapping[State, str] = field(default_factory=dict)
    max_attempts: int = 12
    doubts: bool = False

    def word(self, state: State) -> str:
        return self.words.get(state, state.value)

    def events(self) -> Mapping[str, Event]:
        return {name: event for name, event in EVENTS.items() if name != "doubt" or self.doubts}


SLICE = Kind(name="slice")
# What a delivery is while it is `applying` stands in no row: its inbox is leased, with a fence for all of them. One
# that is applied or ignored stays so; a person who replays it begins a new life of it.
DELIVERY = Kind(
    name="delivery",
    words={State.READY: "received", State.RUNNING: "applying", State.DONE: "applied", State.CANCELLED: "ignored"},
)
CHANGE = Kind(
    name="change",
    words={State.READY: "queued", State.RUNNING: "sending", State.DONE: "sent"},
    doubts=True,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The part of a unit's row that transitions read and write."""

    state: State = State.READY
    due: float = 0.0
    attempts: int = 0
    fence: int = 0
    lease_until: float = 0.0
    reason: str = ""


def claim(work: Work, now: float, lease: float) -> Work | None:
    """Take a due unit until `now + lease`; None = it is not there to be taken."""
    if work.state not in CLAIMABLE or work.due > now:
        return None
    return replace(work, state=State.RUNNING, fence=work.fence + 1, lease_until=now + lease)


def _held_by(work: Work, fence: int) -> bool:
    return work.state is State.RUNNING and work.fence == fence


def commit(work: Work, fence: int, now: float, lease: float) -> Work | None:
    """Progress: renew the lease; None = somebody else has the unit now, and nothing may be written."""
    if not _held_by(work, fence):
        return None
    return replace(work, lease_until=now + lease, attempts=0, reason="")


def leave(work: Work, fence: int, after: State, due: float = 0.0, reason: str = "") -> Work | None:
    """The worker lets go: pause, defer, doubt, finish, hold or fail, as `after` says."""
    if not _held_by(work, fence):
        return None
    return replace(work, state=after, due=due, lease_until=0.0, reason=reason)


def retry(work: Work, fence: int, due: float, reason: str, kind: Kind) -> Work | None:
    """A failure: due again at `due`, or dead after the last attempt."""
    if not _held_by(work, fence):
        return None
    return _failed(work, State.DEFERRED, due, reason, kind)


def expire(work: Work, now: float, kind: Kind) -> Work | None:
    """The holder is presumed dead: the fence rises, so that it can't write any more."""
    if work.state is not State.RUNNING or work.lease_until >= now:
        return None
    raised = replace(work, fence=work.fence + 1)
    return _failed(raised, State.READY, now, "the worker that held it fell silent", kind)


def _failed(work: Work, after: State, due: float, reason: str, kind: Kind) -> Work:
    attempts = work.attempts + 1
    state = State.DEAD if attempts >= kind.max_attempts else after
    return replace(work, state=state, due=due, attempts=attempts, lease_until=0.0, reason=reason)


def release(work: Work, before: State, now: float) -> Work | None:
    """A person approves what is held or replays what is dead: it is due at once, with all its attempts."""
    if work.state is not before or before not in NEEDS_A_PERSON:
        return None
    return replace(work, state=State.READY, due=now, attempts=0, reason="")


def cancel(work: Work, reason: str = "") -> Work | None:
    """A person, or work that overtook it, ends the unit; whoever holds it can't write any more."""
    if work.state in FINAL:
        return None
    return replace(work, state=State.CANCELLED, fence=work.fence + 1, lease_until=0.0, reason=reason)
