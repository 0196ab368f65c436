"""The inbox of the bench: ours in its installation, and for the peer and the floor the same tables in a database of
their own, with connection 1 in it."""

from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import create_engine, func, insert, select, text
from sqlalchemy.engine import make_url

from benchmarks import hooked, tidelock
from models import Base, Connection, Delivery
from sync.registry import load
from sync.store import connections, inboxes
from sync.store.database import write
from sync.store.mirror import table
from sync.tables import prepare

SECRET = "bench-7f3a9c51d2e84b06"


def installed(vendor: str) -> int:
    """A new installation with a connection that is delivered to; its id."""
    tidelock.made_anew(vendor, vendor, 0)
    with write() as connection:
        name = table(hooked.NAME, load(hooked.NAME).streams_for({})[0]).name
        connection.execute(text(f"DROP TABLE IF EXISTS {name}"))
    account = connected(hooked.NAME, vendor)
    with write() as connection:
        inboxes.set_secret(connection, account, hooked.SECRET, SECRET)
    return account


def connected(name: str, vendor: str) -> int:
    """A connection of our connector, with its tables; its id."""
    with write() as connection:
        made = tidelock.connect(connection, name, {"url": vendor}, connector=hooked.NAME)
        account = connections.by_name(connection, name)
    prepare(account)
    return made


class Inbox:
    """The deliveries of a database, seen from outside."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.engine = create_engine(url, **({"connect_args": {"timeout": 60}} if url.startswith("sqlite") else {}))

    def clear(self) -> None:
        """Empty, and on a server with nothing left to clean up after others; vacuum shall not come in between."""
        with self.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            if self.engine.dialect.name == "sqlite":
                connection.execute(text("DELETE FROM deliveries"))
                connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)"))
                return
            connection.execute(text("TRUNCATE deliveries CASCADE"))
            connection.execute(text("ALTER TABLE deliveries SET (autovacuum_enabled = off)"))
            connection.execute(text("CHECKPOINT"))

    def rows(self) -> int:
        """How many deliveries there are."""
        with self.engine.connect() as connection:
            return int(connection.execute(select(func.count()).select_from(Delivery)).scalar_one())


def beside(url: str, name: str) -> Inbox:
    """The same tables in a new database of this name, on the same server or beside the same file."""
    split = make_url(url)
    if split.get_backend_name() == "sqlite":
        return _filled(Inbox(f"sqlite:///{Path(split.database or '').with_name(name)}.db"))
    with create_engine(url, isolation_level="AUTOCOMMIT").connect() as connection:
        connection.execute(text(f"CREATE DATABASE {name}"))
    return _filled(Inbox(split.set(database=name).render_as_string(hide_password=False)))


def _filled(made: Inbox) -> Inbox:
    Base.metadata.create_all(made.engine)
    clock = datetime.now(UTC)
    row = {
        "name": "bench", "connector": "bench", "config": {}, "state": "active", "owner": "the bench",
        "created_at": clock, "updated_at": clock,
    }  # fmt: skip
    with made.engine.begin() as connection:
        connection.execute(insert(Connection).values(**row))
    return made
