"""The pull journey: one slice, from the claim to the checkpoint.

    tick ─▶ slice(id): claim ─▶ fetch a page ─▶ one transaction: records + position ─▶ next page …
                                                     │ time is up: slice(id) again
                                                     ▼ last page
                              (full pass: prove what is absent) ─▶ checkpoint, close ─▶ plan(child runs)

No transaction is open while the vendor is asked. Whatever happens to the worker, the row says how to go on.
"""

import random
import socket
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from os import getpid
from typing import Any

import structlog
from celery import chain, shared_task
from celery.signals import worker_process_init
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy import Connection, Row
from sqlalchemy.exc import DBAPIError

from connectors import Ask, ContractError, Outcome, Stream, TidelockError
from sync.answer import Answer, Apply, HeldError, Landing, TiedError
from sync.door import Account, OutcomeError
from sync.doors import door
from sync.heartbeat import heartbeat
from sync.landing import landing
from sync.lists import list_of
from sync.planning import plan as plan_run
from sync.proof import Proof
from sync.reading import Reading
from sync.registry import load
from sync.settings import settings
from sync.states import State
from sync.store import checkpoints, connections, dispatch, leases, runs
from sync.store.database import forget, glance, write
from sync.store.mirror import refused
from sync.trail import Trail

log = structlog.get_logger()

MOST_RESTARTS = 5  # of one pass
BACKOFF = 5.0  # seconds before the first retry at most; doubles with every failure
LONGEST = 900.0


@worker_process_init.connect
def _forked(**_: Any) -> None:
    """The parent's connections are not this process's."""
    forget()


@shared_task(name="pull.slice")
def slice_(unit: int) -> None:
    """Look at a slice now: do what its row says, or nothing."""
    with write() as connection:
        row = leases.claim(connection, unit, _worker(), settings().lease_seconds)
    if row is None:
        log.debug("nothing to do")
        return
    with heartbeat.holding(row.id, row.fence), _outcomes(row):
        Pass(row).work()


@shared_task(name="pull.plan")
def plan(run: int) -> None:
    """Give a run that waited for its parent its slices, and ring for them."""
    with write() as connection:
        waiting = runs.get(connection, run)
        if waiting is None:
            return
        units = plan_run(connection, run, connections.get(connection, waiting.connection_id))
        followers = [] if units else runs.ready_after(connection, run)
        rung = dispatch.ring(connection, settings().in_flight)
    _hint(rung)
    follow([row.id for row in followers])


def send(rung: list[tuple[int, str]]) -> None:
    """Ring for slices whose rows say that they are due; a message that is lost is sent again by the tick.

    What can't be sent counts as never rung; then the first failure is raised.
    """
    unsent, failures = _unsent(rung)
    if failures:
        with write() as connection:
            dispatch.unring(connection, unsent)
        raise failures[0]


def _unsent(rung: list[tuple[int, str]]) -> tuple[list[int], list[Exception]]:
    unsent: list[int] = []
    failures: list[Exception] = []
    for place, (unit, lane) in enumerate(rung):
        try:
            slice_.apply_async((unit,), queue=lane)
        except (BrokerError, OSError) as error:  # nobody is there: the wait for it is not repeated for each
            return [*unsent, *(unit for unit, _ in rung[place:])], [*failures, error]
        except Exception as error:  # noqa: BLE001 - one queue is refused, others may not be; `send` raises it
            unsent.append(unit)
            failures.append(error)
    return unsent, failures


def _hint(rung: list[tuple[int, str]]) -> None:
    """Ring where the work itself is done and committed: a broker that is away undoes nothing, the tick rings again."""
    try:
        send(rung)
    except Exception as error:  # noqa: BLE001 - whatever a broker may say
        log.warning("not rung", units=len(rung), reason=f"{type(error).__name__}: {error}")


def follow(waiting: list[int]) -> None:
    """Plan the runs that waited for one that is closed now, one after the other."""
    if waiting:
        chain(*(plan.si(run).set(queue="interactive") for run in waiting)).apply_async()


def _worker() -> str:
    return f"{socket.gethostname()}:{getpid()}"


