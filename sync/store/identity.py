"""Identity: which record each row of a page is, what version of it, and whether it differs from what we hold.

A page that is as declared is read in a few calls of C; a page with an odd row is read again row by row, so that
only the odd row is rejected.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from struct import unpack
from typing import Any

import msgspec

from connectors import Field, Flag, Rows, Stream
from sync.store.columns import UNREADABLE, Raw, getter, instants, shape

MAX_RECORD = 16 * 1024 * 1024
MAX_KEY = 512  # characters: what an index entry of PostgreSQL holds in any script
_MOST_READERS = 256
_INT64 = range(-(2**63), 2**63)
_any = msgspec.json.Decoder()


@dataclass(frozen=True, slots=True)
class Rejection:
    """A record that can't be stored: `path` is where it is wrong, `reason` a sentence, `payload` the bytes as sent."""

    key: str
    path: str
    reason: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """Records of one page, one list a property; what was set aside on the way is counted.

    keys       unique
    raws       the payloads as they came; `array` is the JSON array of just these, None = not joined yet
    digests    64 bits of the payload, complemented for a deleted record: one comparison tells both
    deleted    whether the record says that it is gone
    versions   None = not read yet, `Reader.versioned` does
    as_of      when the vendor said so, microseconds since 1970 on its clock
    seen       the largest position of the cursor's field on the page; None = no field or no row
    compared   with what is stored, where `unchanged` rows were found just so
    repeated   older twins on the same page, left out; dropped: `keep` left them out
    """

    keys: Sequence[str]
    raws: Sequence[Raw]
    digests: Sequence[int]
    deleted: Sequence[bool]
    as_of: int
    array: bytes | None = None
    versions: Sequence[int] | None = None
    seen: int | None = None
    compared: bool = False
    unchanged: int = 0
    repeated: int = 0
    dropped: int = 0
    rejects: tuple[Rejection, ...] = ()

    def __len__(self) -> int:
        return len(self.keys)

    def only(self, indexes: Sequence[int], **changes: Any) -> "Batch":
        """The rows at these places, with the counts changed as given."""
        if len(indexes) == len(self.keys) and not changes and list(indexes) == list(range(len(self.keys))):
            return self
        return replace(
            self,
            keys=[self.keys[i] for i in indexes],
            raws=[self.raws[i] for i in indexes],
            digests=[self.digests[i] for i in indexes],
            deleted=[self.deleted[i] for i in indexes],
            versions=None if self.versions is None else [self.versions[i] for i in indexes],
            array=None,
            **changes,
        )

    def json(self) -> bytes:
        """The JSON array of these records."""
        return self.array if self.array is not None else b"[" + b",".join(map(bytes, self.raws)) + b"]"

    def hashes(self) -> bytes:
        """Eight bytes for every key, to remember that it was seen."""
        return b"".join([hashed(key) for key in self.keys])

    def ascending(self) -> "Batch":
        """Ordered by key: all writers lock rows in one order, so they never wait in a circle."""
        order = sorted(range(len(self.keys)), key=self.keys.__getitem__)
        return self.only(order)


@dataclass(frozen=True, slots=True)
class _Found:
    """What reading a page row by row gathers."""

    keys: list[str] = field(default_factory=list)
    raws: list[Raw] = field(default_factory=list)
    deleted: list[bool] = field(default_factory=list)
    positions: list[int] = field(default_factory=list)
    rejects: list[Rejection] = field(default_factory=list)
    dropped: list[int] = field(default_factory=list)


class Odd(Exception):
    """A row that isn't as declared: the path and the sentence for its rejection."""

    def __init__(self, path: str, reason: str, key: str = "") -> None:
        super().__init__(reason)
        self.path, self.reason, self.key = f"$.{path}" if path else "$", reason, key


