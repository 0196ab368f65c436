"""The mirror of a stream: its table, and the writing of batches into it.

batch = mirror.reader.read(rows, as_of)                            # no database
with read(engine) as connection:
    batch = mirror.compare(connection, connection_id, batch)       # not on a first load
with write(engine) as connection:
    tally = mirror.write(connection, connection_id, batch, asked_at)
"""

from datetime import datetime
from typing import Protocol

from sqlalchemy import BigInteger, Column, Connection, Dialect, Index, MetaData, Table, Text
from sqlalchemy.exc import DBAPIError

from connectors import Stream
from models import Instant
from sync.store.columns import SQL_TYPES, Document, Projection
from sync.store.identity import Batch, Rejection, reader
from sync.store.postgresql import Postgresql
from sync.store.sqlite import Sqlite
from sync.store.tally import Tally
from sync.store.write import Values, Write


class Backend(Protocol):
    """How one database compares and stores; `most` rows of several pages in one transaction."""

    most: int

    def known(self, connection: Connection, connection_id: int, batch: Batch) -> list[int | None]:
        """The digest stored under each key of the batch, None where there is none."""

    def store(self, connection: Connection, write: Write, batch: Batch, values: Values) -> Tally:
        """Upsert the batch, which has versions and is ordered by key."""


def table(connector: str, stream: Stream) -> Table:
    """The table of a stream, `<connector>_<stream>`: key, version, digest, payload and the declared columns."""
    name = f"{connector}_{stream.name}"
    parent = [Column("parent_key", Text)] if stream.parent else []
    found = Table(
        name,
        MetaData(),
        Column("connection_id", BigInteger, primary_key=True, autoincrement=False),
        Column("key", Text, primary_key=True),
        *parent,
        Column("version", BigInteger, nullable=False),
        Column("digest", BigInteger, nullable=False),
        Column("payload", Document, nullable=False),
        Column("changed_at", Instant, nullable=False),
        Column("deleted_at", Instant),
        *(Column(each.name, SQL_TYPES[each.kind]) for each in stream.columns),
    )
    if parent:
        Index(f"ix_{name}_parent_key", found.c.connection_id, found.c.parent_key)
    return found


class Mirror:
    """The table of one stream on one kind of database. Its statements are built once and kept."""

    def __init__(self, connector: str, stream: Stream, dialect: Dialect) -> None:
        self.connector, self.stream = connector, stream
        self.table = table(connector, stream)
        self.reader = reader(stream)
        self.projection = Projection(stream.columns)
        kind = Sqlite if dialect.name == "sqlite" else Postgresql
        self.backend: Backend = kind(self.table, stream.columns, dialect)

    def compare(self, connection: Connection, connection_id: int, batch: Batch) -> Batch:
        """The batch without the rows that are stored exactly so. Not needed on a first load, where all is new."""
        if not len(batch):
            return batch
        known = self.backend.known(connection, connection_id, batch)
        if known == batch.digests:
            return batch.only([], unchanged=len(batch), compared=True)
        differing = [index for index, digest in enumerate(batch.digests) if digest != known[index]]
        return batch.only(differing, unchanged=len(batch) - len(differing), compared=True)

    def write(
        self,
        connection: Connection,
        connection_id: int,
        batch: Batch,
        asked_at: datetime | None = None,
        parent_key: str | None = None,
        *,
        careful: bool = False,
    ) -> Tally:
        """Store a batch in the transaction of `connection`, which on SQLite must be one that writes.

        asked_at is when the answer was asked for, on the database's clock; None = unknown, then ties stay ties.
        A `DBAPIError` that is `refused` means that the database took exception to a value that this code let
        through: roll back and write the page again, `careful`: the page is bisected and the row at fault rejected.
        """
        batch = self.reader.versioned(batch)
        write = Write(connection_id=connection_id, parent_key=parent_key, asked_at=asked_at)
        tally = Tally(
            unchanged=batch.unchanged, repeated=batch.repeated, dropped=batch.dropped, rejects=list(batch.rejects)
        )
        if len(batch):
            store = self._carefully if careful else self._store
            tally.add(store(connection, write, batch.ascending()))
        return tally

    def _store(self, connection: Connection, write: Write, batch: Batch) -> Tally:
        values, misfits = self.projection.of(batch.raws, batch.json())
        tally = self.backend.store(connection, write, batch, values)
        tally.misfits += misfits
        return tally

    def _carefully(self, connection: Connection, write: Write, batch: Batch) -> Tally:
        try:
            with connection.begin_nested():
                return self._store(connection, write, batch)
        except DBAPIError as error:
            if not refused(error):
                raise
            if len(batch) == 1:
                reason = f"the database refuses it: {error.orig}"
                return Tally(rejects=[Rejection(batch.keys[0], "$", reason, bytes(batch.raws[0]))])
        middle = len(batch) // 2
        tally = self._carefully(connection, write, batch.only(range(middle)))
        tally.add(self._carefully(connection, write, batch.only(range(middle, len(batch)))))
        return tally


def refused(error: DBAPIError) -> bool:
    """Whether the database took exception to a value: bad data (22), a constraint (23), a limit (54)."""
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return str(state)[:2] in {"22", "23", "54"}
    return type(error).__name__ in {"DataError", "IntegrityError", "InterfaceError"}


_mirrors: dict[tuple[str, str, str], Mirror] = {}


def mirror(connector: str, stream: Stream, dialect: Dialect) -> Mirror:
    """The mirror of a stream, built on first use and again when its declaration changed."""
    place = (connector, stream.name, dialect.name)
    found = _mirrors.get(place)
    if found is None or found.stream != stream:
        found = _mirrors[place] = Mirror(connector, stream, dialect)
    return found