class Pass:
    """A claimed slice in the hands of this worker."""

    def __init__(self, row: Row[Any]) -> None:
        with glance() as connection:
            self.account = connections.get(connection, row.connection_id)
        self.row = row
        self.connector = load(self.account.connector)
        self.stream = list_of(self.connector, self.account.config, row.stream, row.list)
        self.ask = Ask.of(row.ask, self.account.config)
        self.located = replace(self.stream, path=self.stream.url(self.ask), parent=None, when=None)
        self.api = door(self.account.connector, self.connector, self._caller())
        self.landing: Landing = landing(self)
        self.trail = Trail.of(row.trail)
        self.seen, self.started, self.etag = row.seen, row.started, row.etag
        self.phase, self.absent, self.pages = row.phase, row.absent, row.pages
        self.counts = dict(row.counts)
        self.rung: list[tuple[int, str]] = []
        self.reading = Reading(self)
        self.claimed = time.monotonic()
        self.until = self.claimed + settings().slice_seconds
        if self.ask.page is None and row.etag and self.stream.etag:
            self.api.etag = row.etag

    def _caller(self) -> Account:
        return Account(
            connection_id=self.account.id,
            connection=self.account.name,
            config=self.account.config,
            credential_id=self.account.credential_id,
            lane=self.row.lane,
            stream=self.row.stream,
            limit=self.stream.limit,
        )

    def work(self) -> None:
        """Fetch and land pages until the list ends or the time is up."""
        if self.phase == "prove":
            Proof(self).work()
            return
        for answer in self.reading.answers():
            done = self._land(answer)
            if done:
                return
            if answer.failure:
                raise answer.failure
        self.pause()

    def one(self, key: str, stream: Stream | None = None) -> Any:
        """The present state of one record, raw; None = the vendor has it no more."""
        asked = stream or self.located
        if asked.get is None:
            raise ContractError(f"stream {asked.name!r} must say how one record is fetched: get=...")
        self.reading.rest()
        try:
            return asked.get(self.api, asked, key)
        except OutcomeError as error:
            if error.outcome is Outcome.GONE:
                return None
            raise

    def clock(self) -> datetime:
        """The database's time now, as far as this worker knows it without asking."""
        moment: datetime = self.row.clock
        return moment + timedelta(seconds=time.monotonic() - self.claimed)

    def _land(self, answer: Answer) -> bool:
        """Land what was fetched with its position; True = the slice needs this worker no more."""
        last = self._step(answer)
        proving = last and self.landing.proves and not answer.unchanged
        self.phase = "prove" if proving else self.phase
        apply = self.landing.prepare(answer)
        self.count(answer.cost, pages=answer.pages)
        closed = self._written(apply, ends=last and not proving)
        self.let_go(closed=closed)
        self.landing.settle()
        if proving:
            Proof(self).work()
        return last

    def _written(self, apply: Apply, *, ends: bool) -> bool:
        """The transaction of these pages; again where a row was refused, or must be fetched again first."""
        careful = False
        while True:
            try:
                return self._write(apply, ends=ends, careful=careful)
            except TiedError as tied:
                self.landing.fetch(tied.keys)
            except DBAPIError as error:
                if careful or not refused(error):
                    raise
                careful = True

    def _write(self, apply: Apply, *, ends: bool, careful: bool) -> bool:
        """One transaction; `careful` looks for the one row that the database refused. True = the run is closed."""
        before = self.counts
        try:
            with write() as connection:
                self.count(apply(connection, careful=careful))
                self.commit(connection)
                return ends and self.finish(connection)
        except (DBAPIError, TiedError):
            self.counts = before
            raise

    def _step(self, answer: Answer) -> bool:
        """Move the position past these pages; True = the list ends with them."""
        self.started = self.started if self.started is not None else answer.as_of
        self.etag = answer.etag if self.pages == 0 else self.etag
        self.pages += answer.pages
        last = answer.page.next is None
        if not last:
            self.trail = answer.trail
            self.ask = replace(self.ask, page=answer.page.next)
        return last

    def count(self, tally: Mapping[str, int], **more: int) -> None:
        self.counts = runs.total((self.counts, tally, more))

    def commit(self, connection: Connection) -> None:
        """Save the position in the transaction of the data; raises LostLeaseError, which undoes both."""
        progress = {
            "at_phase": self.phase,
            "next_ask": self.ask.json(),
            "max_seen": self.seen,
            "pass_started": self.started,
            "first_etag": self.etag,
            "token_trail": self.trail.json(),
            "absent_keys": self.absent,
            "page_count": self.pages,
            "tally": self.counts,
        }
        leases.commit(connection, self.row.id, self.row.fence, settings().lease_seconds, progress)

    def finish(self, connection: Connection) -> bool:
        """The list was read to its end: save the checkpoint, let go; True = the run is closed by this."""
        leases.leave(connection, self.row.id, self.row.fence, State.DONE, worker=self.row.worker)
        self.landing.forget(connection)
        if not self._bounded():
            self._checkpoint(connection)
            runs.supersede(connection, self.row)
        self.rung = dispatch.refill(connection, self.row.connection_id, self.row.lane)
        return runs.slice_left(connection, self.row.run_id)

    def _bounded(self) -> bool:
        """A backfill of some time proves nothing about the time before and after it."""
        return self.row.lane == "backfill" and not self.row.full

    def _checkpoint(self, connection: Connection) -> None:
        position = self.landing.position(connection)
        values: dict[str, Any] = {"fresh_at": self.row.began_at, "etag": self.etag if self.pages == 1 else None}
        if position is not None:
            values["cursor"] = position
        if self.row.full:
            values["full_at"] = self.row.began_at
        if self.row.moved is not None:
            values["moved"] = self.row.moved
        checkpoints.save(
            connection, self.row.connection_id, self.row.stream, self.row.partition, self.row.list, **values
        )

    def let_go(self, *, closed: bool) -> None:
        """After the commit: ring for what has room now, and go on with what waited for a closed run."""
        _hint(self.rung)
        _after(self.row, closed=closed)

    def pause(self) -> None:
        """Time is up: make room for others who wait; where nobody does, chain to the continuation."""
        with write() as connection:
            leases.leave(connection, self.row.id, self.row.fence, State.READY)
            rung = dispatch.refill(connection, self.row.connection_id, self.row.lane)
        _hint(rung)


