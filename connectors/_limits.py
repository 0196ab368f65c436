"""Limits: how often a vendor may be asked, as data.

A connector writes `limits={"default": "100/second", "search": (FixedWindow(30, 60), Concurrency(1))}`; of
several limits under a name all must grant. Two limits of equal numbers and equal scope are one: "100/second"
under "default" and again under "search" is counted together. Where the vendor counts them apart, give one a
scope of its own, such as "{credential}:search".
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from string import Formatter
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from connectors._durations import seconds
from connectors._errors import ContractError

WaitFormat = Literal["seconds", "delta_s", "epoch_s", "epoch_ms", "iso", "http_date", "guess"]
Unit = Literal["cost", "call"]

DAY = 86_400
BURST_SHARE = 0.2  # of the quota: what a limit's lost memory may cost, see TokenBucket
_RATE = re.compile(r"\s*([\d,_]*\d)\s*/\s*(.+?)\s*")
_PERIODS = ((DAY, "day"), (3600, "hour"), (60, "minute"), (1, "second"))


@dataclass(frozen=True, kw_only=True)
class Headers:
    """Where an answer says how much of a limit is left; names in any case.

    remaining    calls (or points) left, a number
    usage        the form "used/limit" instead, alone or after "name=": "32/40", "api-usage=18/5000"
    reset        when the limit is whole again, as `format` says
    limit        the vendor's own size of the limit; smaller than declared, it lowers the limit
    """

    remaining: str | None = "x-ratelimit-remaining"
    usage: str | None = None
    reset: str | None = "x-ratelimit-reset"
    limit: str | None = None
    format: WaitFormat = "epoch_s"

    def __post_init__(self) -> None:
        _demand(self.format in _WAITS, f"format {self.format!r} is not one of {', '.join(_WAITS)}")


@dataclass(frozen=True, kw_only=True)
class Limit:
    """What every limit says.

    scope     who shares it: text with `{names}` of the call: "{connection}", "{app}", "{credential}:{stream}"
    share     the part that is ours, 0 to 1, where others use the same key
    unit      what a call counts for: "cost" = the cost given with the call (usually 1), "call" = always 1
    feedback  where the answer's headers say what is left
    """

    scope: str = "{credential}"
    share: float = 1.0
    unit: Unit = "cost"
    feedback: Headers | None = None

    def __post_init__(self) -> None:
        _demand(0 < self.share <= 1, f"share {self.share!r} must be above 0 and at most 1")
        _demand(self.unit in {"cost", "call"}, f'unit {self.unit!r} must be "cost" or "call"')
        _demand(_plain(self.scope), f'scope {self.scope!r} must be text with plain {{names}}, as "{{credential}}"')

    def __str__(self) -> str:
        return _shared(self, type(self).__name__)


@dataclass(frozen=True)
class TokenBucket(Limit):
    """`limit` calls per `per_seconds`, refilled evenly, at most `burst` at once.

    Any stretch of t seconds sees at most `burst + t * limit / per_seconds` calls. `burst` 0 means the largest
    that is safe, a fifth of the quota and at least 1: a limiter that lost its memory starts with it full.
    For a vendor that counts strictly in any window of its own, declare a share of 0.8, or FixedWindow.
    """

    limit: float
    per_seconds: float = 1
    burst: float = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        _demand(self.limit > 0 and self.per_seconds > 0, "limit and per_seconds must be above 0")
        _demand(self.burst == 0 or self.burst >= 1, "burst must be at least 1 (or 0: a fifth of the quota)")
        if not self.burst:
            object.__setattr__(self, "burst", max(1, math.floor(self.limit * BURST_SHARE)))

    def __str__(self) -> str:
        return _shared(self, f"{self.limit:.10g}/{_period(self.per_seconds)}")


@dataclass(frozen=True)
class FixedWindow(Limit):
    """`limit` calls in a window that the vendor then resets.

    A window of a day ends at midnight in `zone`; any other opens with its first call and lasts
    `window_seconds`, or until the vendor's reset, whichever is later.
    """

    limit: int
    window_seconds: float
    zone: str = "UTC"

    def __post_init__(self) -> None:
        super().__post_init__()
        _demand(self.limit >= 1 and self.window_seconds > 0, "limit must be at least 1, window_seconds above 0")
        _demand(
            self.zone == "UTC" or self.window_seconds == DAY,
            "a zone needs a window of a day: window_seconds=86400",
        )
        _demand(_known(self.zone), f"zone {self.zone!r} is not a time zone such as 'Europe/Berlin'")

    def __str__(self) -> str:
        return _shared(self, f"{self.limit} in each {_period(self.window_seconds)}")


@dataclass(frozen=True)
class Concurrency(Limit):
    """`maximum` calls in flight. A call that never ends its grant gives it back after `lease_seconds`.

    lease_seconds must be longer than a call's total deadline, or a slow call is forgotten while it runs.
    No answer tells of calls in flight, so it has no feedback.
    """

    maximum: int
    lease_seconds: float = 120

    def __post_init__(self) -> None:
        super().__post_init__()
        _demand(self.maximum >= 1 and self.lease_seconds > 0, "maximum must be at least 1, lease_seconds above 0")
        _demand(self.feedback is None, "no header tells of calls in flight: leave out feedback")

    def __str__(self) -> str:
        return _shared(self, f"{self.maximum} at once")


@dataclass(frozen=True)
class MinInterval(Limit):
    """`seconds` between one call and the next."""

    seconds: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _demand(self.seconds > 0, "seconds must be above 0")

    def __str__(self) -> str:
        return _shared(self, f"one each {_period(self.seconds)}")


@dataclass(frozen=True)
class Cost(Limit):
    """A bucket of points whose size, refill and level the answer tells; the first four are paths in its body.

    available       the points left: "extensions.cost.throttleStatus.currentlyAvailable"
    restore_rate    points that come back per second
    maximum         points that the bucket holds
    used            points that this call took; what was expected above it is given back

    expected      points that a call takes at least, charged before it
    per_second    the refill until the vendor has told it
    burst         the size until the vendor has told it; what a limiter that lost its memory may spend
    """

    available: str
    restore_rate: str | None = None
    maximum: str | None = None
    used: str | None = None
    _: KW_ONLY
    expected: int = 1
    per_second: float
    burst: float

    def __post_init__(self) -> None:
        super().__post_init__()
        _demand(self.expected >= 1, "expected must be at least 1 point")
        _demand(self.per_second > 0 and self.burst >= 1, "per_second must be above 0, burst at least 1")

    def __str__(self) -> str:
        return _shared(self, f"points of {self.available}")


def limit(
    text: str,
    *,
    burst: float = 0,
    scope: str = "{credential}",
    share: float = 1.0,
    unit: Unit = "cost",
    feedback: Headers | None = None,
) -> TokenBucket:
    """The limit in a text: "100/second", "5,000/hour", "100/10 seconds"."""
    match = _RATE.fullmatch(text)
    if match is None:
        raise ContractError(f'{text!r} is not a limit such as "100/second", "5,000/hour" or "100/10 seconds"')
    count = int(re.sub("[,_]", "", match[1]))
    return TokenBucket(count, seconds(match[2]), burst, scope=scope, share=share, unit=unit, feedback=feedback)


def scoped(scope: str, names: Mapping[str, str], spelling: str = "{0}={1}") -> str:
    """The scope with its names filled in as `spelling` says ("credential=7"), else ContractError."""
    try:
        return "".join(
            literal + (spelling.format(name, names[name]) if name else "")
            for literal, name, _, _ in Formatter().parse(scope)
        )
    except KeyError as missing:
        raise ContractError(
            f"the limit's scope {scope!r} needs {missing}; this call has only {', '.join(names)}"
        ) from None


def parse_wait(value: object, format: WaitFormat, now: float) -> float | None:  # noqa: A002  # as declared
    """Seconds from `now` (epoch seconds) to the moment that a header states: 0 if past, None if unreadable.

    Uncapped: a vendor may state a year. "guess" is for vendors that mix them: up to a year is seconds, larger
    is an epoch in seconds, larger still in milliseconds, else a date.
    """
    text = str(value).strip()
    if len(text) > 64:
        return None
    try:
        wait = _WAITS[format](text, now)
    except (ValueError, TypeError, OverflowError, IndexError):  # all that the date parsers raise on garbage
        return None
    return max(0.0, wait) if math.isfinite(wait) else None


def _guess(text: str, now: float) -> float:
    try:
        number = float(text)
    except ValueError:
        return _iso(text, now) if "-" in text[:5] else _http_date(text, now)
    if abs(number) <= 366 * DAY:
        return number
    return number - now if number < 1e11 else number / 1000 - now


def _iso(text: str, now: float) -> float:
    return _utc(datetime.fromisoformat(text)) - now


def _http_date(text: str, now: float) -> float:
    return _utc(parsedate_to_datetime(text)) - now


def _utc(moment: datetime) -> float:
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


_WAITS: Mapping[str, Callable[[str, float], float]] = {
    "seconds": lambda text, _: float(text),
    "delta_s": lambda text, _: float(text),
    "epoch_s": lambda text, now: float(text) - now,
    "epoch_ms": lambda text, now: float(text) / 1000 - now,
    "iso": _iso,
    "http_date": _http_date,
    "guess": _guess,
}


def _demand(holds: bool, sentence: str) -> None:  # noqa: FBT001  # reads as an assertion
    if not holds:
        raise ContractError(sentence)


def _plain(scope: str) -> bool:
    try:
        return all(
            name is None or (name.isidentifier() and not spec and not conversion)
            for _, name, spec, conversion in Formatter().parse(scope)
        )
    except ValueError:
        return False


def _known(zone: str) -> bool:
    try:
        return bool(ZoneInfo(zone))
    except (ZoneInfoNotFoundError, ValueError):  # ValueError: not even a name
        return False


def _shared(one: Limit, words: str) -> str:
    return words if one.share == 1 else f"{one.share:.0%} of {words}"


def _period(length: float) -> str:
    """A length of time in words: "minute", "10 seconds"."""
    for size, word in _PERIODS:
        if length >= size and length % size == 0:
            return word if length == size else f"{length / size:.0f} {word}s"
    return f"{length:g} seconds"
