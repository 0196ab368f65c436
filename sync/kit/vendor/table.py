"""The rows of one collection, kept in the order in which its lists show them."""

import hashlib
import json
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

from sync.kit.vendor.collection import Collection, Fields, Key
from sync.kit.vendor.times import SECOND, STAMPS

# Sort number, key, row. A Place is the beginning of one: (number, key) stands just before its entry,
# (number,) before all entries of that number.
Entry = tuple[Any, ...]
Place = tuple[Any, ...]


class Row:
    """One remote record: its fields as the vendor shows them, and what the vendor knows besides."""

    __slots__ = ("_body", "created", "deleted", "fields", "key", "parent", "sequence", "updated")

    def __init__(self, key: Key, fields: Fields, *, parent: Key | None, created: int, updated: int) -> None:
        self.key = key
        self.fields = fields
        self.parent = parent
        self.created = created
        self.updated = updated
        self.sequence = 0
        self.deleted: int | None = None
        self._body: bytes | None = None

    @property
    def body(self) -> bytes:
        """The row as JSON; serialised once per edit."""
        if self._body is None:
            self._body = json.dumps(self.fields, ensure_ascii=False, separators=(",", ":")).encode()
        return self._body

    @property
    def etag(self) -> str:
        """Changes when, and only when, the row's JSON does."""
        return '"' + hashlib.blake2b(self.body, digest_size=8).hexdigest() + '"'

    def put(self, fields: Fields) -> None:
        """Lay fields over the present ones."""
        self.fields = {**self.fields, **fields}
        self._body = None


SORTS: dict[str, Callable[[Row], int]] = {
    "updated": lambda row: row.updated,
    "created": lambda row: row.created,
    "sequence": lambda row: row.sequence,
    "id": lambda row: 0,
}


class Table:
    """The rows of one collection. Not safe on its own: the account's lock guards it."""

    def __init__(self, collection: Collection) -> None:
        self.collection = collection
        self.rows: dict[Key, Row] = {}
        self.deleted: dict[Key, int] = {}
        self._sort = SORTS[collection.order]
        self._stamp = STAMPS[collection.stamps]
        self._lists: dict[Key | None, list[Entry]] = {}
        self._by_text: dict[str, Key] = {}
        self._sequence = 0
        self._made = 0
        self.token_uses: Counter[str] = Counter()

    def find(self, text: str) -> Row | None:
        """The row whose key is written so in a path."""
        key = self._by_text.get(text)
        return None if key is None else self.rows.get(key)

    def new_key(self) -> Key:
        """A key never used before."""
        self._made += 1
        form = self.collection.key_format
        made: Key = form.format(self._made) if form else self._made
        return self.new_key() if str(made) in self._by_text else made

    def add(self, row: Row) -> None:
        """List a new row; raises ValueError when its key can't be put in order with the others."""
        kind = type(next(iter(self.rows), row.key))
        if not isinstance(row.key, kind):
            raise ValueError(f"{self.collection.name}: ids are {kind.__name__}, {row.key!r} is not")
        self.rows[row.key] = row
        self._by_text[str(row.key)] = row.key
        self.deleted.pop(row.key, None)
        self.enlist(row)

    def enlist(self, row: Row) -> None:
        """Stamp a row, number it and put it in its place."""
        self._sequence += 1
        row.sequence = self._sequence
        row.put(self._stamps(row))
        entry = (self._sort(row), row.key, row)
        listed = self._lists.setdefault(row.parent, [])
        listed.insert(bisect_left(listed, entry[:2]), entry)

    def delist(self, row: Row) -> None:
        """Take a row out of its place, to be changed or dropped."""
        listed = self._lists[row.parent]
        del listed[self.rank(row.parent, (self._sort(row), row.key))]

    def drop(self, row: Row) -> None:
        """Forget a row for good."""
        self.delist(row)
        del self.rows[row.key]

    def stir(self, row: Row, name: str, at: int) -> None:
        """Move one stamp of a row, leaving its update time and its place."""
        row.put({name: self._stamp(at)})

    def under(self, parent: Key | None) -> list[Row]:
        """All rows below one parent, shown or not."""
        return [entry[2] for entry in self._lists.get(parent, [])]

    def rank(self, parent: Key | None, place: Place) -> int:
        """How many rows stand before a place."""
        return bisect_left(self._lists.get(parent, []), place)

    def size(self, parent: Key | None) -> int:
        """How many rows the list has."""
        return len(self._lists.get(parent, []))

    def place(self, row: Row) -> Place:
        """Where a row stands in its list."""
        return self._sort(row), row.key

    def walk(self, parent: Key | None, after: Place | None, now: int) -> Iterator[Row]:
        """The rows beyond a place, in list order, that lists may show by now."""
        listed = self._lists.get(parent, [])
        seen_until = now - round(self.collection.lag_s * SECOND)
        lagging = self.collection.lag_s > 0
        for index in self._indices(listed, after):
            row: Row = listed[index][2]
            if not lagging or row.updated <= seen_until:
                yield row

    def _indices(self, listed: list[Entry], after: Place | None) -> range:
        if self.collection.descending:
            stop = len(listed) if after is None else bisect_left(listed, after)
            return range(stop - 1, -1, -1)
        start = 0 if after is None else bisect_left(listed, after)
        standing = start < len(listed) and listed[start][:2] == after
        return range(start + standing, len(listed))

    def purge(self, now: int) -> None:
        """Drop what is older than the retention."""
        if self.collection.retention_s is None:
            return
        oldest = now - round(self.collection.retention_s * SECOND)
        # Rows are kept in the order of their making, so only the old ones are looked at.
        for row in list(takewhile(lambda row: row.created < oldest, self.rows.values())):
            self.drop(row)

    def _stamps(self, row: Row) -> Fields:
        names = self.collection
        shown: dict[str, Any] = {names.key: row.key}
        shown |= {name: self._stamp(row.created) for name in (names.created,) if name}
        shown |= {name: self._stamp(row.updated) for name in (names.updated, names.moved) if name}
        return shown | ({names.sequence: row.sequence} if names.sequence else {})
