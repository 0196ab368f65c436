"""The vendor's clock and the ways in which vendors spell a moment.

Inside the simulator a moment is an integer: microseconds since 1970 in UTC.
"""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from email.utils import formatdate
from zoneinfo import ZoneInfo

SECOND = 1_000_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Clock:
    """The vendor's time: the real one, shifted, or stopped where a test wants it."""

    def __init__(self, *, offset_s: float = 0.0, at: int | None = None) -> None:
        self._lock = threading.Lock()
        self._offset = round(offset_s * SECOND)
        self._stopped = at
        self._skipped_s = 0.0

    def now(self) -> int:
        """Microseconds since 1970 as this vendor believes them to be."""
        with self._lock:
            return self._stopped if self._stopped is not None else time.time_ns() // 1000 + self._offset

    def elapsed_s(self) -> float:
        """Seconds that never run backwards, for limits: real time plus what `advance` skipped."""
        return time.monotonic() + self._skipped_s

    def advance(self, seconds: float) -> None:
        """Let the time pass, in no time: stamps, expiries and rate limits all move."""
        with self._lock:
            self._skipped_s += seconds
            self._offset += round(seconds * SECOND)
            if self._stopped is not None:
                self._stopped += round(seconds * SECOND)

    def shift(self, seconds: float) -> None:
        """Set the vendor's clock wrong by so many seconds; rate limits don't notice."""
        with self._lock:
            self._offset = round(seconds * SECOND)
            self._stopped = None

    def stop(self, at: int | None = None) -> None:
        """Hold the clock at a moment (now, when none is given)."""
        moment = self.now() if at is None else at
        with self._lock:
            self._stopped = moment

    def http_date(self) -> str:
        """The moment as the `Date` header has it."""
        return formatdate(self.now() // SECOND, usegmt=True)


def moment(year: int, month: int = 1, day: int = 1, hour: int = 0, minute: int = 0, second: int = 0) -> int:
    """A UTC wall time as microseconds since 1970."""
    return micros(datetime(year, month, day, hour, minute, second, tzinfo=UTC))


def micros(value: datetime) -> int:
    """An aware datetime as microseconds since 1970, exactly."""
    return (value - EPOCH) // timedelta(microseconds=1)


def utc(at: int) -> datetime:
    """Microseconds since 1970 as an aware datetime."""
    return EPOCH + timedelta(microseconds=at)


def _iso(at: int) -> str:
    return utc(at).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def _iso_seconds(at: int) -> str:
    return utc(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def _iso_mixed(at: int) -> str:
    return _iso(at) if at % SECOND else _iso_seconds(at)


def _iso_offset(at: int) -> str:
    return utc(at).astimezone(ZoneInfo("Europe/Berlin")).isoformat(timespec="milliseconds")


# How a record spells its stamps. `iso_mixed` drops a zero fraction, as many serialisers do, so that
# texts of one column don't compare; `iso_offset` moves its UTC offset twice a year.
STAMPS: dict[str, Callable[[int], str | int | float]] = {
    "iso": _iso,
    "iso_seconds": _iso_seconds,
    "iso_mixed": _iso_mixed,
    "iso_offset": _iso_offset,
    "epoch": lambda at: at // SECOND,
    "epoch_ms": lambda at: at // 1000,
    "slack": lambda at: f"{at // SECOND}.{at % SECOND:06d}",
}


def parse(text: str, zone: str = "UTC") -> int:
    """Read a moment as a caller may spell it: ISO 8601, epoch seconds or milliseconds.

    A time without an offset is taken in `zone`. Raises ValueError for anything else.
    """
    try:
        number = float(text)
    except ValueError:
        value = datetime.fromisoformat(text.replace(" ", "T", 1) if "T" not in text else text)
        return micros(value if value.tzinfo else value.replace(tzinfo=ZoneInfo(zone)))
    return round(number * (1000 if abs(number) > 1e11 else SECOND))


def floor(at: int, granularity_s: float, zone: str = "UTC") -> int:
    """The start of the bucket (second, minute, calendar day of `zone`) that a moment falls in."""
    if not granularity_s:
        return at
    size = round(granularity_s * SECOND)
    local = utc(at).astimezone(ZoneInfo(zone)).utcoffset() or timedelta()
    shift = local // timedelta(microseconds=1)
    return (at + shift) // size * size - shift
