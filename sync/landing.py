"""Landing: what the rows of a page become, by the kind of list they came from.

rows     records: the one guarded upsert
deletes  tombstones
feed     events (sync.feed)
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, delete, insert

from connectors import Json, Page, Rows
from models import Sighting
from sync.answer import Answer, Apply, Landing, Tally, TiedError
from sync.feed import FeedLanding
from sync.lists import DELETES, FEED, ROWS, list_of
from sync.proof import rule_of
from sync.store import absence, checkpoints, drift, rejects
from sync.store.database import engine, glance
from sync.store.identity import Batch, Reader
from sync.store.mirror import mirror
from sync.store.tally import Tally as Stored

if TYPE_CHECKING:
    from sync.pull import Pass

_sightings = Sighting.__table__
LOOKED_AT = 2000  # rows that are gathered where most are found unchanged: nearly nothing is written then


class RowsLanding:
    """Records into the stream's table; during a full pass, the keys seen are remembered."""

    def __init__(self, held: "Pass") -> None:
        self.held = held
        self.mirror = mirror(held.account.connector, held.stream, engine().dialect)
        self.most = self._most(changed=True)
        self.stored: tuple[Batch, Stored] | None = None
        self.again: tuple[Batch, datetime] | None = None
        self.whole = held.row.full  # the pass shows every record, also those that can't be stored
        self.proves = held.row.full and not held.row.first and rule_of(held.connector, held.stream) is not None

    def limit(self, page: Page) -> Page:
        return page

    def prepare(self, answer: Answer) -> Apply:
        held = self.held
        self.whole = self.whole and not answer.unchanged
        batch = self.mirror.reader.read(answer.rows, answer.as_of)
        self._see(batch.seen, answer.page.cursor)
        hashes = batch.hashes() if self.proves else b""
        if not held.row.first:
            with glance() as connection:
                batch = self.mirror.compare(connection, held.account.id, batch)
            self.most = self._most(changed=len(batch) > batch.unchanged)

        def apply(connection: Connection, *, careful: bool) -> Tally:
            parent = held.row.partition if held.stream.parent else None
            tally = self.mirror.write(connection, held.account.id, batch, answer.asked_at, parent, careful=careful)
            rejects.save(connection, held.row, tally.rejects)
            if self.again is not None:
                tally.add(self.mirror.write(connection, held.account.id, *self.again, parent))
            elif tally.tied and held.stream.get:
                raise TiedError(tally.tied)
            self.stored = (batch, tally)
            if self.proves:
                self._remember(connection, hashes)
            return tally.counts()

        return apply

    def _most(self, *, changed: bool) -> int:
        """Rows that are gathered: more while few of them are written. Without a version in the record, the time of
        each page is its version."""
        if not self.held.stream.version:
            return 0
        return self.mirror.backend.most if changed else LOOKED_AT

    def fetch(self, keys: Sequence[str]) -> None:
        """Neither of two equal versions wins by arrival: what the vendor says now does, unless a later one came."""
        held = self.held
        asked, found = held.clock(), [row for row in (held.one(key) for key in keys) if row is not None]
        self.again = (self.mirror.reader.read(Rows.of(found), held.api.as_of or 0), asked)

    def settle(self) -> None:
        """After the commit: note drift."""
        self.again = None
        if self.stored is not None:
            batch, tally = self.stored
            drift.observe(self.held.account.id, self.held.row.stream, batch, tally.misfits)

    def _see(self, seen: Json, handed: Json) -> None:
        """Remember the largest position, or the one that the vendor handed out."""
        if handed is not None:
            self.held.seen = handed
        elif seen is not None:
            self.held.seen = seen if self.held.seen is None else max(self.held.seen, seen)

    def _remember(self, connection: Connection, hashes: bytes) -> None:
        values = {"slice_id": self.held.row.id, "page": self.held.pages, "hashes": hashes}
        connection.execute(insert(_sightings), values)

    def position(self, connection: Connection) -> Json:
        return advanced(connection, self.held)

    def forget(self, connection: Connection) -> None:
        since = self.held.row.began_at if self.whole else None
        rejects.overtake(connection, self.held.row, self.mirror, unseen_since=since)
        if self.proves:
            connection.execute(delete(_sightings).where(_sightings.c.slice_id == self.held.row.id))


class DeletesLanding:
    """A list of what was deleted: tombstones in the table of the stream that it belongs to."""

    proves = False
    most = 0

    def __init__(self, held: "Pass") -> None:
        self.held = held
        self.reader = Reader(held.stream)
        above = list_of(held.connector, held.account.config, held.row.stream, ROWS)
        self.mirror = mirror(held.account.connector, above, engine().dialect)

    def limit(self, page: Page) -> Page:
        return page

    def prepare(self, answer: Answer) -> Apply:
        batch = self.reader.versioned(self.reader.read(answer.rows, answer.as_of))
        if batch.seen is not None:
            self.held.seen = batch.seen if self.held.seen is None else max(self.held.seen, batch.seen)
        gone = dict(zip(batch.keys, batch.versions or (), strict=True))

        def apply(connection: Connection, *, careful: bool) -> Tally:
            rejects.save(connection, self.held.row, batch.rejects)
            tally = absence.bury(connection, self.mirror, self.held.account.id, gone, answer.asked_at)
            return {**tally.counts(), "rejected": len(batch.rejects)}

        return apply

    def fetch(self, keys: Sequence[str]) -> None:
        """Nothing of a list of tombstones is tied: a key and a time are all that there is."""

    def settle(self) -> None:
        """Nothing is left to do."""

    def position(self, connection: Connection) -> Json:
        return advanced(connection, self.held)

    def forget(self, connection: Connection) -> None:
        """Nothing was remembered."""


def advanced(connection: Connection, held: "Pass") -> Json:
    """Where the next run of this partition starts."""
    cursor = held.stream.cursor
    if cursor is None:
        return None
    row = held.row
    saved = checkpoints.get(connection, row.connection_id, row.stream, row.partition, row.list)
    return cursor.advance(saved.cursor if saved else None, held.seen, held.started or 0)


LANDINGS: Mapping[str, Callable[["Pass"], Landing]] = {
    ROWS: RowsLanding,
    DELETES: DeletesLanding,
    FEED: FeedLanding,
}


def landing(held: "Pass") -> Landing:
    """The landing of the slice's list."""
    return LANDINGS[held.row.list](held)
