"""What an answer says of a limit."""

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from connectors import Concurrency, Cost, FixedWindow, Headers, Limit, MinInterval, TokenBucket
from connectors._limits import parse_wait
from sync.limiter.terms import units

Lookup = Callable[[str], object]  # a dotted path in an answer's body -> its value, None if absent
_USAGE = re.compile(r"(\d+)\s*/\s*(\d+)")


class Said(NamedTuple):
    """The six values of lower.lua; None where nothing was said."""

    remaining: float | None = None
    reset: float | None = None
    told: float | None = None
    rate: float | None = None
    burst: float | None = None
    refund: float | None = None

    def arguments(self) -> tuple[float | str, ...]:
        return tuple("" if value is None else value for value in self)


SILENT = Said()


def said(limit: Limit, headers: Mapping[str, str], lookup: Lookup | None, now: float, cost: int) -> Said:
    """What the answer says of the limit; SILENT also where it can't change anything."""
    if isinstance(limit, Concurrency):
        return SILENT
    heard = _headers(limit, headers, now)
    return _body(limit, lookup, heard, cost) if isinstance(limit, Cost) and lookup else heard


def _headers(limit: Limit, headers: Mapping[str, str], now: float) -> Said:
    feedback: Headers | None = getattr(limit, "feedback", None)
    if feedback is None:
        return SILENT
    remaining, size = _left(feedback, headers)
    if (remaining is None and size is None) or _plenty(limit, remaining, size):
        return SILENT
    wait = parse_wait(_header(headers, feedback.reset), feedback.format, now)
    reset = None if wait is None else min(wait, _period(limit)) * 1e6
    return Said(remaining, reset, _part(limit, size))


def _body(limit: Cost, lookup: Lookup, heard: Said, cost: int) -> Said:
    available = _number(lookup(limit.available))
    rate, burst, used = (
        _number(lookup(path)) if path else None for path in (limit.restore_rate, limit.maximum, limit.used)
    )
    return Said(
        remaining=heard.remaining if available is None else available,
        reset=heard.reset,
        rate=rate * limit.share if rate else None,
        burst=max(1, burst * limit.share) if burst else None,
        refund=None if used is None else max(0, units(limit, cost) - used),
    )


def _left(feedback: Headers, headers: Mapping[str, str]) -> tuple[float | None, float | None]:
    """How much is left, and of how much."""
    usage = _USAGE.search(_header(headers, feedback.usage) or "")
    if usage:
        return max(0.0, float(usage[2]) - float(usage[1])), float(usage[2])
    return _number(_header(headers, feedback.remaining)), _number(_header(headers, feedback.limit))


def _plenty(limit: Limit, remaining: float | None, size: float | None) -> bool:
    """More left than a bucket can hold says nothing new; not to send it spares the way to Redis."""
    return isinstance(limit, TokenBucket) and size is None and remaining is not None and remaining >= limit.burst


def _part(limit: Limit, size: float | None) -> float | None:
    """The part of the declared size that the vendor grants; a vendor that grants more changes nothing."""
    if not size or not isinstance(limit, TokenBucket | FixedWindow):
        return None
    return min(1.0, size / limit.limit)


def _period(limit: Limit) -> float:
    """The longest that a limit of its kind can take to be whole again; a reset beyond it is a misreading."""
    match limit:
        case TokenBucket():
            return max(1.0, limit.per_seconds)
        case FixedWindow():
            return limit.window_seconds
        case MinInterval():
            return max(1.0, limit.seconds)
    return 3600.0


def _header(headers: Mapping[str, str], name: str | None) -> str | None:
    if name is None or name in headers:
        return headers.get(name) if name else None
    return next((value for key, value in headers.items() if key.lower() == name.lower()), None)


def _number(value: object) -> float | None:
    """A number that is none or negative says nothing, or nothing left."""
    if not isinstance(value, int | float | str) or isinstance(value, bool):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return max(0.0, number) if math.isfinite(number) else None