class Reader:
    """Turns the rows of a stream into batches. It touches no database."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.cursor = stream.cursor.field if stream.cursor else None
        paths = [*stream.keys, *(flag.path for flag in stream.flags), *([self.cursor.path] if self.cursor else ())]
        self._probes, self._get = _probes(paths, stream.keys)
        self._versions, self._get_version = _probes([stream.version.path] if stream.version else [], ())

    def read(self, rows: Rows, as_of: int) -> Batch:
        """The records on a page; nothing is decoded but the key, the cursor's field and the flags."""
        raws: Sequence[Raw] = rows.raws
        try:
            keys, deleted, positions = self._page(rows)
            found = _Found(keys, list(raws), deleted, positions)
        except (Odd, *UNREADABLE):
            found = self._row_by_row(raws)
        whole = len(found.keys) == len(raws)
        batch = Batch(
            keys=found.keys,
            raws=raws if whole else found.raws,
            digests=digests(found.raws, found.deleted),
            deleted=found.deleted,
            as_of=as_of,
            array=rows.array if whole else None,
            versions=found.positions if self.cursor and self.cursor == self.stream.version else None,
            seen=max(found.positions, default=None),
            dropped=len(found.dropped),
            rejects=tuple(found.rejects),
        )
        return batch if len(set(found.keys)) == len(found.keys) else self._newest(batch)

    def versioned(self, batch: Batch) -> Batch:
        """The batch with versions; a row without a readable one is rejected."""
        if batch.versions is not None:
            return batch
        if self.stream.version is None:
            return replace(batch, versions=[batch.as_of] * len(batch))
        try:
            return replace(batch, versions=self._page_of_versions(batch, self.stream.version))
        except (Odd, *UNREADABLE):
            return self._versions_row_by_row(batch, self.stream.version)

    def _page(self, rows: Rows) -> tuple[list[str], list[bool], list[int]]:
        """Keys, deleted marks and positions of a page without an odd row; Odd or UNREADABLE where there is one."""
        if self.stream.keep or len(rows.array) > MAX_RECORD:
            raise Odd("", "read row by row")
        if not rows.array.isascii():
            rows.array.decode()
        probes = self._probes.decode(rows.array)
        keys = self._keys(probes)
        positions = _positions(map(self._get[self.cursor.path], probes), self.cursor) if self.cursor else []
        return keys, self._deleted(probes), positions

    def _keys(self, probes: Sequence[Any]) -> list[str]:
        columns = [list(map(self._get[path], probes)) for path in self.stream.keys]
        if len(columns) == 1:
            keys = [key if key.__class__ is str else str(key) for key in columns[0]]
            if None in columns[0]:
                raise Odd(self.stream.keys[0], "there is no key")
        else:
            keys = [joined(parts) for parts in zip(*columns, strict=True)]
        if keys and (max(map(len, keys)) > MAX_KEY or not all(keys) or "\0" in "".join(keys)):
            raise Odd(self.stream.keys[0], "a key is too long, empty or has U+0000")
        return keys

    def _deleted(self, probes: Sequence[Any]) -> list[bool]:
        if not self.stream.flags:
            return [False] * len(probes)
        return [any(_is(self._get[flag.path](row), flag) for flag in self.stream.flags) for row in probes]

    def _row_by_row(self, raws: Sequence[Raw]) -> _Found:
        found = _Found()
        for index, raw in enumerate(raws):
            try:
                key, deleted, position = self._row(raw)
                if self.stream.keep and not self._kept(raw, key):
                    found.dropped.append(index)
                    continue
            except Odd as odd:
                found.rejects.append(Rejection(odd.key, odd.path, odd.reason, bytes(raw)))
                continue
            found.keys.append(key)
            found.raws.append(raw)
            found.deleted.append(deleted)
            found.positions.extend(position)
        return found

    def _row(self, raw: Raw) -> tuple[str, bool, list[int]]:
        probe = self._probe(raw)
        parts = [self._get[path](probe) for path in self.stream.keys]
        for path, part in zip(self.stream.keys, parts, strict=True):
            _check_part(path, part)
        key = joined(parts) if len(parts) > 1 else str(parts[0])
        if len(key) > MAX_KEY:
            raise Odd(self.stream.keys[0], f"the key has {len(key)} characters; {MAX_KEY} are possible", key[:MAX_KEY])
        position = []
        if self.cursor:
            position.append(_integer(self._get[self.cursor.path](probe), self.cursor, "cursor", key))
        return key, self._deleted([probe])[0], position

    def _probe(self, raw: Raw) -> Any:
        text = bytes(raw)
        if len(text) > MAX_RECORD:
            raise Odd("", f"the record has {len(text)} bytes; {MAX_RECORD} are possible")
        try:
            text.decode()
            return self._probes.decode(b"[" + text + b"]")[0]
        except UnicodeDecodeError as error:
            raise Odd("", f"the record is not UTF-8 at byte {error.start}") from error
        except msgspec.ValidationError as error:
            raise _told(text) or Odd(*_where(error)) from error
        except UNREADABLE as error:
            raise Odd("", f"the record can't be read as JSON: {error}") from error

    def _kept(self, raw: Raw, key: str) -> bool:
        keep = self.stream.keep
        try:
            return keep is None or keep(_any.decode(raw))
        except Exception as error:
            raise Odd("", f"keep() of {self.stream.name} failed: {type(error).__name__}: {error}", key) from error

    def _page_of_versions(self, batch: Batch, version: Field) -> list[int]:
        return _positions(map(self._get_version[version.path], self._versions.decode(batch.json())), version)

    def _versions_row_by_row(self, batch: Batch, version: Field) -> Batch:
        kept, versions, rejects = [], [], []
        for index, (raw, key) in enumerate(zip(batch.raws, batch.keys, strict=True)):
            try:
                value = version.value(_any.decode(raw))
                versions.append(_integer(value, version, "version", key))
                kept.append(index)
            except Odd as odd:
                rejects.append(Rejection(odd.key, odd.path, odd.reason, bytes(raw)))
            except UNREADABLE as error:
                rejects.append(Rejection(key, "$", f"the record can't be read as JSON: {error}", bytes(raw)))
        return replace(batch.only(kept, rejects=(*batch.rejects, *rejects)), versions=versions)

    def _newest(self, batch: Batch) -> Batch:
        """Of rows with one key the newest, the last of equals; the others are counted as repeated."""
        batch = self.versioned(batch)
        versions = batch.versions or ()
        best: dict[str, int] = {}
        for index, key in enumerate(batch.keys):
            if key not in best or versions[index] >= versions[best[key]]:
                best[key] = index
        return batch.only(sorted(best.values()), repeated=len(batch) - len(best))


