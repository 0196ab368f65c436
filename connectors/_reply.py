"""The vendor's answer, decoded only where somebody looks.

A page of records is cut into raw slices and stored as it came; a record becomes a Python dict only when a
connector's function, a flow or a repair touches it.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeVar, overload

import msgspec

from connectors._ask import Json
from connectors._errors import ContractError
from connectors._scan import elements, members

Cut = TypeVar("Cut")

_envelope = msgspec.json.Decoder(dict[str, msgspec.Raw])
_array = msgspec.json.Decoder(list[msgspec.Raw])
_value = msgspec.json.Decoder()
_WITHOUT_BODY = (204, 304)
_LINK = re.compile(r'<([^>]*)>((?:\s*;\s*[\w*-]+\s*=\s*(?:"[^"]*"|[^",;\s]+))*)')
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^",;\s]+))', re.IGNORECASE)


class Rows(Sequence[Any]):
    """The records of one page: raw JSON slices; indexing decodes one.

    `raws` are the slices as the vendor sent them, `array` the JSON array that holds them all.
    """

    __slots__ = ("array", "raws")

    def __init__(self, raws: Sequence[msgspec.Raw | bytes], array: bytes | None = None) -> None:
        self.raws = raws
        self.array = array if array is not None else b"[" + b",".join(map(bytes, raws)) + b"]"

    @classmethod
    def of(cls, rows: Iterable[Any]) -> "Rows":
        """Rows from whatever a pull function may return: `Rows`, mappings, or raw JSON bytes."""
        if isinstance(rows, Rows):
            return rows
        return cls([row if isinstance(row, msgspec.Raw | bytes) else msgspec.json.encode(row) for row in rows])

    @classmethod
    def joined(cls, pages: Iterable["Rows"]) -> "Rows":
        """The rows of several pages as those of one."""
        filled = [page for page in pages if page.raws]
        if len(filled) < 2:
            return filled[0] if filled else cls([], b"[]")
        arrays = [memoryview(page.array.strip()) for page in filled]
        array = b",".join([arrays[0][:-1], *(inner[1:-1] for inner in arrays[1:-1]), arrays[-1][1:]])
        return cls([raw for page in filled for raw in page.raws], array)

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> "Rows": ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return Rows(self.raws[index])
        return _value.decode(self.raws[index])

    def __len__(self) -> int:
        return len(self.raws)

    def __iter__(self) -> Iterator[Any]:
        return map(_value.decode, self.raws)


@dataclass(frozen=True)
class Reply:
    """An answer that the vendor gave and the engine accepted: limited, capped in size, classified.

    status   the HTTP status (2xx or 304)
    headers  lower-case names
    body     raw bytes, not yet decoded
    url      where it came from, after redirects
    as_of    microseconds since 1970 on the vendor's clock, not later than the moment it was true
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    url: str
    as_of: int
    extra: Mapping[str, Json] = field(default_factory=dict)

    def rows(self, path: str = "") -> Rows:
        """The records in the array at a dotted path (`data`, `response.items`; "" = the body is the array).

        A 204 or 304 has none, nor has null in their place. ContractError names the path where there is no
        array.
        """
        raw = b"null" if self.status in _WITHOUT_BODY else self._raw(path)
        if raw is None:
            raise ContractError(f"no array at {_at(path)} in the answer of {self.url}")
        if bytes(raw) == b"null":
            return Rows([], b"[]")
        try:
            return Rows(_array.decode(raw), bytes(raw))
        except (msgspec.DecodeError, RecursionError):
            return Rows(self._cut(elements, raw, path, "an array"), bytes(raw))

    def row(self, path: str = "") -> msgspec.Raw | bytes:
        """One record as raw JSON: the body, or what stands at a dotted path of it."""
        raw = self._raw(path)
        if raw is None:
            raise ContractError(f"nothing at {_at(path)} in the answer of {self.url}")
        return raw

    def __getitem__(self, path: str) -> Json:
        """The decoded value at a dotted path; None where it is absent. `demand` insists on it."""
        raw = self._raw(path) if self.body else None
        return None if raw is None else _value.decode(raw)

    def demand(self, path: str) -> Json:
        """The decoded value at a dotted path; ContractError where it is absent or null: a list whose end
        isn't told must not end silently."""
        value = self[path]
        if value is None:
            raise ContractError(f"nothing at {_at(path)} in the answer of {self.url}")
        return value

    @cached_property
    def link(self) -> Mapping[str, str]:
        """The `Link` header: rel → URL (RFC 8288)."""
        found: dict[str, str] = {}
        for url, parameters in _LINK.findall(self.headers.get("link", "")):
            for quoted, bare in _REL.findall(parameters):
                for rel in (quoted or bare).split():
                    found.setdefault(rel.lower(), url)
        return found

    @cached_property
    def _top(self) -> Mapping[str, msgspec.Raw | bytes]:
        return self._decode(self.body, "")

    def _raw(self, path: str) -> msgspec.Raw | bytes | None:
        if not path:
            return self.body
        level: Mapping[str, msgspec.Raw | bytes] = self._top
        *parents, last = path.split(".")
        for depth, name in enumerate(parents):
            if name not in level or bytes(level[name]) == b"null":
                return None
            level = self._decode(level[name], ".".join(parents[: depth + 1]))
        return level.get(last)

    def _decode(self, raw: msgspec.Raw | bytes, path: str) -> Mapping[str, msgspec.Raw | bytes]:
        try:
            return _envelope.decode(raw)
        except (msgspec.DecodeError, RecursionError):
            return self._cut(members, raw, path, "a JSON object")

    def _cut(self, how: Callable[[bytes], Cut], raw: msgspec.Raw | bytes, path: str, what: str) -> Cut:
        """One record that can't be decoded doesn't take its page with it."""
        try:
            return how(bytes(raw))
        except ContractError as error:
            raise ContractError(f"{_at(path)} of {self.url} is not {what}: {error}") from error


def _at(path: str) -> str:
    return f"$.{path}" if path else "the body"
