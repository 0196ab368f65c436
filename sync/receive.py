"""The receive journey: what was delivered to a connection, from the claim of its inbox to the records.

    bell, tick ─▶ drain(connection): claim the inbox ─▶ batch ─▶ events ─▶ effects
                     │ what they tell       told     one transaction: records, and the deliveries closed
                     │ what must be asked   asked    fetched beside each other, landed likewise; new batches meanwhile
                     │ what must be pulled  pulled   runs are opened
                     ▼ nothing is due any more: let go; time is up: drain(connection) again

No transaction is open while the vendor is asked. A delivery that fails holds up later ones at its own records only.
"""

import os
import socket
import time
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from typing import Any

import structlog
from celery import shared_task
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy import Connection, Row, inspect
from sqlalchemy.exc import DBAPIError

from connectors import FetchBack, TidelockError
from sync import pull
from sync.asked import Asked
from sync.effects import Key, Records, Trust
from sync.events import Unreadable, understand
from sync.heartbeat import Heartbeat
from sync.lists import streams
from sync.parcel import Parcel
from sync.pulled import Pulled
from sync.refetch import Refetches
from sync.registry import load
from sync.settings import settings
from sync.states import DELIVERY
from sync.store import connections, inbox, inbox_leases
from sync.store.database import engine, glance, write
from sync.store.leases import LostLeaseError
from sync.told import Told

log = structlog.get_logger()

MOST_IN_HAND = 2000  # deliveries that wait for answers: while there are as many, no more are read
PATIENCE = 0.25  # seconds after which it is looked whether more was delivered, while a vendor is slow
GAP = 0.002  # seconds between two transactions: SQLite's other writers get their turn
ONE_BY_ONE = 50  # deliveries that are taken alone after a drain that did not end well

heartbeat = Heartbeat(inbox_leases.renew)


@shared_task(name="receive.drain")
def drain(account: int) -> None:
    """Look at the inbox of a connection now: apply what is due in it, or nothing."""
    until = time.monotonic() + settings().slice_seconds
    while lease := _claimed(account):
        drained = False
        with heartbeat.holding(account, lease.fence), _ended(lease):
            drained = Drain(lease, until).work()
        if not drained:
            return


def _claimed(account: int) -> inbox_leases.Lease | None:
    """Most messages come while somebody drains already: they take no lock."""
    with glance() as connection:
        if not inbox_leases.is_wanted(connection, account):
            return None
    with write() as connection:
        return inbox_leases.claim(connection, account, _worker(), settings().lease_seconds)


def send(accounts: Collection[int]) -> None:
    """Ring for inboxes in which something is due; a message that is lost is sent again by the tick.

    What can't be sent counts as never rung, and the failure is raised.
    """
    waiting = sorted(accounts)
    try:
        while waiting:
            drain.apply_async((waiting[0],), queue="interactive")
            del waiting[0]
    except (BrokerError, OSError):
        with write() as connection:
            inbox_leases.unring(connection, waiting)
        raise


def _worker() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"


@contextmanager
def _ended(lease: inbox_leases.Lease) -> Iterator[None]:
    """Whatever goes wrong, the inbox is let go; what is due is rung for again after a while."""
    try:
        yield
    except LostLeaseError as lost:
        log.info("lease lost", reason=str(lost))
    except TidelockError as error:
        log.error("drain", connection=lease.account, reason=str(error))  # noqa: TRY400 - the reason names the place
        _let_go(lease, failing=str(error))
    except Exception as error:
        log.exception("unexpected")
        _let_go(lease, wary=not isinstance(error, DBAPIError))


def _let_go(lease: inbox_leases.Lease, *, failing: str | None = None, wary: bool = False) -> None:
    """failing: nothing of the connection can be drained until somebody mends it."""
    with suppress(LostLeaseError), write() as connection:
        inbox_leases.leave(connection, lease.account, lease.fence, rung=failing is None, wary=wary)
        if failing is not None:
            connections.set_state(connection, lease.account, "failing", failing)


