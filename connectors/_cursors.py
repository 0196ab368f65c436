"""Cursors: where the next run of a partition starts, and how that is said to the vendor.

A checkpoint keeps a *position*: an integer (microseconds since 1970 UTC, or a sequence) or an opaque text.
`wire` turns it into what the vendor expects.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol
from zoneinfo import ZoneInfo

from connectors._ask import Json
from connectors._durations import seconds
from connectors._errors import ContractError
from connectors._fields import MICROSECOND, Field


class Cursor(Protocol):
    """What the engine asks of a cursor."""

    @property
    def field(self) -> Field | None:
        """The field whose largest value moves the position; None where the vendor hands the position out."""

    def wire(self, position: Json) -> Json:
        """`Ask.since` for a checkpoint's position."""

    def advance(self, position: Json, seen: Json, started: int) -> Json:
        """The position after a complete pass that saw at most `seen` and began at `started` (vendor's
        clock)."""


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _unmistakable(local: datetime) -> datetime:
    """An hour that the clocks go through twice is read by the vendor as either: in its first half, start one
    shift earlier, so that neither reading lies after the position."""
    later = local.replace(fold=1)
    shift = (local.utcoffset() or timedelta()) - (later.utcoffset() or timedelta())
    if local.fold or shift <= timedelta():
        return local
    return (local.astimezone(UTC) - shift).astimezone(local.tzinfo)


def _iso_wire(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


_WIRES: dict[str, Callable[[datetime], Json]] = {
    "iso": _iso_wire,
    "iso_seconds": lambda moment: moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "epoch": lambda moment: int(moment.timestamp()),
    "epoch_ms": lambda moment: int(moment.timestamp() * 1000),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Timestamp:
    """A moving time: "give me what changed since".

    field        the record's change time
    wire_format  "iso", "iso_seconds", "epoch", "epoch_ms", or a strftime pattern, in `zone`
    granularity  what the vendor's filter rounds to ("1 minute" for Jira); the whole bucket is read again
    zone         the zone in which the vendor reads the text
    lookback     how far back every run reads again, for records that become visible late
    safe_lag     how close to now the vendor's list can be trusted
    """

    field: Field
    wire_format: str = "iso"
    granularity: str = "1 microsecond"
    zone: str = "UTC"
    lookback: str = "0 seconds"
    safe_lag: str = "0 seconds"

    def wire(self, position: Json) -> Json:
        if position is None:
            return None
        bucket = round(seconds(self.granularity) * MICROSECOND)
        start = position - round(seconds(self.lookback) * MICROSECOND)
        return self._spell(start, bucket)

    def advance(self, position: Json, seen: Json, started: int) -> Json:
        """min(max seen, the pass's start less the safe lag), and never backwards: a record edited while the
        pass ran lies after its start and is read again."""
        bound = started - round(seconds(self.safe_lag) * MICROSECOND)
        reached = min(seen, bound) if seen is not None else None
        return max((value for value in (position, reached) if value is not None), default=None)

    def _spell(self, start: int, bucket: int) -> Json:
        local = _unmistakable((_EPOCH + timedelta(microseconds=start)).astimezone(ZoneInfo(self.zone)))
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        into = (local.replace(tzinfo=None) - midnight.replace(tzinfo=None)) // timedelta(microseconds=1)
        floored = midnight.replace(tzinfo=None) + timedelta(microseconds=into - into % max(bucket, 1))
        moment = floored.replace(tzinfo=ZoneInfo(self.zone), fold=local.fold)
        spell = _WIRES.get(self.wire_format)
        return spell(moment) if spell else moment.strftime(self.wire_format)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequence:
    """A number that rises with every edit: a sequence, a replay id, a log position."""

    field: Field

    def wire(self, position: Json) -> Json:
        return position

    def advance(self, position: Json, seen: Json, started: int) -> Json:
        return max((value for value in (position, seen) if value is not None), default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Opaque:
    """A token that the vendor hands out with the last page (`Page.cursor`) and may expire.

    When the vendor says so (outcome RESET_CURSOR), the engine makes a full pass and then removes what is
    gone.
    """

    field: None = None

    def wire(self, position: Json) -> Json:
        return position

    def advance(self, position: Json, seen: Json, started: int) -> Json:
        return seen if seen is not None else position


def checked(cursor: Cursor) -> Cursor:
    """The cursor, or ContractError where its declaration cannot work."""
    if isinstance(cursor, Timestamp):
        for value in (cursor.granularity, cursor.lookback, cursor.safe_lag):
            seconds(value)
        ZoneInfo(cursor.zone)
        if cursor.wire_format not in _WIRES and "%" not in cursor.wire_format:
            raise ContractError(f"wire_format {cursor.wire_format!r} is neither {', '.join(_WIRES)} nor strftime")
    return cursor
