"""The vendor's post: every edit is delivered to whoever subscribed, signed as Standard Webhooks have it.

The body is {"type": "customer.updated", "timestamp": when it was edited, "data": the row as it was then}. Its
`webhook-id` is the same on every repetition; `webhook-timestamp` is that of the attempt; `webhook-signature` is "v1,"
and the HMAC-SHA256 of "<id>.<timestamp>.<body>" in base64.
"""

import hashlib
import heapq
import hmac
import http.client
import random
import threading
import time
from base64 import b64encode
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import urlsplit

from sync.kit.vendor.hooks import Hook, Hooks
from sync.kit.vendor.times import STAMPS, Clock

_stamp = STAMPS["iso"]


@dataclass(frozen=True, kw_only=True)
class Posting:
    """How deliveries fare. Shares are of 1, and repeatable by the vendor's seed.

    duplicates     share that is sent twice
    dropped        share that is never sent
    spread_s       each comes up to so many seconds later, by chance: that shuffles them
    late, late_s   share that comes so many seconds later
    retries        how often a delivery that wasn't answered with a 2xx is sent again, after `retry_s`, twice that, ...
    disable_after  failures in a row after which a subscription is disabled; 0 = never
    expires_s      how long a subscription lives unless it is renewed; None = for ever
    parallel       how many are on their way at once
    """

    duplicates: float = 0.0
    dropped: float = 0.0
    spread_s: float = 0.0
    late: float = 0.0
    late_s: float = 1.0
    retries: int = 5
    retry_s: float = 0.2
    timeout_s: float = 10.0
    disable_after: int = 0
    expires_s: float | None = None
    parallel: int = 4