def hashed(key: str) -> bytes:
    """Eight bytes that stand for a key."""
    return sha256(key.encode()).digest()[:8]


def digests(raws: Iterable[Raw], deleted: Sequence[bool]) -> list[int]:
    """Eight bytes of SHA-256 of each payload as a signed integer, complemented where it is deleted."""
    found = unpack(">" + "q24x" * len(deleted), b"".join([sha256(raw).digest() for raw in raws]))
    return (
        [~digest if gone else digest for digest, gone in zip(found, deleted, strict=True)] if any(deleted) else [*found]
    )


def joined(parts: Iterable[Any]) -> str:
    """A composite key as one text: parts joined by "/", with "%" and "/" inside them escaped."""
    return "/".join([_escaped(part) for part in parts])


def _escaped(part: Any) -> str:
    _check_part("", part)
    return str(part).replace("%", "%25").replace("/", "%2F")


def _check_part(path: str, part: Any) -> None:
    if part is None:
        raise Odd(path, "there is no key")
    if part == "":
        raise Odd(path, "the key is empty")
    if isinstance(part, str) and "\0" in part:
        raise Odd(path, "the key has the character U+0000, which no database keeps", part)


def _positions(values: Iterable[Any], field: Field) -> list[int]:
    found = instants(values, field)
    if found and (min(found) not in _INT64 or max(found) not in _INT64):
        raise Odd(field.path, "more than 64 bits")
    return found


def _integer(value: Any, field: Field, what: str, key: str) -> int:
    try:
        found = field.instant(value)
    except UNREADABLE as error:
        reason = f"the {what} is missing" if value is None else f"the {what} {value!r:.80} is no {field.kind}: {error}"
        raise Odd(field.path, reason, key) from error
    if found not in _INT64:
        raise Odd(field.path, f"the {what} {found} has more than 64 bits", key)
    return found


def _is(value: Any, flag: Flag) -> bool:
    return bool(value == flag.value) and isinstance(value, bool) == isinstance(flag.value, bool)


def _told(text: bytes) -> Odd | None:
    """What a pull function says in place of a row that it couldn't make, where it says something."""
    return Odd("", f"no record, but a text: {msgspec.json.decode(text)[:MAX_KEY]}") if text.startswith(b'"') else None


def _where(error: msgspec.ValidationError) -> tuple[str, str]:
    """The path and the sentence of a decoder's complaint: "Expected `str | int`, got `float` - at `$[0].id`"."""
    sentence, _, path = str(error).partition(" - at `$[0]")
    return path.rstrip("`").lstrip("."), sentence


def _probes(
    paths: Iterable[str], keys: Sequence[str]
) -> tuple[msgspec.json.Decoder[Any], Mapping[str, Callable[[Any], Any]]]:
    """A decoder of a page that reads just these paths, and what takes each out."""
    kinds = {path: (str | int | None, None) if path in keys else (Any, None) for path in paths}
    decoder = msgspec.json.Decoder(list[shape(kinds)])  # type: ignore[misc]  # a type made at run time
    return decoder, {path: getter(path) for path in kinds}


_readers: dict[int, Reader] = {}


def reader(stream: Stream) -> Reader:
    """The reader of a stream, built on first use."""
    found = _readers.get(id(stream))
    if found is None or found.stream is not stream:
        if len(_readers) >= _MOST_READERS:
            _readers.clear()
        found = _readers[id(stream)] = Reader(stream)
    return found
