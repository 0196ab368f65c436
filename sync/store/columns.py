"""Columns of a stream's table: the declared fields of a record, projected from its payload.

A page is decoded in one call that demands exactly the declared types. A record that doesn't keep to them is
looked at field by field: what can't be read becomes NULL and a `Misfit`, never an error.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import Annotated, Any, TypeAlias
from zoneinfo import ZoneInfo

import msgspec
from sqlalchemy import JSON, BigInteger, Boolean, Double, Text
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.types import TypeEngine

from connectors import Field, Kind
from models import Instant

Raw: TypeAlias = msgspec.Raw | bytes
UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, OverflowError, RecursionError)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_EARLIEST = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_LATEST = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // _MICROSECOND
_INT64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_NUMERAL = re.compile(r"\s*[+-]?\d{1,19}\s*")
_KINDS = {b'"': "text", b"{": "object", b"[": "list", b"t": "boolean", b"f": "boolean"}
_TIMES = (Kind.ISO, Kind.EPOCH, Kind.EPOCH_MS)
_NO_RAW = msgspec.Raw(b"")


class Document(JSON):
    """JSON as the text that came; TEXT on SQLite, where a JSON column would turn "1.50" into a number."""

    cache_ok = True


@compiles(Document, "sqlite")
def _document_sqlite(_type: Document, _compiler: Any, **_kw: Any) -> str:
    return "TEXT"


SQL_TYPES: Mapping[Kind, TypeEngine[Any]] = {
    Kind.TEXT: Text(), Kind.INTEGER: BigInteger(), Kind.NUMBER: Double(), Kind.BOOLEAN: Boolean(),
    Kind.JSON: Document(), Kind.ISO: Instant(), Kind.EPOCH: Instant(), Kind.EPOCH_MS: Instant(),
}  # fmt: skip
_EXACT: Mapping[Kind, tuple[Any, Any]] = {  # the exact type of a value, and what a missing one is
    Kind.TEXT: (str | int | None, None),
    Kind.INTEGER: (_INT64 | None, None),
    Kind.NUMBER: (float | None, None),
    Kind.BOOLEAN: (bool | None, None),
    Kind.JSON: (msgspec.Raw, _NO_RAW),
    Kind.ISO: (datetime | None, None),
    Kind.EPOCH: (int | float | None, None),
    Kind.EPOCH_MS: (int | float | None, None),
}

_level = msgspec.json.Decoder(dict[str, msgspec.Raw])
_any = msgspec.json.Decoder()


def instants(values: Iterable[Any], field: Field) -> list[int]:
    """`field.instant` of every value, quicker where all are ISO 8601 with an offset; raises as it does."""
    values = list(values)
    if field.kind is Kind.ISO:
        try:
            return [(moment - _EPOCH) // _MICROSECOND for moment in map(datetime.fromisoformat, values)]
        except (TypeError, ValueError):  # no offset, or no time: `instant` knows
            pass
    return list(map(field.instant, values))


def as_bound(kind: Kind, value: Any) -> Any:
    """A projected value as SQLAlchemy binds it: a time as `datetime`, JSON as text."""
    if value is None:
        return None
    if kind is Kind.JSON:
        return value.decode()
    return _EPOCH + value * _MICROSECOND if kind in _TIMES else value


@dataclass(frozen=True, slots=True)
class Misfit:
    """A value of a JSON `kind` that its declared column cannot hold: the column is NULL, the payload keeps it."""

    field: Field
    kind: str
    reason: str


class Projection:
    """The declared fields of records, as one list a field.

    A text is `str`, a number `int` or `float`, JSON the raw bytes, a time microseconds since 1970 UTC. A text
    column whose value is no string holds its JSON text. U+0000, which PostgreSQL can't store, is left out.
    """

    def __init__(self, fields: Sequence[Field]) -> None:
        self.fields = tuple(fields)
        self._shapes = _shapes(self.fields)

    def of(self, raws: Sequence[Raw], array: bytes) -> tuple[list[list[Any]], list[Misfit]]:
        """The columns of records; `array` is the JSON array that holds the same records."""
        if not self.fields:
            return [], []
        try:
            if array.rfind(b"\\u0000") < 0:  # several times as fast as `in`
                return self._exactly(array), []
        except UNREADABLE:
            pass  # at least one value is of another type: `_loosely` finds it
        return self._loosely(raws)

    def _exactly(self, array: bytes) -> list[list[Any]]:
        columns: dict[Field, list[Any]] = {}
        for shape in self._shapes:
            rows = shape.decoder.decode(array)
            for field, get in shape.getters:
                columns[field] = _FINISH[field.kind](map(get, rows), field)
        return [columns[field] for field in self.fields]

    def _loosely(self, raws: Sequence[Raw]) -> tuple[list[list[Any]], list[Misfit]]:
        misfits: list[Misfit] = []
        columns = [[self._one(raw, field, misfits) for raw in raws] for field in self.fields]
        return columns, misfits

    def _one(self, raw: Raw, field: Field, misfits: list[Misfit]) -> Any:
        value = at(raw, field.path)
        if value is None:
            return None
        try:
            return _LOOSE[field.kind](value, field)
        except UNREADABLE as error:
            misfits.append(Misfit(field, _KINDS.get(bytes(value)[:1], "number"), f"{field.kind} expected: {error}"))
            return None


def at(raw: Raw, path: str) -> Raw | None:
    """The raw value at a dotted path of a record; None where it is missing, null, or a level is no object."""
    for name in path.split("."):
        try:
            found = _level.decode(raw).get(name)
        except msgspec.ValidationError:
            return None
        if found is None or bytes(found) == b"null":
            return None
        raw = found
    return raw


@dataclass(frozen=True, slots=True)
class _Shape:
    """A type for the decoder that holds some of the fields, and how to get each out of it."""

    decoder: msgspec.json.Decoder[Any]
    getters: tuple[tuple[Field, Callable[[Any], Any]], ...]


def _shapes(fields: Iterable[Field]) -> list[_Shape]:
    """As few shapes as hold all fields: a path that stands in two fields, or above another, needs a second."""
    waiting = list(dict.fromkeys(fields))
    shapes = []
    while waiting:
        taken: list[Field] = []
        for field in waiting:
            if not any(_overlap(field.path, other.path) for other in taken):
                taken.append(field)
        kinds = {field.path: _EXACT[field.kind] for field in taken}
        decoder = msgspec.json.Decoder(list[shape(kinds)])  # type: ignore[misc]  # a type made at run time
        shapes.append(_Shape(decoder, tuple((field, getter(field.path)) for field in taken)))
        waiting = [field for field in waiting if field not in taken]
    return shapes


def _overlap(one: str, other: str) -> bool:
    return f"{one}.".startswith(f"{other}.") or f"{other}.".startswith(f"{one}.")


def shape(kinds: Mapping[str, tuple[Any, Any]]) -> type[msgspec.Struct]:
    """A struct that decodes the given dotted paths, each with its type and the default of a missing one."""
    names: dict[str, dict[str, tuple[Any, Any]]] = {}
    for path, kind in kinds.items():
        name, _, rest = path.partition(".")
        names.setdefault(name, {})[rest] = kind
    fields = [(attribute(name), *_leaf_or_level(below)) for name, below in names.items()]
    return msgspec.defstruct("Shape", fields, rename={attribute(name): name for name in names})


def _leaf_or_level(below: Mapping[str, tuple[Any, Any]]) -> tuple[Any, Any]:
    return below[""] if "" in below else (shape(below) | None, None)


def attribute(name: str) -> str:
    """A field's name as an identifier of ours, whatever the vendor calls it."""
    return "f_" + name.encode().hex()


