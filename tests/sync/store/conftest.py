"""A laboratory for streams of records, on both databases."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, Text, insert, select, text

from connectors import Flag, Rows, Stream, Timestamp, boolean, integer, iso, json, number
from connectors import text as words
from models import Base, Connection
from sync.store import schema
from sync.store.database import connect, now, read, write
from sync.store.mirror import Mirror, mirror

_numbers = itertools.count(1)
UPDATED = iso("updated_at")
START = datetime(2026, 1, 1, tzinfo=UTC)


def pull(api, stream, ask):
    raise AssertionError("no test here asks a vendor")


THINGS = Stream(
    "things", "/things", pull,
    version=UPDATED,
    cursor=Timestamp(field=UPDATED),
    deletes=(Flag("deleted"),),
    columns=(words("name"), integer("size"), number("price"), boolean("paid"), iso("made"), json("tags"),
             words("address.city")),
)  # fmt: skip


def moment(seconds: float) -> str:
    return (START + timedelta(seconds=seconds)).isoformat().replace("+00:00", "Z")


def thing(key: Any, version: float = 0, **fields: Any) -> dict[str, Any]:
    """A record whose version is so many seconds after the start of 2026."""
    return {"id": key, "updated_at": moment(version), **fields}


class Lab:
    """One stream's table in a database of its own or under a name of its own."""

    def __init__(self, engine: Engine, stream: Stream = THINGS) -> None:
        self.engine = engine
        self.connector = f"lab{next(_numbers)}"
        self.id = next(_numbers)
        self.use(stream)

    def use(self, stream: Stream) -> "Lab":
        self.stream = stream
        assert schema.ensure(self.engine, self.connector, stream)
        return self

    def but(self, **changes: Any) -> "Lab":
        """The same with another declaration."""
        return self.use(replace(self.stream, **changes))

    @property
    def mirror(self) -> Mirror:
        return mirror(self.connector, self.stream, self.engine.dialect)

    @property
    def table(self):
        return self.mirror.table

    def account(self) -> int:
        """A row in `connections` for the tables that refer to one."""
        with write(self.engine) as connection:
            values = {
                "id": self.id,
                "name": str(self.id),
                "connector": self.connector,
                "created_at": now(),
                "updated_at": now(),
            }
            connection.execute(insert(Connection.__table__).values(values))
        return self.id

    def read(self, *rows: Any, as_of: int = 0):
        return self.mirror.reader.read(Rows.of(rows), as_of)

    def land(self, *rows: Any, as_of: int = 0, asked_at=None, first=False, parent=None, careful=False):
        """A page's way into the table."""
        batch = self.read(*rows, as_of=as_of)
        if not first:
            with read(self.engine) as connection:
                batch = self.mirror.compare(connection, self.id, batch)
        with write(self.engine) as connection:
            return self.mirror.write(connection, self.id, batch, asked_at, parent, careful=careful)

    def now(self):
        with read(self.engine) as connection:
            return connection.execute(select(now())).scalar_one()

    def rows(self) -> dict[str, Any]:
        with read(self.engine) as connection:
            found = connection.execute(select(self.table).where(self.table.c.connection_id == self.id))
            return {row.key: row for row in found}

    def one(self, key: str = "a"):
        return self.rows()[key]

    def payload(self, key: str = "a"):
        """The payload as text, byte by byte."""
        with read(self.engine) as connection:
            query = select(self.table.c.payload.cast(Text)).where(self.table.c.key == key)
            return connection.execute(query).scalar_one()

    def marks(self) -> dict[str, Any]:
        """What changes whenever a row is rewritten."""
        with read(self.engine) as connection:
            if self.engine.dialect.name == "sqlite":
                query = f"SELECT key, changed_at FROM {self.table.name}"
            else:
                query = f"SELECT key, ctid::text || '/' || xmin::text FROM {self.table.name}"
            return {row[0]: row[1] for row in connection.execute(text(query))}


@pytest.fixture(scope="session")
def store_postgres(postgres_server) -> Iterator[Engine]:
    with postgres_server.fresh() as url:
        engine = connect(url)
        Base.metadata.create_all(engine)
        yield engine
        engine.dispose()


@pytest.fixture
def store_sqlite(tmp_path) -> Iterator[Engine]:
    engine = connect(f"sqlite:///{tmp_path / 'store.db'}")
    with write(engine) as connection:
        Base.metadata.create_all(connection)
    yield engine
    engine.dispose()


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.servers)])
def lab(request) -> Lab:
    return Lab(request.getfixturevalue("store_sqlite" if request.param == "sqlite" else "store_postgres"))


@pytest.fixture
def postgres_lab(store_postgres) -> Lab:
    return Lab(store_postgres)
