"""One customer's data at the vendor: collections, edited by whoever owns them."""

import threading
from collections.abc import Callable, Iterable
from typing import Any

from sync.kit.vendor.collection import Collection, Fields, Key
from sync.kit.vendor.table import Row, Table
from sync.kit.vendor.times import SECOND, Clock

Heard = Callable[[str, bytes, int], None]


class UnknownCollection(LookupError):
    """No collection has this name."""


class UnknownAccount(LookupError):
    """This vendor hosts no such account."""


class UnknownRow(LookupError):
    """No live row has this key."""


class KeyTaken(ValueError):
    """A live row has this key already."""


class Account:
    """Named tables and the edits that may befall them. Safe to share between threads.

    `heard` is told of every edit while the lock is held: what happened, the row's JSON, when.
    """

    def __init__(self, collections: Iterable[Collection], clock: Clock, heard: Heard | None = None) -> None:
        self.clock = clock
        self.heard = heard
        self.lock = threading.RLock()
        self.tables = {collection.name: Table(collection) for collection in collections}
        self._events = 0

    def table(self, name: str) -> Table:
        """The table of a collection; raises UnknownCollection."""
        try:
            return self.tables[name]
        except KeyError:
            raise UnknownCollection(f"no collection {name!r}; there are {', '.join(self.tables)}") from None

    def row(self, name: str, key: Key) -> Row:
        """A live row (or one flagged deleted); raises UnknownRow."""
        row = self.table(name).find(str(key))
        if row is None:
            raise UnknownRow(f"{name} has no row {key!r}")
        return row

    def create(self, name: str, key: Key | None, fields: Fields, *, at: int | None = None) -> Row:
        """Make a row, with a key of the vendor's when none is given; `at` backdates it."""
        with self.lock:
            table = self.table(name)
            at = self.clock.now() if at is None else at
            row = self._new_row(table, key, fields, at, at)
            self._tell(table, row, "created")
            return row

    def seed(self, name: str, fields: Fields, *, created: int, updated: int) -> Row:
        """Make a row that was there before anyone looked: no event, but the parent's stamp follows."""
        with self.lock:
            table = self.table(name)
            row = self._new_row(table, None, fields, created, updated)
            self._stir(table.collection, row, updated)
            return row

    def update(self, name: str, key: Key, fields: Fields, *, at: int | None = None) -> Row:
        """Lay fields over a row's; `at` gives the edit another time than now."""
        with self.lock:
            row = self.row(name, key)
            table = self.table(name)
            at = self.clock.now() if at is None else at
            self._stir(table.collection, row, at)  # a row that moves away is a change of the parent it leaves
            self._edit(table, row, fields, at)
            self._tell(table, row, "updated")
            return row

    def delete(self, name: str, key: Key, *, at: int | None = None) -> None:
        """Delete a row and its children, leaving what the collection says: nothing, a flag, a tombstone."""
        with self.lock:
            row = self.row(name, key)
            if row.deleted is None:
                self._bury(self.table(name), row, self.clock.now() if at is None else at)

    def truth(self, name: str) -> dict[str, Any]:
        """Every live row by key, and the keys of the deleted: {"rows": {...}, "deleted": [...]}."""
        with self.lock:
            table = self.table(name)
            live = {str(row.key): row.fields for row in table.rows.values() if row.deleted is None}
            return {"rows": live, "deleted": [str(key) for key in table.deleted]}

    def _new_row(self, table: Table, key: Key | None, fields: Fields, at: int, updated: int) -> Row:
        key = table.new_key() if key is None else key
        old = table.find(str(key))
        if old is not None and old.deleted is None:
            raise KeyTaken(f"{table.collection.name} has a row {key!r} already")
        if old is not None:
            table.drop(old)
        parent = self._parent_key(table.collection, fields)
        row = Row(key, {table.collection.key: key, **fields}, parent=parent, created=at, updated=updated)
        table.add(row)
        return row

    def _parent_key(self, collection: Collection, fields: Fields) -> Key | None:
        if not collection.parent:
            return None
        name = collection.parent_field
        if name not in fields:
            raise UnknownRow(f"a row of {collection.name} needs {name}, the id of its parent")
        return self.row(collection.parent, fields[name]).key

    def _edit(self, table: Table, row: Row, fields: Fields, at: int) -> None:
        parent = self._parent_key(table.collection, {**row.fields, **fields})
        table.delist(row)
        row.put(fields)
        row.parent = parent
        row.updated = at
        table.enlist(row)

    def _bury(self, table: Table, row: Row, at: int) -> None:
        for child in self._children(table, row):
            self._bury(*child, at)
        row.deleted = at
        table.deleted[row.key] = at
        if table.collection.flag:
            name, value = table.collection.flag
            self._edit(table, row, {name: value}, at)
        else:
            table.drop(row)
            row.updated = at
        if table.collection.tombstones:
            self._entomb(self.table(table.collection.tombstones), row, at)
        self._tell(table, row, "deleted")

    def _entomb(self, feed: Table, row: Row, at: int) -> None:
        """A row deleted, made again and deleted again has one tombstone, the later."""
        old = feed.find(str(row.key))
        if old is not None:
            feed.drop(old)
        feed.add(Row(row.key, {feed.collection.key: row.key}, parent=None, created=at, updated=at))

    def _children(self, table: Table, row: Row) -> list[tuple[Table, Row]]:
        below = [one for one in self.tables.values() if one.collection.parent == table.collection.name]
        return [(one, child) for one in below for child in one.under(row.key) if child.deleted is None]

    def _tell(self, table: Table, row: Row, verb: str) -> None:
        """Let the edit be known: to the parent's stamp, to the event list and to whoever listens."""
        collection, kind = table.collection, f"{table.collection.singular}.{verb}"
        self._stir(collection, row, row.updated)
        if collection.events:
            self._append_event(self.table(collection.events), row, kind)
        if self.heard:
            self.heard(kind, row.body, row.updated)

    def _stir(self, collection: Collection, row: Row, at: int) -> None:
        if collection.stirs:
            parent = self.table(collection.parent)
            stirred = parent.find(str(row.parent))
            if stirred is not None:
                parent.stir(stirred, collection.stirs, at)

    def _append_event(self, events: Table, row: Row, kind: str) -> None:
        at = self.clock.now()
        self._events += 1
        key = f"evt_{self._events:08d}"
        fields = {"id": key, "type": kind, "created": at // SECOND, "data": {"object": row.fields}}
        events.add(Row(key, fields, parent=None, created=at, updated=at))
        events.purge(at)