def getter(path: str) -> Callable[[Any], Any]:
    """What takes the value of a dotted path out of a decoded shape; None where a level is missing."""
    steps = [attribute(name) for name in path.split(".")]
    if len(steps) == 1:
        return attrgetter(steps[0])

    def get(row: Any) -> Any:
        for step in steps:
            row = getattr(row, step, None)
        return row

    return get


def _finish_text(values: Iterable[Any], _field: Field) -> list[Any]:
    return [value if value is None or value.__class__ is str else str(value) for value in values]


def _finish_json(values: Iterable[msgspec.Raw], _field: Field) -> list[bytes | None]:
    return [None if raw in (b"", b"null") else raw for raw in map(bytes, values)]


def _finish_iso(values: Iterable[datetime | None], field: Field) -> list[int | None]:
    zone = UTC if field.zone == "UTC" else ZoneInfo(field.zone)
    return _possible(
        None if value is None else ((value if value.tzinfo else value.replace(tzinfo=zone)) - _EPOCH) // _MICROSECOND
        for value in values
    )


def _finish_epoch(values: Iterable[float | None], field: Field) -> list[int | None]:
    return _possible(None if value is None else field.instant(value) for value in values)


def _possible(moments: Iterable[int | None]) -> list[int | None]:
    found = list(moments)
    for moment in found:
        if moment is not None:
            _moment(moment)
    return found


