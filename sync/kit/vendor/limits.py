"""How often a credential may ask, and the many ways in which vendors say "too often"."""

import math
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import formatdate

from sync.kit.vendor.exchange import Answer, reply
from sync.kit.vendor.times import SECOND, STAMPS, Clock


@dataclass(frozen=True, kw_only=True)
class Limit:
    """`rate` requests in `window_s` for each credential, None = as many as it likes.

    `shape` is `bucket` (holding `burst`, default the rate) or `window` (fixed, from the first
    request on). `spelling` is a row of SPELLINGS. `concurrency` bounds requests under way.
    """

    rate: float | None = None
    window_s: float = 1.0
    burst: int | None = None
    shape: str = "bucket"
    spelling: str = "seconds"
    concurrency: int | None = None
    free_304: bool = False  # an answer "not modified" costs nothing, as at GitHub

    @property
    def capacity(self) -> float:
        """The most that can be asked at once."""
        return self.burst if self.burst is not None and self.shape == "bucket" else self.rate or math.inf


@dataclass(frozen=True, kw_only=True)
class Quota:
    """Where a credential stands after asking. `wait_s` is until it may ask again, or all is restored."""

    allowed: bool
    limit: int
    remaining: int
    wait_s: float


class Limiter:
    """Counts requests by credential. The limit can be exchanged while it counts."""

    def __init__(self, limit: Limit, clock: Clock) -> None:
        self.limit = limit
        self.peak = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._levels: dict[str, tuple[float, float]] = {}
        self._underway: Counter[str] = Counter()

    def change(self, limit: Limit) -> None:
        """Set another limit; every credential starts afresh."""
        with self._lock:
            self.limit = limit
            self._levels.clear()

    def take(self, credential: str) -> Quota | None:
        """Count one request; None when there is no limit."""
        if self.limit.rate is None:
            return None
        with self._lock:
            count = {"bucket": self._bucket, "window": self._window}[self.limit.shape]
            return count(credential, self._clock.elapsed_s())

    def give_back(self, credential: str) -> None:
        """Undo the counting of one request."""
        with self._lock:
            level, then = self._levels[credential]
            self._levels[credential] = (min(self.limit.capacity, level + 1), then)

    @contextmanager
    def underway(self, credential: str) -> Iterator[bool]:
        """Hold a place among the requests under way; yields whether there was one."""
        with self._lock:
            self._underway[credential] += 1
            count = self._underway[credential]
            self.peak = max(self.peak, count)
        try:
            yield self.limit.concurrency is None or count <= self.limit.concurrency
        finally:
            with self._lock:
                self._underway[credential] -= 1

    @property
    def open(self) -> int:
        """How many requests are under way."""
        with self._lock:
            return self._underway.total()

    def _bucket(self, credential: str, now: float) -> Quota:
        limit = self.limit
        speed = (limit.rate or 0) / limit.window_s
        level, then = self._levels.get(credential, (limit.capacity, now))
        level = min(limit.capacity, level + (now - then) * speed)
        allowed = level >= 1
        level -= allowed
        self._levels[credential] = (level, now)
        missing = limit.capacity - level if allowed else 1 - level
        return self._quota(level, missing / speed if speed else limit.window_s, allowed=allowed)

    def _window(self, credential: str, now: float) -> Quota:
        limit = self.limit
        left, opened = self._levels.get(credential, (limit.capacity, now))
        if now - opened >= limit.window_s:
            left, opened = limit.capacity, now
        allowed = left >= 1
        left -= allowed
        self._levels[credential] = (left, opened)
        return self._quota(left, opened + limit.window_s - now, allowed=allowed)

    def _quota(self, left: float, wait_s: float, *, allowed: bool) -> Quota:
        return Quota(allowed=allowed, limit=int(self.limit.capacity), remaining=int(left), wait_s=wait_s)


def headers(quota: Quota, clock: Clock) -> dict[str, str]:
    """The X-RateLimit headers of any answer."""
    return {
        "X-RateLimit-Limit": str(quota.limit),
        "X-RateLimit-Remaining": str(quota.remaining),
        "X-RateLimit-Reset": _epoch(quota.wait_s, clock),
    }


def too_often(spelling: str, wait_s: float, clock: Clock) -> Answer:
    """The answer to a request above the limit, as this spelling has it."""
    return SPELLINGS[spelling](max(wait_s, 0.001), clock)


# Those that say more in the common headers; the others say what they say in their own way only.
TELLING = {"seconds", "date", "reset", "secondary"}


def _reset_at(wait_s: float, clock: Clock) -> int:
    return clock.now() + round(wait_s * SECOND)


def _epoch(wait_s: float, clock: Clock) -> str:
    return str(math.ceil(_reset_at(wait_s, clock) / SECOND))


def _seconds(wait_s: float) -> str:
    return str(math.ceil(wait_s))


def _http_date(wait_s: float, clock: Clock) -> str:
    return formatdate(math.ceil(_reset_at(wait_s, clock) / SECOND), usegmt=True)


def _iso(wait_s: float, clock: Clock) -> str:
    return str(STAMPS["iso_seconds"](_reset_at(wait_s, clock) + SECOND))


ERROR = {"error": {"code": "rate_limited", "message": "too many requests"}}
SECONDARY = {"message": "You have exceeded a secondary rate limit. Please wait before you try again."}
THROTTLED = {"data": None, "errors": [{"message": "Throttled", "extensions": {"code": "THROTTLED"}}]}
RATELIMITED = {"errors": [{"message": "Rate limit exceeded", "extensions": {"code": "RATELIMITED"}}]}

# seconds, date: Retry-After; reset: GitHub's; reset_ms: Linear's; reset_iso: Jira's; secondary: GitHub's;
# body: Slack's older methods; graphql: Shopify's; bare: nothing is said.
SPELLINGS: dict[str, Callable[[float, Clock], Answer]] = {
    "seconds": lambda wait, clock: reply(ERROR, 429, Retry_After=_seconds(wait)),
    "date": lambda wait, clock: reply(ERROR, 429, Retry_After=_http_date(wait, clock)),
    "reset": lambda wait, clock: reply(ERROR, 429, X_RateLimit_Reset=_epoch(wait, clock)),
    "reset_ms": lambda wait, clock: reply(
        RATELIMITED, 400, X_RateLimit_Requests_Reset=str(math.ceil(_reset_at(wait, clock) / 1000))
    ),
    "reset_iso": lambda wait, clock: reply(ERROR, 429, X_RateLimit_Reset=_iso(wait, clock)),
    "secondary": lambda wait, clock: reply(SECONDARY, 403, Retry_After=_seconds(wait)),
    "body": lambda wait, clock: reply({"ok": False, "error": "ratelimited"}, 200, Retry_After=_seconds(wait)),
    "graphql": lambda wait, clock: reply(THROTTLED, 200),
    "bare": lambda wait, clock: reply(ERROR, 429),
}
