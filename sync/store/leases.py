"""Leases: the transitions of `sync.states` as SQL over the rows of slices, by the database's clock.

Each statement is built once. Those that a worker makes carry the fence of its claim; where the row has moved on
they change nothing and `LostLeaseError` rolls the whole transaction back, data and position together.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, case, delete, exists, insert, null, select, text, update

from connectors import TidelockError
from models import Attempt, Sighting, Slice
from models import Connection as Account
from models.slice import RUNNING, WAITING
from sync.states import NEEDS_A_PERSON, SLICE, State
from sync.store.database import now

_slices = Slice.__table__
_accounts = Account.__table__
_attempts = Attempt.__table__
_sightings = Sighting.__table__
_waiting = text(f"slices.{WAITING}")
_LAST = SLICE.max_attempts - 1


class LostLeaseError(TidelockError):
    """The unit is another worker's by now: whatever this one did must not be written."""


_claim = (
    update(_slices)
    .where(
        _slices.c.id == bindparam("unit"),
        _waiting,
        _slices.c.due_at <= now(),
        exists().where(_accounts.c.id == _slices.c.connection_id, _accounts.c.state == "active"),
    )
    .values(
        state=State.RUNNING.value,
        fence=_slices.c.fence + 1,
        lease_until=now(bindparam("lease")),
        worker=bindparam("by"),
        rings=0,
        began_at=case((_slices.c.began_at.is_(None), now()), else_=_slices.c.began_at),
    )
    .returning(*_slices.c, now().label("clock"))
)

_held = and_(
    _slices.c.id == bindparam("unit"),
    _slices.c.fence == bindparam("held_fence"),
    _slices.c.state == State.RUNNING.value,
)

_commit = (
    update(_slices)
    .where(_held)
    .values(
        lease_until=now(bindparam("lease")),
        attempts=0,
        reason=null(),
        phase=bindparam("at_phase"),
        ask=bindparam("next_ask", type_=_slices.c.ask.type),
        seen=bindparam("max_seen", type_=_slices.c.seen.type),
        started=bindparam("pass_started"),
        etag=bindparam("first_etag"),
        trail=bindparam("token_trail", type_=_slices.c.trail.type),
        absent=bindparam("absent_keys", type_=_slices.c.absent.type),
        pages=bindparam("page_count"),
        counts=bindparam("tally", type_=_slices.c.counts.type),
    )
)

_leave = (
    update(_slices)
    .where(_held)
    .values(
        state=bindparam("after"),
        due_at=now(bindparam("wait")),
        reason=bindparam("why"),
        lease_until=null(),
        rung_at=null(),
        attempts=_slices.c.attempts + bindparam("failures"),
    )
    .returning(_slices.c.state, _slices.c.attempts)
)

_retry = _leave.values(
    state=case((_slices.c.attempts >= _LAST, State.DEAD.value), else_=bindparam("after")),
)

_expired = (
    update(_slices)
    .where(text(f"slices.{RUNNING}"), _slices.c.lease_until < now())
    .values(
        state=case((_slices.c.attempts >= _LAST, State.DEAD.value), else_=State.READY.value),
        fence=_slices.c.fence + 1,
        attempts=_slices.c.attempts + 1,
        due_at=now(),
        lease_until=null(),
        rung_at=null(),
        reason=bindparam("why"),
    )
    .returning(_slices.c.id, _slices.c.run_id, _slices.c.state, _slices.c.fence, _slices.c.worker)
)

_note = insert(_attempts).values(
    kind="slice",
    unit=bindparam("unit"),
    at=now(),
    before=bindparam("was"),
    after=bindparam("became"),
    reason=bindparam("why"),
    fence=bindparam("held_fence"),
    worker=bindparam("by"),
)

SILENT = "the worker that held it fell silent"


def claim(connection: Connection, unit: int, worker: str, lease: float) -> Row[Any] | None:
    """Take a due slice of an active connection; None = a late or doubled message, there is nothing to do.

    The row is the slice with `clock`, the database's time of the claim.
    """
    return connection.execute(_claim, {"unit": unit, "by": worker, "lease": lease}).one_or_none()


def commit(connection: Connection, unit: int, fence: int, lease: float, progress: Mapping[str, Any]) -> None:
    """Save the position that belongs to the data of this transaction, and renew the lease."""
    done = connection.execute(_commit, {"unit": unit, "held_fence": fence, "lease": lease, **progress})
    if done.rowcount != 1:
        raise LostLeaseError(f"slice {unit} is no longer held under fence {fence}")


_renew = update(_slices).where(_held).values(lease_until=now(bindparam("lease")))


def renew(connection: Connection, unit: int, fence: int, lease: float) -> None:
    """Keep a slice for as long again."""
    if connection.execute(_renew, {"unit": unit, "held_fence": fence, "lease": lease}).rowcount != 1:
        raise LostLeaseError(f"slice {unit} is no longer held under fence {fence}")