def _moment(microseconds: int) -> int:
    if not _EARLIEST <= microseconds <= _LATEST:
        raise ValueError(f"{microseconds} microseconds since 1970 is not between the years 1 and 9999")
    return microseconds


_FINISH: Mapping[Kind, Callable[[Any, Field], list[Any]]] = {
    Kind.TEXT: _finish_text,
    Kind.INTEGER: lambda values, _: list(values),
    Kind.NUMBER: lambda values, _: list(values),
    Kind.BOOLEAN: lambda values, _: list(values),
    Kind.JSON: _finish_json,
    Kind.ISO: _finish_iso,
    Kind.EPOCH: _finish_epoch,
    Kind.EPOCH_MS: _finish_epoch,
}


def _loose_text(raw: Raw, _field: Field) -> str:
    text = bytes(raw).decode()
    return str(_any.decode(raw)).replace("\0", "") if text.startswith('"') else text


def _loose_integer(raw: Raw, _field: Field) -> int:
    value = _any.decode(raw)
    if (isinstance(value, str) and _NUMERAL.fullmatch(value)) or (isinstance(value, float) and value.is_integer()):
        value = int(value)
    if type(value) is not int or not -(2**63) <= value < 2**63:
        raise ValueError(f"{_short(raw)} is not a whole number of 64 bits")
    return value


def _loose_number(raw: Raw, _field: Field) -> float:
    value = _any.decode(raw)
    if isinstance(value, bool) or not isinstance(value, int | float | str) or not abs(float(value)) < float("inf"):
        raise ValueError(f"{_short(raw)} is not a finite number")
    return float(value)


def _loose_boolean(raw: Raw, _field: Field) -> bool:
    value = _BOOLEANS.get(bytes(raw).strip(b'"').lower())
    if value is None:
        raise ValueError(f"{_short(raw)} is neither true nor false")
    return value


_BOOLEANS = {b"true": True, b"1": True, b"false": False, b"0": False}
_LOOSE: Mapping[Kind, Callable[[Raw, Field], Any]] = {
    Kind.TEXT: _loose_text,
    Kind.INTEGER: _loose_integer,
    Kind.NUMBER: _loose_number,
    Kind.BOOLEAN: _loose_boolean,
    Kind.JSON: lambda raw, _: bytes(raw),
    Kind.ISO: lambda raw, field: _moment(field.instant(_any.decode(raw))),
    Kind.EPOCH: lambda raw, field: _moment(field.instant(_any.decode(raw))),
    Kind.EPOCH_MS: lambda raw, field: _moment(field.instant(_any.decode(raw))),
}


def _short(raw: Raw) -> str:
    text = bytes(raw).decode(errors="replace")
    return text if len(text) <= 60 else f"{text[:57]}..."
