"""The tick: what is due becomes runs, what the broker lost is sent again, what a silent worker held is taken back.

Any number of ticks may run: every step claims its rows in SQL. `Scheduler` runs the tick inside `celery beat`,
without a message through the broker, so that a lost broker stops no clock.
"""

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from math import inf
from typing import Any, TypeVar

import structlog
from celery.beat import Scheduler as Beat
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy import Connection, Row
from sqlalchemy.exc import DBAPIError

from connectors import TidelockError
from sync import receive, subscribing
from sync.log import Complaints
from sync.opening import Demand, open_together
from sync.pull import follow, plan, send
from sync.rules import Rule
from sync.settings import settings
from sync.states import State
from sync.store import connections, dispatch, inbox_leases, leases, retention, runs, schedules
from sync.store.agenda import look
from sync.store.database import glance, read, write
from sync.store.schema import SchemaError
from sync.tables import prepare

log = structlog.get_logger()
T = TypeVar("T")

_BATCH = 50  # schedules a transaction: a crowd of due connections doesn't hold the database for long
_AGAIN = 15.0  # seconds until a connection is looked at again whose tables are in use
_PASSING = (DBAPIError, SchemaError, BrokerError, OSError)  # nothing that its owner could mend: tried again by itself
_HASTE = 4  # looks in the time of one, while more is due than the queues take


_complaints = Complaints()


def tick() -> bool:
    """One look at everything that time brings about; an idle one writes nothing. True = there is more than fits into
    the queues now, so the next look should come soon."""
    with glance() as connection:
        agenda = look(connection)
    if agenda.expired:
        _survived(take_back)
    more = agenda.due
    while more:
        more = _survived(open_due) == _BATCH
        _survived(ring)
    if agenda.orphaned:
        _survived(adopt)
    if agenda.silent or agenda.expired or agenda.orphaned:
        _survived(ring)
    if agenda.abandoned:
        _survived(take_back_inboxes)
    if agenda.delivered or agenda.abandoned:
        _survived(ring_inboxes)
    return agenda.due or agenda.silent


def take_back() -> None:
    """Slices of silent workers are ready again, or dead after their last attempt."""
    with write() as connection:
        rows = leases.take_back(connection)
        closed = [
            row.run_id for row in rows if row.state == State.DEAD.value and runs.slice_left(connection, row.run_id)
        ]
    for row in rows:
        log.warning("lease expired", unit=row.id, worker=row.worker, state=row.state)
    for run in closed:
        _follow(run)


def open_due() -> int:
    """Open the runs of due schedules; how many schedules there were."""
    with read() as connection:
        waiting = connections.several(connection, schedules.due_accounts(connection, _BATCH))
    ready = _ready(waiting.values())
    try:
        return _open(ready)
    except DBAPIError as error:
        if error.connection_invalidated:
            raise
    return sum(_open_alone(account) for account in ready)  # one of them is at fault: the others have their turn


def _ready(waiting: Iterable[Row[Any]]) -> set[int]:
    """The connections whose tables are what is declared; what is wrong with one stops no other."""
    ready: set[int] = set()
    for account in waiting:
        try:
            prepare(account)
        except Exception as error:  # noqa: BLE001 - a connector may raise anything
            _set_aside(account.id, error)
        else:
            ready.add(account.id)
    return ready


def _open(ready: Collection[int]) -> int:
    with write() as connection:
        due = [schedule for schedule in schedules.due(connection, _BATCH) if schedule.connection_id in ready]
        _serve(connection, due)
    return len(due)


def _open_alone(account: int) -> int:
    try:
        return _open({account})
    except DBAPIError as error:
        _set_aside(account, error)
        return 0


def _set_aside(account: int, error: Exception) -> None:
    """It is failing, or, where nobody could mend anything, due again later: others are looked at first meanwhile."""
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        raise error
    with write() as connection:
        if not isinstance(error, _PASSING):
            _fail(connection, account, error)
            return
        schedules.postpone(connection, [account], _AGAIN)
    _complaints.wrong(log, "schedule", _reason(error), connection=account)


def _fail(connection: Connection, account: int, error: Exception) -> None:
    """Its schedules wait until somebody mends it."""
    log.error("schedule", connection=account, reason=_reason(error))
    connections.set_state(connection, account, "failing", _reason(error))


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, TidelockError) else f"{type(error).__name__}: {error}"


def _serve(connection: Connection, due: Sequence[Row[Any]]) -> None:
    """Open the runs of these schedules and move them on, in one transaction: each due time is served once."""
    if not due:
        return
    accounts = connections.several(connection, {schedule.connection_id for schedule in due})
    own = schedules.own_streams(connection, accounts)
    served, errors = _moved(due)
    demands = [(accounts[one.connection_id], _demand(one, own[one.connection_id])) for one, _ in served]
    errors |= open_together(connection, demands, due[0].clock)[1]
    schedules.advance(connection, [(one, after) for one, after in served if one.connection_id not in errors])
    for account, error in errors.items():
        _fail(connection, account, error)
    for account in accounts.keys() - errors.keys():
        _complaints.well(log, "schedule", connection=account)


