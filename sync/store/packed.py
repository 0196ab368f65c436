"""Whole columns as PostgreSQL arrays in the wire's binary form, packed here because the driver packs them slowly.

A packed array is a `bytes` with the array's type; the driver passes it on as it is.
https://www.postgresql.org/docs/current/protocol-overview.html#PROTOCOL-FORMAT-CODES
"""

from collections.abc import Iterable, Mapping, Sequence
from struct import Struct, pack
from typing import Any

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from sqlalchemy.types import UserDefinedType

_NULL = b"\xff\xff\xff\xff"
_YEAR_2000 = 946_684_800_000_000
_HEAD = Struct(">5i")
_length = Struct(">i").pack


class Packed(bytes):
    """An array parameter, ready for the wire."""

    __slots__ = ()
    element = 0


class Texts(Packed):
    element = 25


class Jsons(Packed):
    element = 114


class Blobs(Packed):
    element = 17


class Bigints(Packed):
    element = 20


class Doubles(Packed):
    element = 701


class Booleans(Packed):
    element = 16


class Instants(Packed):
    element = 1184


class _AsItIs(Dumper):
    format = Format.BINARY

    def dump(self, obj: Any) -> bytes:
        return bytes(obj)


def _register(kind: type[Packed], array: int) -> None:
    psycopg.adapters.register_dumper(kind, type(f"{kind.__name__}Dumper", (_AsItIs,), {"oid": array}))


for _kind, _array in (
    (Texts, 1009),
    (Jsons, 199),
    (Blobs, 1001),
    (Bigints, 1016),
    (Doubles, 1022),
    (Booleans, 1000),
    (Instants, 1185),
):
    _register(_kind, _array)


class Array(UserDefinedType[Packed]):
    """The SQL type of a packed parameter: none that SQLAlchemy would convert."""

    cache_ok = True

    def get_col_spec(self, **_kw: Any) -> str:
        return "array"


def texts(values: Sequence[str | None]) -> Texts:
    return Texts(_join(Texts, len(values), (None if value is None else value.encode() for value in values)))


def jsons(values: Sequence[bytes | None]) -> Jsons:
    """JSON documents as they came; None = SQL NULL."""
    return Jsons(_join(Jsons, len(values), values))


def blobs(values: Sequence[bytes | None]) -> Blobs:
    """Raw bytes."""
    return Blobs(_join(Blobs, len(values), values))


def booleans(values: Sequence[bool | None]) -> Booleans:
    return Booleans(_join(Booleans, len(values), (_BIT.get(value) for value in values)))


def bigints(values: Sequence[int | None]) -> Bigints:
    return Bigints(_fixed(Bigints, values, "q"))


def doubles(values: Sequence[float | None]) -> Doubles:
    return Doubles(_fixed(Doubles, values, "d"))


def instants(values: Sequence[int | None]) -> Instants:
    """Moments given as microseconds since 1970."""
    return Instants(_fixed(Instants, [None if value is None else value - _YEAR_2000 for value in values], "q"))


_BIT: Mapping[bool | None, bytes] = {True: b"\1", False: b"\0"}


def _join(kind: type[Packed], count: int, values: Iterable[bytes | None]) -> bytes:
    cells = [_NULL if value is None else _length(len(value)) + value for value in values]
    return _HEAD.pack(1, 1, kind.element, count, 1) + b"".join(cells)


def _fixed(kind: type[Packed], values: Sequence[float | None], code: str) -> bytes:
    """All in one `pack`, unless there are NULLs."""
    count = len(values)
    if None in values:
        return _join(kind, count, (None if value is None else pack(f">{code}", value) for value in values))
    cells: list[Any] = [8] * (2 * count)
    cells[1::2] = values
    return pack(">5i" + f"i{code}" * count, 1, 0, kind.element, count, 1, *cells)