class Drain:
    """A claimed inbox in the hands of this worker, until then. `hand` are the deliveries that wait for answers, by
    id."""

    def __init__(self, lease: inbox_leases.Lease, until: float) -> None:
        with glance() as connection:
            self.account = connections.get(connection, lease.account)
        self.lease = lease
        self.claimed = time.monotonic()
        self.until = until
        self.wary = ONE_BY_ONE if lease.wary else 0
        self.connector = load(self.account.connector)
        self.webhook = self.connector.webhook_for(self.account.config)
        every = [one.name for one in self.connector.streams_for(self.account.config)]
        selected = {one.name: one for one in streams(self.connector, self.account.config, self.account.streams)}
        proves_nothing = self.webhook is not None and isinstance(self.webhook.verify, FetchBack)
        self.records = Records(self.account, selected, every, Trust.NOTHING if proves_nothing else Trust.VERSIONS)
        self.refetches = Refetches(self.account, self.connector, selected, self.clock)
        self.told, self.asked, self.pulled = Told(self), Asked(self), Pulled(self)
        self.hand: dict[int, Parcel] = {}

    def clock(self) -> datetime:
        """The database's time now, as far as this worker knows it without asking."""
        return self.lease.clock + timedelta(seconds=time.monotonic() - self.claimed)

    def work(self) -> bool:
        """Until nothing is due, or the time is up; True = it was let go with nothing due."""
        with self.refetches:
            if not all(_is_there(self.records.mirror(name).table) for name in self.records.streams):
                self._leave(rung=False)  # the tick makes the tables before it rings
                return False
            while time.monotonic() < self.until:
                if self._step() and self._released():
                    return True
            self.asked.land(self.refetches.rest())
        self._leave(rung=True)
        _hint([self.account.id])
        return False

    def _step(self) -> bool:
        """Take what was delivered, land what was answered; True = there was nothing of either, and nothing is open."""
        fresh = self.told.take(self._fresh())
        self._pull(fresh)
        said = self.refetches.said(0.0 if fresh else PATIENCE)
        self.asked.land(said)
        if self.hand and not fresh and self.refetches.idle:
            raise AssertionError(f"deliveries {sorted(self.hand)[:5]} are in hand, and nothing is asked for them")
        return not (fresh or said or self.hand)

    def _fresh(self) -> list[Parcel]:
        """The next deliveries, understood; none while enough are in hand."""
        if len(self.hand) >= MOST_IN_HAND:
            return []
        wary = self.wary > 0
        with glance() as connection:
            rows = inbox.batch(connection, self.account.id, self.hand, 1 if wary else inbox.MOST)
        for row in rows if wary else ():
            self._beware(row)
        return [self._understood(row, wary=wary) for row in rows]

    def _beware(self, row: Row[Any]) -> None:
        """Whoever drained before may have come to its end by this one: count the attempt before it is made."""
        self.wary -= 1
        with self.writing() as connection:
            inbox.begin(connection, row.id)

    def _understood(self, row: Row[Any], *, wary: bool) -> Parcel:
        if wary and row.attempts >= DELIVERY.max_attempts:
            return Parcel.unreadable(row, f"{row.attempts} workers came to their end with it in hand")
        if self.webhook is None:
            return Parcel.unreadable(row, f"the connector {self.account.connector} has no webhook")
        try:
            return Parcel.of(row, understand(self.webhook, self.records, row.headers, row.body), counted=wary)
        except Unreadable as error:
            return Parcel.unreadable(row, str(error))

    def _pull(self, parcels: Iterable[Parcel]) -> None:
        rung = self.pulled.open([parcel for parcel in parcels if parcel.pulling()])
        if not rung:
            return
        try:
            pull.send(rung)
        except Exception as error:  # noqa: BLE001 - whatever a broker may say, the tick rings again
            log.warning("not rung", units=len(rung), reason=f"{type(error).__name__}: {error}")

    def _released(self) -> bool:
        with write() as connection:
            return inbox_leases.release(connection, self.account.id, self.lease.fence)

    def _leave(self, *, rung: bool) -> None:
        with write() as connection:
            inbox_leases.leave(connection, self.account.id, self.lease.fence, rung=rung)

    # for those who work on what is in hand

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction of this drain, as long as the inbox is ours."""
        with write() as connection:
            inbox_leases.renew(connection, self.account.id, self.lease.fence, settings().lease_seconds)
            yield connection
        if engine().dialect.name == "sqlite":
            time.sleep(GAP)  # see GAP

    def anew(self, parcel: Parcel) -> Parcel:
        """The same delivery as it came, whatever was noted of it since."""
        return self._understood(parcel.row, wary=parcel.counted)

    def keep(self, parcel: Parcel, *, asked: bool = False) -> None:
        """After a commit: in hand as long as there is something to be done, which is asked for now unless it was."""
        parcel.passed.clear()
        if not parcel.in_hand:
            self.hand.pop(parcel.id, None)
            return
        parcel.lighten()
        self.hand[parcel.id] = parcel
        for record in () if asked else parcel.asking():
            self.refetches.want(record, [parcel.id])

    def forget(self, past: Sequence[tuple[int, Key]]) -> None:
        """Others are past these records of deliveries that may be in hand."""
        for unit, record in past:
            if unit in self.hand:
                self.hand[unit].done(record)
                self.keep(self.hand[unit], asked=True)


_there: set[tuple[str, str, int]] = set()


def _is_there(table: Any) -> bool:
    """Whether the database has the table with all its columns: a process looks until it is so."""
    place = (str(engine().url), table.name, len(table.columns))
    if place not in _there:
        looked = inspect(engine())
        columns = {one["name"] for one in looked.get_columns(table.name)} if looked.has_table(table.name) else set()
        if not columns >= set(table.columns.keys()):
            log.info("the table is not there yet", table=table.name)
            return False
        _there.add(place)
    return True


def _hint(accounts: Collection[int]) -> None:
    """Ring where the work is committed: a broker that is away undoes nothing."""
    try:
        send(accounts)
    except Exception as error:  # noqa: BLE001 - whatever a broker may say
        log.warning("not rung", units=len(accounts), reason=f"{type(error).__name__}: {error}")