def _moved(due: Sequence[Row[Any]]) -> tuple[list[tuple[Row[Any], datetime]], dict[int, Exception]]:
    """Schedules with the time when they are due next, and by connection what is wrong with a rule."""
    served: list[tuple[Row[Any], datetime]] = []
    errors: dict[int, Exception] = {}
    for one in due:
        try:
            rule = Rule(one.rule, one.zone, one.jitter)
            served.append((one, rule.after(one.clock, one.next_due_at)))
        except Exception as error:  # noqa: BLE001 - rules and zones are texts of people: they may break anything
            errors[one.connection_id] = error
    return served, errors


def _demand(schedule: Row[Any], own: frozenset[str]) -> Demand:
    if schedule.stream:
        return Demand(cause="schedule", select=[schedule.stream])
    return Demand(cause="schedule", skip=own)


def adopt() -> None:
    """Plan the waiting runs whose message was lost."""
    with read() as connection:
        waiting = runs.orphans(connection)
    for run in waiting:
        _adopt(run)


def _adopt(run: Row[Any]) -> None:
    """One that can't be planned is closed with the reason, and stops no other."""
    try:
        plan(run.id)
    except _PASSING as error:
        if isinstance(error, DBAPIError) and error.connection_invalidated:
            raise
        _complaints.wrong(log, "plan", _reason(error), run=run.id)
    except Exception as error:  # noqa: BLE001 - a connector may raise anything
        log.error("plan", run=run.id, reason=_reason(error))  # noqa: TRY400 - the reason names the place
        with write() as connection:
            runs.fail(connection, run.id, _reason(error))
    else:
        _complaints.well(log, "plan", run=run.id)


def ring() -> None:
    """Send a message for every due slice that is worth one now."""
    with write() as connection:
        rung = dispatch.ring(connection, settings().in_flight)
    send(rung)


def take_back_inboxes() -> None:
    """The inboxes of silent workers are free again."""
    with write() as connection:
        rows = inbox_leases.take_back(connection)
    for row in rows:
        log.warning("lease expired", inbox=row.connection_id, worker=row.worker)


def ring_inboxes() -> None:
    """Send a message for every inbox in which something is due that nobody was told of, or nobody came for."""
    with read() as connection:
        waiting = connections.several(connection, inbox_leases.wanted(connection, _BATCH))
    ready = _ready(waiting.values())
    with write() as connection:
        rung = inbox_leases.ring(connection, ready)
    receive.send(rung)


def prune() -> None:
    """Delete what was over long ago."""
    gone = retention.prune(settings().keep_days)
    if gone:
        log.info("pruned", **gone)


_SLOW: Mapping[Callable[[], None], float] = {prune: 60.0, subscribing.look: 10.0}
"""What is done now and then, and the seconds between two times."""


def _follow(run: int) -> None:
    with read() as connection:
        waiting = [row.id for row in runs.ready_after(connection, run)]
    follow(waiting)


class Scheduler(Beat):
    """`celery beat -S sync.schedule:Scheduler`: runs the tick instead of sending periodic messages."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.max_interval = settings().tick_seconds
        self.done_at = dict.fromkeys(_SLOW, -inf)

    def setup_schedule(self) -> None:
        """Nothing: what is due stands in the database."""

    def tick(self, event_t: Any = None, min: Any = None, heappop: Any = None, heappush: Any = None) -> float:  # noqa: A002
        """One tick; the seconds until the next. A database or broker that is away is tried again."""
        begun = time.monotonic()
        crowded = _survived(tick)
        self._slowly(begun)
        _survived(_mark_alive)
        pause = settings().tick_seconds / (_HASTE if crowded else 1)
        return max(0.05, pause - (time.monotonic() - begun))

    def _slowly(self, clock: float) -> None:
        """After the tick, now and then: nothing waits for it."""
        for act, pause in _SLOW.items():
            if clock - self.done_at[act] >= pause:
                self.done_at[act] = clock
                _survived(act)

    def should_sync(self) -> bool:
        return False

    @property
    def schedule(self) -> dict[str, Any]:
        return {}


def _survived(act: Callable[[], T]) -> T | None:
    """What it returns; None where it failed, which is logged once: the next look tries again, and nothing ends the
    clock."""
    try:
        done = act()
    except Exception as error:  # noqa: BLE001 - one step, or one connection in it, stops no other
        _complaints.wrong(log, "tick", _reason(error), trace=not isinstance(error, _PASSING), step=act.__name__)
        return None
    _complaints.well(log, "tick", step=act.__name__)
    return done


def _mark_alive() -> None:
    """The time of the last tick, for `tidelock doctor` and the health page on this machine."""
    (settings().home / "tick").write_text(datetime.now(UTC).isoformat(), encoding="ascii")
