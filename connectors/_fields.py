"""Fields of a record: where a value stands in the payload and what kind of value it is.

The same declarations make a column, a version and a cursor comparable: `text("email")`, `iso("updated_at")`,
`epoch("created")`, `integer("seq")`. Paths are dotted: `text("address.city")` becomes the column
`address_city`.
"""

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from typing import Any
from zoneinfo import ZoneInfo

from connectors._errors import ContractError

MICROSECOND = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INT64 = range(-(2**63), 2**63)


class Kind(StrEnum):
    TEXT = "text"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    JSON = "json"
    ISO = "iso"
    EPOCH = "epoch"
    EPOCH_MS = "epoch_ms"


@dataclass(frozen=True, slots=True)
class Field:
    """A value at a dotted `path`, stored as the column `name`; `zone` is what a text without an offset
    means."""

    path: str
    kind: Kind
    name: str = ""
    zone: str = "UTC"

    def __post_init__(self) -> None:
        if not self.path:
            raise ContractError("a field needs a path, as in text('email')")
        if not self.name:
            object.__setattr__(self, "name", self.path.replace(".", "_").lower())

    def instant(self, value: Any) -> int:
        """The value as a comparable integer: microseconds since 1970 UTC for times, itself for integers.

        Raises ValueError (or TypeError) for a value of another kind, or beyond 64 bits.
        """
        instant = _INSTANTS[self.kind](value, self)
        if instant not in _INT64:
            raise ValueError(f"{value!r} at {self.path} is beyond 64 bits")
        return instant

    def value(self, payload: Any) -> Any:
        """What stands at the path in a decoded record; None where a level is missing."""
        for name in self.path.split("."):
            if not isinstance(payload, dict):
                return None
            payload = payload.get(name)
        return payload


def _iso(value: Any, field: Field) -> int:
    moment = datetime.fromisoformat(value)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=_zone(field.zone))
    return (moment - _EPOCH) // timedelta(microseconds=1)


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def _number(value: Any, factor: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise TypeError(f"{value!r} is not a number")
    if isinstance(value, int):
        return value * factor
    scaled = float(value) * factor
    if not math.isfinite(scaled):
        raise ValueError(f"{value!r} is not a time")
    return round(scaled)


def _integer(value: Any, field: Field) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise TypeError(f"{value!r} at {field.path} is not an integer")
    return int(value)


_INSTANTS = {
    Kind.ISO: _iso,
    Kind.EPOCH: lambda value, _: _number(value, MICROSECOND),
    Kind.EPOCH_MS: lambda value, _: _number(value, 1000),
    Kind.INTEGER: _integer,
}


def text(path: str, name: str = "") -> Field:
    """A text column."""
    return Field(path, Kind.TEXT, name)


def integer(path: str, name: str = "") -> Field:
    """A 64-bit integer column; as a version or cursor, a sequence."""
    return Field(path, Kind.INTEGER, name)


def number(path: str, name: str = "") -> Field:
    """A double precision column."""
    return Field(path, Kind.NUMBER, name)


def boolean(path: str, name: str = "") -> Field:
    """A boolean column."""
    return Field(path, Kind.BOOLEAN, name)


def json(path: str, name: str = "") -> Field:
    """A column that keeps the JSON below the path."""
    return Field(path, Kind.JSON, name)


def iso(path: str, name: str = "", zone: str = "UTC") -> Field:
    """A time written as ISO 8601 text, with any precision and offset; `zone` where the offset is missing."""
    return Field(path, Kind.ISO, name, zone)


def epoch(path: str, name: str = "") -> Field:
    """A time written as seconds since 1970."""
    return Field(path, Kind.EPOCH, name)


def epoch_ms(path: str, name: str = "") -> Field:
    """A time written as milliseconds since 1970."""
    return Field(path, Kind.EPOCH_MS, name)
