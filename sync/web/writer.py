"""The writer: puts deliveries into the inbox, all that came while the last commit ran in one transaction.

One thread, no timer: a request that comes alone is committed at once, and under load the batches grow by themselves.
Who put a delivery gets a future of what became of it, told after the commit: all futures of a batch by one call into
the event loop. Everything that is counted here is counted in the loop; the queue and the counters are what both share.
"""

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from enum import Enum
from queue import Empty, SimpleQueue
from typing import Any

import structlog
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError

from sync.log import Complaints
from sync.store import notices
from sync.store.arrivals import Arrival, store
from sync.store.database import engine
from sync.web.held import Held, Unreachable

log = structlog.get_logger()

MOST_ROWS = 5_000
MOST_BYTES = 32 * 1024 * 1024
BATCH_ROWS = 500
BATCH_BYTES = 8 * 1024 * 1024
PATIENCE = 10.0  # seconds after which a delivery is given up that is not committed
STUCK = 60.0  # seconds of one commit after which the writer counts as dead
FLUSH = 1.0  # seconds between two looks at what was counted
_COUNTERS = 1_000  # kinds of refusals between two flushes
_EACH = 400  # bytes of a delivery beside its headers and body, about
_LIMITS = "54"  # of PostgreSQL's program: a row is too big for its index
_DEADLOCK = "40P01"


class Outcome(Enum):
    STORED = 1
    BAD = 2  # this one can't be stored, whoever tries
    AWAY = 3  # it is not known to be stored: try again


class Waiting:
    """A delivery with the future of its outcome."""

    __slots__ = ("arrival", "at", "future", "size")

    def __init__(self, arrival: Arrival, future: asyncio.Future[Outcome], size: int, at: float) -> None:
        self.arrival, self.future, self.size, self.at = arrival, future, size, at