@contextmanager
def _outcomes(row: Row[Any]) -> Iterator[None]:
    """Whatever goes wrong becomes a state of the slice with its reason; nothing is lost, and nothing loops."""
    try:
        with _acted_upon(row):
            yield
    except leases.LostLeaseError as lost:
        log.info("lease lost", reason=str(lost))


@contextmanager
def _acted_upon(row: Row[Any]) -> Iterator[None]:
    try:
        yield
    except leases.LostLeaseError:
        raise
    except HeldError as held:
        log.warning("held", reason=str(held))
        _let_go_for_good(row, State.HELD, str(held))
    except OutcomeError as error:
        log.info("outcome", outcome=error.outcome.value, reason=str(error))
        ACTS[error.outcome](row, error)
    except TidelockError as error:
        log.warning("not what the connector says", reason=str(error))
        _retry(row, str(error))
    except Exception as error:
        log.exception("unexpected")
        _retry(row, f"{type(error).__name__}: {error}")


def _retry(row: Row[Any], reason: str, at_least: float = 0.0) -> None:
    """Full jitter: a random wait below a bound that doubles with every failure."""
    with write() as connection:
        bound = min(LONGEST, BACKOFF * 2.0 ** leases.attempts(connection, row.id))
        wait = max(at_least, random.uniform(0, bound))  # noqa: S311 - spreads load, keeps no secret
        state = leases.retry(connection, row.id, row.fence, wait=wait, reason=reason, worker=row.worker)
        closed = state is State.DEAD and runs.slice_left(connection, row.run_id)
    _after(row, closed=closed)


def _after(row: Row[Any], *, closed: bool) -> None:
    if closed:
        with glance() as connection:
            waiting = [run.id for run in runs.ready_after(connection, row.run_id)]
        follow(waiting)


def _defer(row: Row[Any], error: OutcomeError) -> None:
    with write() as connection:
        leases.leave(
            connection,
            row.id,
            row.fence,
            State.DEFERRED,
            wait=error.wait or BACKOFF,
            reason=str(error),
            worker=row.worker,
        )


def _again(row: Row[Any], error: OutcomeError) -> None:
    _retry(row, str(error), error.wait or 0.0)


def _stop_stream(row: Row[Any], error: OutcomeError) -> None:
    _let_go_for_good(row, State.DEAD, str(error))


def _let_go_for_good(row: Row[Any], state: State, reason: str) -> None:
    """A person must decide before it goes on."""
    with write() as connection:
        leases.leave(connection, row.id, row.fence, state, reason=reason, worker=row.worker)
        closed = runs.slice_left(connection, row.run_id)
    _after(row, closed=closed)


def _stop_connection(row: Row[Any], error: OutcomeError) -> None:
    """Nothing of this connection is worth trying until somebody mends it: its work waits, with the reason."""
    with write() as connection:
        leases.leave(connection, row.id, row.fence, State.DEFERRED, reason=str(error), worker=row.worker)
        connections.set_state(connection, row.connection_id, "failing", str(error))


def _from_the_start(row: Row[Any], error: OutcomeError) -> None:
    """The list changed under the pass: read it again from its first page."""
    _rewind(row, error, since=row.ask.get("since"), full=row.full)


def _without_cursor(row: Row[Any], error: OutcomeError) -> None:
    """The vendor forgot our position: a full pass, after which what is gone is removed."""
    _rewind(row, error, since=None, full=True)


def _rewind(row: Row[Any], error: OutcomeError, *, since: Any, full: bool) -> None:
    if row.restarts >= MOST_RESTARTS:
        _let_go_for_good(row, State.DEAD, f"the pass was begun {row.restarts + 1} times and never ended: {error}")
        return
    with write() as connection:
        leases.rewind(connection, row.id, row.fence, {**row.ask, "since": since, "page": None}, full=full)
    _retry(row, str(error), error.wait or 0.0)


ACTS: Mapping[Outcome, Callable[[Row[Any], OutcomeError], None]] = {
    Outcome.RATE_LIMITED: _defer,
    Outcome.RETRY: _again,
    Outcome.PARTIAL: _again,
    Outcome.CONFLICT: _again,
    Outcome.AMBIGUOUS: _again,
    Outcome.SKIP_RECORD: _stop_stream,
    Outcome.GONE: _stop_stream,
    Outcome.FAIL_STREAM: _stop_stream,
    Outcome.REFRESH_AUTH: _stop_connection,
    Outcome.FAIL_CONNECTION: _stop_connection,
    Outcome.RESTART_PASS: _from_the_start,
    Outcome.RESET_CURSOR: _without_cursor,
}