@dataclass(order=True)
class Letter:
    """One delivery on its way; `due` on the monotonic clock."""

    due: float
    number: int
    hook: Hook = field(compare=False)
    id: str = field(compare=False)
    kind: str = field(compare=False)
    body: bytes = field(compare=False)
    attempt: int = field(default=0, compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """One attempt and its answer; `status` 0: there was none."""

    number: int
    time: float
    id: str
    kind: str
    hook: str
    attempt: int
    status: int


class Postman:
    """Delivers from threads of its own, which start with the first letter and end with `close`."""

    def __init__(self, posting: Posting, clock: Clock, seed: int = 0) -> None:
        self.hooks = Hooks(clock, posting.expires_s)
        self.counts: Counter[str] = Counter()
        self._posting = posting
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
        self._changed = threading.Condition()
        self._letters: list[Letter] = []
        self._underway = 0
        self._numbers = 0
        self._log: deque[Sent] = deque(maxlen=50_000)
        self._threads: list[threading.Thread] = []
        self._closed = False

    def change(self, posting: Posting) -> None:
        """Other weather, for what is told from now on."""
        self._posting = posting
        self.hooks.expires_s = posting.expires_s

    def tell(self, account: str, kind: str, row: bytes, at: int) -> None:
        """An event happened; it goes out by and by."""
        for hook in self.hooks.wanting(account, kind):
            body = b'{"type":"%b","timestamp":"%b","data":%b}' % (kind.encode(), str(_stamp(at)).encode(), row)
            self._post(hook, kind, body)

    def settle(self, seconds: float = 30.0) -> bool:
        """Wait until nothing is on its way; whether that came about."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._letters and not self._underway, seconds)

    def sent(self, number: int = 0) -> list[Sent]:
        """The attempts after a number, oldest first."""
        with self._changed:
            return [one for one in self._log if one.number > number]

    def stats(self) -> dict[str, Any]:
        """Counts since the start, and what is on its way."""
        with self._changed:
            return {**self.counts, "waiting": len(self._letters) + self._underway}

    def dump(self, number: int = 0) -> dict[str, Any]:
        """All that there is to know, as JSON."""
        return {"entries": [asdict(one) for one in self.sent(number)], "stats": self.stats()}

    def close(self) -> None:
        """Deliver no more, until somebody subscribes and something happens again."""
        with self._changed:
            self._closed = True
            self._letters.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()
        self._threads, self._closed = [], False

    def _post(self, hook: Hook, kind: str, body: bytes) -> None:
        posting, chance = self._posting, self._random.random
        with self._changed:
            self.counts["told"] += 1
            id = f"msg_{self.counts['told']:08d}"
            if chance() < posting.dropped:
                self.counts["dropped"] += 1
                return
            for _ in range(2 if chance() < posting.duplicates else 1):
                late = posting.late_s if chance() < posting.late else 0.0
                due = time.monotonic() + chance() * posting.spread_s + late
                heapq.heappush(self._letters, Letter(due, self._number(), hook, id, kind, body))
            self._man()
            self._changed.notify_all()

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _man(self) -> None:
        while len(self._threads) < self._posting.parallel:
            self._threads.append(threading.Thread(target=self._work, name="postman", daemon=True))
            self._threads[-1].start()

    def _work(self) -> None:
        lines: dict[str, http.client.HTTPConnection] = {}
        while (letter := self._next()) is not None:
            status = _delivered(lines, letter, self._posting.timeout_s)
            with self._changed:
                self._underway -= 1
                self._note(letter, status)
                self._changed.notify_all()
        for line in lines.values():
            line.close()

    def _next(self) -> Letter | None:
        with self._changed:
            while not self._closed:
                wait = self._letters[0].due - time.monotonic() if self._letters else None
                if wait is not None and wait <= 0:
                    self._underway += 1
                    return heapq.heappop(self._letters)
                self._changed.wait(wait)
            return None

    def _note(self, letter: Letter, status: int) -> None:
        hook, delivered = letter.hook, 200 <= status < 300
        self.counts["attempts"] += 1
        self._log.append(Sent(number=self.counts["attempts"], time=time.time(), id=letter.id, kind=letter.kind,
                              hook=hook.id, attempt=letter.attempt, status=status))  # fmt: skip
        self.counts["delivered" if delivered else "failed"] += 1
        hook.failures = 0 if delivered else hook.failures + 1
        if self._posting.disable_after and hook.failures >= self._posting.disable_after:
            hook.enabled, hook.reason = False, f"{hook.failures} deliveries in a row failed"
        if not delivered and hook.enabled and letter.attempt < self._posting.retries and not self._closed:
            wait = self._posting.retry_s * 2**letter.attempt
            again = Letter(time.monotonic() + wait, self._number(), hook, letter.id, letter.kind, letter.body,
                           letter.attempt + 1)  # fmt: skip
            heapq.heappush(self._letters, again)


def headers(letter: Letter, clock: Callable[[], float] = time.time) -> dict[str, str]:
    """What proves where a letter comes from. By the real clock: the receiver has no other, whatever the vendor's is."""
    moment = str(int(clock()))
    signed = b".".join((letter.id.encode(), moment.encode(), letter.body))
    signature = b64encode(hmac.new(letter.hook.key, signed, hashlib.sha256).digest()).decode()
    proof = {"webhook-id": letter.id, "webhook-timestamp": moment, "webhook-signature": f"v1,{signature}"}
    return {**proof, "Content-Type": "application/json", "User-Agent": "demo-vendor-webhooks"}


def _delivered(lines: dict[str, http.client.HTTPConnection], letter: Letter, seconds: float) -> int:
    """The status that it was answered with; 0 for none."""
    parts = urlsplit(letter.hook.url)
    kept = lines.pop(parts.netloc, None)
    line = kept or _LINES[parts.scheme](parts.netloc, timeout=seconds)
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        line.request("POST", target or "/", letter.body, headers(letter))
        answer = line.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        line.close()
        return 0 if kept is None else _delivered(lines, letter, seconds)  # it had been hung up since
    if answer.will_close:
        line.close()
    else:
        lines[parts.netloc] = line
    return answer.status


_LINES = {"http": http.client.HTTPConnection, "https": http.client.HTTPSConnection}
