"""A limit in the terms of the scripts: the key of its state, and its numbers."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from connectors import Concurrency, Cost, FixedWindow, Limit, MinInterval, TokenBucket
from connectors._limits import DAY, scoped


class Terms(NamedTuple):
    """See common.lua: kind is "bucket", "window" or "lease"; the others mean what the kind says.

    identity tells limits of one scope apart: the quota, but not our share of it.
    """

    identity: str
    kind: str
    size: float
    speed: float
    zone: str = ""
    heard: str = ""


def _bucket(limit: TokenBucket) -> Terms:
    rate = limit.limit * limit.share / limit.per_seconds
    return Terms(f"bucket:{limit.limit:g}:{limit.per_seconds:g}", "bucket", max(1, limit.burst * limit.share), rate)


def _interval(limit: MinInterval) -> Terms:
    return Terms(f"interval:{limit.seconds:g}", "bucket", 1, limit.share / limit.seconds)


def _cost(limit: Cost) -> Terms:
    return Terms(
        f"cost:{limit.available}",
        "bucket",
        max(1, limit.burst * limit.share),
        limit.per_second * limit.share,
    )


def _window(limit: FixedWindow) -> Terms:
    zone = limit.zone if limit.window_seconds == DAY else ""
    identity = f"window:{limit.limit}:{limit.window_seconds:g}:{zone}"
    return Terms(
        identity,
        "window",
        limit.limit * limit.share,
        limit.window_seconds * 1e6,
        zone,
        "1" if limit.feedback else "",
    )


def _lease(limit: Concurrency) -> Terms:
    return Terms(f"lease:{limit.maximum}", "lease", limit.maximum * limit.share, limit.lease_seconds * 1e6)


_TERMS: Mapping[type[Limit], Callable[[Any], Terms]] = {
    TokenBucket: _bucket,
    MinInterval: _interval,
    Cost: _cost,
    FixedWindow: _window,
    Concurrency: _lease,
}


@lru_cache(maxsize=4096)
def terms(limit: Limit) -> Terms:
    """The limit's terms; limits are few and asked for with every call."""
    return _TERMS[type(limit)](limit)


@lru_cache(maxsize=16_384)
def key(limit: Limit, names: tuple[tuple[str, str], ...]) -> str:
    """The key of the limit's state, below the prefix."""
    unit = "" if limit.unit == "cost" else ":calls"
    return f"{terms(limit).identity}{unit}:{scoped(limit.scope, dict(names))}"


def units(limit: Limit, cost: int, calls: int = 1) -> int:
    """What so many calls of that cost count for."""
    if limit.unit == "call":
        return calls
    return max(cost, limit.expected if isinstance(limit, Cost) else 1) * calls


def arguments(limit: Limit, count: int, now: float) -> tuple[str | float, ...]:
    """The limit's six values in the scripts' arguments; `now` need only be right to a day."""
    _, kind, size, speed, zone, heard = terms(limit)
    today = datetime.fromtimestamp(now, UTC).date()
    return kind, count, size, speed, _midnights(zone, today) if zone else "", heard


@lru_cache(maxsize=64)
def _midnights(zone: str, today: date) -> str:
    """The midnights about a day, in microseconds: Redis looks up its own time among them."""
    days = (today + timedelta(days=n) for n in range(-2, 4))
    moments = (datetime.combine(day, time.min, ZoneInfo(zone)) for day in days)
    return ",".join(f"{moment.timestamp() * 1e6:.0f}" for moment in moments)
