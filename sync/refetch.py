"""Refetches: the present state of records, asked for beside each other within the limits of the connection.

Whoever wants a record joins those who wait for it, as long as it was not asked for: what the vendor says then is news
to all of them. One who comes later waits for the next time.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Row

from connectors import Connector, ContractError, Outcome, Stream
from connectors._pulls import GetFunction
from sync.door import Account, OutcomeError
from sync.doors import Api, door
from sync.effects import Key

CHUNK = 100  # answers that land together
LULL = 1.0  # seconds for which what is gone is kept back at most, while there is more to come
GATHER = 0.1  # seconds for which answers are gathered at most, while others are under way
AHEAD = 4  # requests for each thread that stand ready, so that none waits while answers are stored


@dataclass(slots=True)
class Want:
    """A record to be asked for, and the deliveries that want it. tries: how often it was asked for in vain."""

    record: Key
    units: set[int] = field(default_factory=set)
    tries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the vendor said of a record.

    row       raw; None = it is gone, or there was no answer
    as_of     the vendor's clock; asked_at the database's when it was asked
    requests  how many that took
    error     why there is no answer; wait: seconds until there may be one, where it was not asked for
    """

    want: Want
    row: Any = None
    as_of: int = 0
    asked_at: datetime | None = None
    requests: int = 0
    error: Exception | None = None
    wait: float | None = None

    @property
    def is_gone(self) -> bool:
        return self.row is None and self.error is None


class Refetches:
    """All that one drain asks of a vendor."""

    def __init__(
        self, account: Row[Any], connector: Connector, streams: Mapping[str, Stream], clock: Callable[[], datetime]
    ) -> None:
        self._account, self._connector, self._streams, self._clock = account, connector, streams, clock
        self._parallel = max(1, account.parallel)
        self._threads = ThreadPoolExecutor(self._parallel, thread_name_prefix="refetch")
        self._own = threading.local()
        self._waiting: dict[Key, Want] = {}
        self._flying: dict[Future[Said], Want] = {}
        self._refused: list[Said] = []
        self._gone: list[Said] = []
        self._gone_since = 0.0
        self._latest = 0  # the vendor's clock at the last answer that told it
        self._blocked: dict[str | None, tuple[float, OutcomeError]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """What nobody waits for any more is not begun; what is under way ends by itself."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def want(self, record: Key, units: Iterable[int], tries: int = 0) -> None:
        """Ask for a record, on behalf of these deliveries."""
        want = self._waiting.setdefault(record, Want(record))
        want.units.update(units)
        want.tries = max(want.tries, tries)
        for limit, (until, error) in self._blocked.items():
            if until > time.monotonic():
                self._turn_away(error, limit, until)

    @property
    def idle(self) -> bool:
        """Nothing is wanted, and nothing is on its way."""
        return not (self._waiting or self._flying or self._refused or self._gone)

    def said(self, patience: float) -> list[Said]:
        """What the vendor has said by now; waits so many seconds for the first of it, and gathers what soon follows."""
        found, self._refused = self._refused, []
        until = time.monotonic() + (0.0 if found else patience)
        while len(found) < CHUNK:
            self._send()
            answers = self._landed(max(0.0, until - time.monotonic()))
            if not answers:
                break
            until = until if found else time.monotonic() + GATHER
            found += answers
        return self._together(found)

    def _together(self, said: list[Said]) -> list[Said]:
        """What is gone is told at once, when nothing is under way any more, or soon: whether it is too much of it shows
        only then."""
        found = [one for one in said if not one.is_gone]
        gone = [one for one in said if one.is_gone]
        if gone and not self._gone:
            self._gone_since = time.monotonic()
        self._gone += gone
        if (self._flying or self._waiting) and time.monotonic() < self._gone_since + LULL:
            return found
        gone, self._gone = self._gone, []
        return found + gone

    def rest(self) -> list[Said]:
        """Begin nothing any more, and wait for what is under way."""
        self._waiting.clear()
        for future in [future for future in self._flying if future.cancel()]:
            del self._flying[future]
        found: list[Said] = []
        while self._flying:
            found += self._landed(None)
        return [*self._refused, *self._gone, *found]

    def refuse(self, error: OutcomeError, limit: str | None, wait: float) -> None:
        """For so many seconds nothing that counts against this limit (None = nothing at all) is asked for: the answer
        would be the same."""
        until = time.monotonic() + wait
        self._blocked[limit] = (until, error)
        self._turn_away(error, limit, until)

    def _turn_away(self, error: OutcomeError, limit: str | None, until: float) -> None:
        those = [want for (stream, _), want in self._waiting.items() if limit in (None, self._streams[stream].limit)]
        for want in those:
            del self._waiting[want.record]
            self._refused.append(Said(want=want, error=error, wait=max(0.0, until - time.monotonic())))

    def _send(self) -> None:
        """A record is asked for once at a time: the later answer must not land before the earlier one."""
        aloft = {want.record for want in [*self._flying.values(), *(one.want for one in self._gone)]}
        for want in [want for record, want in self._waiting.items() if record not in aloft]:
            if len(self._flying) >= self._parallel * AHEAD:
                return
            del self._waiting[want.record]
            self._flying[self._threads.submit(self._ask, want)] = want

    def _landed(self, patience: float | None) -> list[Said]:
        if not self._flying:
            return []
        done, _ = wait(self._flying, timeout=patience, return_when=FIRST_COMPLETED)
        for future in done:
            del self._flying[future]
        return [future.result() for future in done]

    # in threads

    def _ask(self, want: Want) -> Said:
        stream = self._streams[want.record[0]]
        said = Said(want=want, asked_at=self._clock())
        before, api = 0, None
        try:
            api = self._door(stream)
            before = api.requests
            said = replace(said, row=_get(stream)(api, stream, want.record[1]), as_of=api.as_of or 0)
            self._latest = max(self._latest, said.as_of)
        except OutcomeError as error:
            gone = error.outcome is Outcome.GONE
            said = replace(said, error=None if gone else error, as_of=self._latest)
        except Exception as error:  # noqa: BLE001 - a connector may raise anything
            said = replace(said, error=error)
        return replace(said, requests=api.requests - before if api else 0)

    def _door(self, stream: Stream) -> Api:
        """This thread's own, for a door serves one thread, and counts against one limit."""
        doors: dict[str, Api] = self._own.__dict__
        if stream.name not in doors:
            doors[stream.name] = door(self._account.connector, self._connector, self._caller(stream))
        return doors[stream.name]

    def _caller(self, stream: Stream) -> Account:
        return Account(
            connection_id=self._account.id,
            connection=self._account.name,
            config=self._account.config,
            credential_id=self._account.credential_id,
            lane="interactive",
            stream=stream.name,
            limit=stream.limit,
        )


def _get(stream: Stream) -> GetFunction:
    if stream.get is None:
        raise ContractError(f"stream {stream.name!r} must say how one record is fetched: get=...")
    return stream.get