def leave(
    connection: Connection,
    unit: int,
    fence: int,
    after: State,
    *,
    wait: float = 0.0,
    reason: str | None = None,
    worker: str = "",
) -> None:
    """Let go of a slice: its next state, and in how many seconds it is due."""
    values = {"unit": unit, "held_fence": fence, "after": after.value, "wait": wait, "why": reason, "failures": 0}
    if connection.execute(_leave, values).one_or_none() is None:
        raise LostLeaseError(f"slice {unit} is no longer held under fence {fence}")
    if after is not State.READY:
        note(connection, unit, State.RUNNING, after, reason, fence, worker)


def retry(connection: Connection, unit: int, fence: int, *, wait: float, reason: str, worker: str = "") -> State:
    """Count a failure: due again in `wait` seconds, or dead after the last attempt. Returns which of the two."""
    values = {"unit": unit, "held_fence": fence, "after": State.DEFERRED.value, "wait": wait, "why": reason}
    row = connection.execute(_retry, {**values, "failures": 1}).one_or_none()
    if row is None:
        raise LostLeaseError(f"slice {unit} is no longer held under fence {fence}")
    note(connection, unit, State.RUNNING, State(row.state), reason, fence, worker)
    return State(row.state)


def take_back(connection: Connection) -> list[Row[Any]]:
    """Take back what silent workers held; the rows say which slices are ready again and which are dead now."""
    rows = list(connection.execute(_expired, {"why": SILENT}))
    for row in rows:
        note(connection, row.id, State.RUNNING, State(row.state), SILENT, row.fence, row.worker)
    return rows


def release(connection: Connection, units: Iterable[int], before: State, ceiling: int | None = None) -> int:
    """A person approves held slices (up to `ceiling` deletions) or replays dead ones; how many there were."""
    statement = (
        update(_slices)
        .where(_slices.c.id.in_(list(units)), _slices.c.state == before.value)
        .values(state=State.READY.value, due_at=now(), attempts=0, reason=null(), rung_at=null(), rings=0)
        .returning(_slices.c.id, _slices.c.fence)
    )
    rows = list(connection.execute(statement.values(approved=ceiling) if ceiling is not None else statement))
    for row in rows:
        note(connection, row.id, before, State.READY, "released by a person", row.fence, None)
    return len(rows)


def cancel(connection: Connection, units: Iterable[int], reason: str, states: Iterable[State] = NEEDS_A_PERSON) -> int:
    """End those of these slices that are in these states still, and forget what they saw; how many there were.

    One that was released meanwhile goes on: its run waits for it.
    """
    stuck = select(_slices.c.id, _slices.c.state, _slices.c.fence).where(
        _slices.c.id.in_(list(units)), _slices.c.state.in_([state.value for state in states])
    )
    rows = list(connection.execute(stuck.order_by(_slices.c.id).with_for_update()))
    ended = [row.id for row in rows]
    statement = (
        update(_slices)
        .where(_slices.c.id.in_(ended))
        .values(state=State.CANCELLED.value, fence=_slices.c.fence + 1, lease_until=null(), reason=reason)
    )
    connection.execute(statement)
    connection.execute(delete(_sightings).where(_sightings.c.slice_id.in_(ended)))
    for row in rows:
        note(connection, row.id, State(row.state), State.CANCELLED, reason, row.fence + 1, None)
    return len(rows)


def note(
    connection: Connection,
    unit: int,
    before: State,
    after: State,
    reason: str | None,
    fence: int,
    worker: str | None,
) -> None:
    """Append a transition to the history."""
    values = {"unit": unit, "was": before.value, "became": after.value, "why": reason}
    connection.execute(_note, {**values, "held_fence": fence, "by": worker})


def attempts(connection: Connection, unit: int) -> int:
    """How often it failed since its last progress."""
    return connection.execute(select(_slices.c.attempts).where(_slices.c.id == unit)).scalar() or 0


def rows(connection: Connection, units: Iterable[int]) -> list[Row[Any]]:
    """The slices as they stand."""
    return list(connection.execute(select(_slices).where(_slices.c.id.in_(list(units)))))


_rewound = (
    update(_slices)
    .where(_held)
    .values(
        ask=bindparam("next_ask", type_=_slices.c.ask.type),
        full=bindparam("is_full"),
        first=False,
        phase="fetch",
        seen=null(),
        started=null(),
        began_at=now(),
        etag=null(),
        trail=null(),
        absent=bindparam("absent_keys", type_=_slices.c.absent.type),
        pages=0,
        restarts=_slices.c.restarts + bindparam("again"),
    )
)


def rewind(
    connection: Connection, unit: int, fence: int, ask: Mapping[str, Any], *, full: bool, absent: Any = None
) -> None:
    """Begin the pass again from its first page; what was stored stays and is seen again.

    `absent` is what the pass before this one did not show: then this is its second pass, else a restart.
    """
    values = {
        "unit": unit,
        "held_fence": fence,
        "next_ask": ask,
        "is_full": full,
        "absent_keys": absent,
        "again": int(absent is None),
    }
    if connection.execute(_rewound, values).rowcount != 1:
        raise LostLeaseError(f"slice {unit} is no longer held under fence {fence}")
    connection.execute(delete(_sightings).where(_sightings.c.slice_id == unit))