class Writer:
    """One a process and event loop; `stored` is told which connections have something new, after the answer."""

    def __init__(
        self,
        target: Callable[[], Engine] = engine,
        stored: Callable[[Collection[int]], None] = lambda _: None,
        *,
        rows: int = MOST_ROWS,
        size: int = MOST_BYTES,
        patience: float = PATIENCE,
        logger: Any = log,
    ) -> None:
        self._stored, self._log = stored, logger
        self._rows_left, self._bytes_left, self._patience = rows, size, patience
        self._held = Held(target)
        self._queue: deque[Waiting] = deque()
        self._unanswered: deque[Waiting] = deque()
        self._wake: SimpleQueue[None] = SimpleQueue()
        self._resting = self._stopping = False
        self._began: float | None = None
        self._counts: dict[tuple[int, str, str], tuple[int, str]] = {}
        self._counting = threading.Lock()
        self._flush_at = 0.0
        self._complaints = Complaints()
        self._thread = threading.Thread(target=self._run, name="writer", daemon=True)

    # in the event loop

    def start(self) -> None:
        """Begin, in the running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()
        self._watch = self._loop.call_later(1.0, self._give_up)

    async def stop(self, patience: float = 20.0) -> None:
        """Store what is queued and what was counted, and end. Nothing is taken from now on."""
        self._stopping = True
        self._rouse()
        await self._loop.run_in_executor(None, self._thread.join, patience)
        self._watch.cancel()
        for waiting in self._unanswered:
            if not waiting.future.done():
                waiting.future.set_result(Outcome.AWAY)

    @property
    def alive(self) -> bool:
        """Whether it still does anything: a commit that hangs for a minute is one that never ends."""
        began = self._began
        return self._thread.is_alive() and (began is None or time.monotonic() - began < STUCK)

    @property
    def full(self) -> bool:
        return self._rows_left <= 0 or self._bytes_left <= 0

    def put(self, arrival: Arrival) -> asyncio.Future[Outcome] | None:
        """What becomes of a delivery; None = there is no room for it."""
        size = len(arrival.body) + len(arrival.headers) + _EACH
        alone = not self._unanswered  # whatever its size, it has room by itself
        if self._rows_left <= 0 or (self._bytes_left < size and not alone):
            return None
        if self._stopping or not self._thread.is_alive():
            return None
        self._rows_left -= 1
        self._bytes_left -= size
        waiting = Waiting(arrival, self._loop.create_future(), size, self._loop.time())
        self._unanswered.append(waiting)
        self._queue.append(waiting)
        if self._resting:
            self._rouse()
        return waiting.future

    def _answer(self, batch: Sequence[Waiting], outcomes: Sequence[Outcome], fresh: Collection[int]) -> None:
        for waiting, outcome in zip(batch, outcomes, strict=True):
            self._rows_left += 1
            self._bytes_left += waiting.size
            if not waiting.future.done():
                waiting.future.set_result(outcome)
        while self._unanswered and self._unanswered[0].future.done():
            self._unanswered.popleft()
        if fresh:
            self._loop.call_soon(self._stored, fresh)  # behind the answers

    def _give_up(self) -> None:
        """Once a second: nobody waits for a database that hangs. What is committed after all is a repetition later."""
        self._watch = self._loop.call_later(1.0, self._give_up)
        late = self._loop.time() - self._patience
        for waiting in self._unanswered:
            if waiting.at > late:
                break
            if not waiting.future.done():
                waiting.future.set_result(Outcome.AWAY)

    # from anywhere

    def count(self, connection_id: int, kind: str, name: str, sample: str) -> None:
        """One more of this kind; it is in `notices` within about a second."""
        key = connection_id, kind, name
        with self._counting:
            first = not self._counts
            if key in self._counts or len(self._counts) < _COUNTERS:
                self._counts[key] = self._counts.get(key, (0, ""))[0] + 1, sample
        if first and self._resting:
            self._rouse()

    def _rouse(self) -> None:
        self._resting = False
        self._wake.put(None)

    # in the thread

    def _run(self) -> None:
        while True:
            if batch := self._batch():
                self._settle(batch)
            elif self._stopping:
                break
            else:
                self._rest()
            if self._counts and (self._stopping or time.monotonic() >= self._flush_at):
                self._flush()
        self._flush()
        self._held.close()

    def _batch(self) -> list[Waiting]:
        batch: list[Waiting] = []
        size = 0
        while self._queue and len(batch) < BATCH_ROWS and size < BATCH_BYTES:
            batch.append(self._queue.popleft())
            size += batch[-1].size
        return batch

    def _rest(self) -> None:
        """Until something is put, or it is time to look at the counters. What is put after the look at the queue sees
        that we rest."""
        self._resting = True
        if self._queue or self._stopping:
            return
        with suppress(Empty):
            self._wake.get(timeout=max(0.0, self._flush_at - time.monotonic()) if self._counts else None)
        self._resting = False

    def _settle(self, batch: list[Waiting]) -> None:
        """Those that were given up meanwhile are left out: they count as not stored."""
        live = [waiting.arrival for waiting in batch if not waiting.future.done()]
        self._began = time.monotonic()
        try:
            outcomes, fresh = self._committed(live) if live else ([], set())
        except Exception as error:  # noqa: BLE001 - the thread must live, or nothing is received any more
            self._wrong(error, trace=True)
            outcomes, fresh = [Outcome.AWAY] * len(live), set()
        self._began = None
        told = dict(zip((arrival.correlation for arrival in live), outcomes, strict=True))
        answers = [told.get(waiting.arrival.correlation, Outcome.AWAY) for waiting in batch]
        with suppress(RuntimeError):  # the loop has ended without us: nobody waits
            self._loop.call_soon_threadsafe(self._answer, batch, answers, fresh)

    def _committed(self, arrivals: Sequence[Arrival], *, again: bool = False) -> tuple[list[Outcome], set[int]]:
        """The outcomes, and the connections that have something new. A connection that was closed while it rested is
        opened again: what may have been committed all the same is only a repetition then."""
        rested = self._held.open
        try:
            with self._held.transaction() as connection:
                new = store(connection, arrivals)
        except Unreachable as error:
            return self._away(arrivals, error)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is one row's fault, or the database's
            if self._held.open and _own_fault(error):
                return self._one_by_one(arrivals)
            if not again and (_crossed(error) or (rested and not self._held.open)):
                return self._committed(arrivals, again=True)
            return self._away(arrivals, error)
        self._complaints.well(self._log, "inbox")
        return [Outcome.STORED] * len(arrivals), {one.connection_id for one in (arrivals if again else new)}

    def _one_by_one(self, arrivals: Sequence[Arrival]) -> tuple[list[Outcome], set[int]]:
        """One of them can't be stored: the others shall be, in one transaction still."""
        outcomes, fresh = [], set()
        try:
            with self._held.transaction() as connection:
                for arrival in arrivals:
                    error = _fault_of(connection, arrival)
                    outcomes.append(Outcome.BAD if error else Outcome.STORED)
                    fresh |= set() if error else {arrival.connection_id}
                    if error:
                        self._bad(arrival, error)
        except Exception as error:  # noqa: BLE001 - as above, and it was not a row's
            return self._away(arrivals, error)
        return outcomes, fresh

    def _away(self, arrivals: Sequence[Arrival], error: Exception) -> tuple[list[Outcome], set[int]]:
        self._wrong(error)
        return [Outcome.AWAY] * len(arrivals), set()

    def _wrong(self, error: Exception, *, trace: bool = False) -> None:
        self._complaints.wrong(self._log, "inbox", _said(error), trace=trace)

    def _bad(self, arrival: Arrival, error: Exception) -> None:
        reason = _said(error)
        self._log.error(
            "delivery can't be stored", connection=arrival.connection_id, delivery=arrival.delivery, reason=reason
        )
        self.count(arrival.connection_id, notices.REFUSED, "it can't be stored", reason)

    def _flush(self) -> None:
        """Store what was counted; what can't be stays for the next time."""
        self._flush_at = time.monotonic() + FLUSH
        with self._counting:
            counts, self._counts = self._counts, {}
        if not counts:
            return
        try:
            with self._held.transaction() as connection:
                rows = [notices.Count(*key, number, sample) for key, (number, sample) in counts.items()]
                notices.count(connection, rows)
        except Exception as error:  # noqa: BLE001 - counters never stop deliveries
            self._complaints.wrong(self._log, "notices", _said(error))
            self._put_back(counts)

    def _put_back(self, counts: dict[tuple[int, str, str], tuple[int, str]]) -> None:
        with self._counting:
            for key, (number, sample) in counts.items():
                later, last = self._counts.get(key, (0, sample))
                self._counts[key] = number + later, last


def _fault_of(connection: Connection, arrival: Arrival) -> Exception | None:
    """Why just this one can't be stored; None = it is."""
    try:
        with connection.begin_nested():
            store(connection, [arrival])
    except Exception as error:
        if not _own_fault(error):
            raise
        return error
    return None


def _own_fault(error: Exception) -> bool:
    """Whether a row is to blame: it is refused, or not even made. All else is the database's."""
    if not isinstance(error, DBAPIError) or isinstance(error, DataError | IntegrityError):
        return True
    return _state(error).startswith(_LIMITS)


def _crossed(error: Exception) -> bool:
    """Whether another process waited for what we held, and the other way round: the next time nobody does."""
    return isinstance(error, DBAPIError) and _state(error) == _DEADLOCK


def _state(error: DBAPIError) -> str:
    return str(getattr(error.orig, "sqlstate", None) or "")


def _said(error: Exception) -> str:
    """The first line of the driver's words: those behind it may quote the row."""
    lines = str(getattr(error, "orig", None) or error).splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"
