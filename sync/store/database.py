"""The door to the database: engines, transactions, and the database's own clock.

Writers on SQLite begin IMMEDIATE, so a transaction that will write never fails half-way on a lock; readers see
the last commit. No connection is opened before a worker forks.
"""

import math
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from sqlalchemy import ClauseElement, Connection, Engine, create_engine, event, func
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DisconnectionError, OperationalError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from models import Instant
from sync.settings import settings

# Where a scan can't be avoided, being forbidden makes it look so dear that PostgreSQL would compile the query first:
# a quarter of a second for a look at a few rows.
_POSTGRES_OPTIONS = "-c enable_seqscan=off -c jit=off -c timezone=UTC -c idle_in_transaction_session_timeout=120s"

BUSY_SECONDS = 30.0  # for which SQLite's writers wait for each other
_PATIENT = f"busy_timeout={BUSY_SECONDS * 1000:.0f}"
_RESTED = 5.0  # seconds after which a connection may be gone without our knowing


class now(FunctionElement[Any]):  # noqa: N801 - reads as the SQL function that it is
    """The database's clock, `offset` seconds from now; the only clock by which work is leased and due."""

    type = Instant()
    inherit_cache = True
    name = "now"

    def __init__(self, offset: Any = 0.0) -> None:
        super().__init__(func.coalesce(offset, 0.0) if isinstance(offset, ClauseElement) else offset)


@compiles(now, "postgresql")
def _now_postgresql(element: now, compiler: Any, **kw: Any) -> str:
    offset = compiler.process(element.clauses, **kw)
    # the statement's start: stable, so that the planner may look it up in an index
    return f"(statement_timestamp() + make_interval(secs => CAST({offset} AS double precision)))"


@compiles(now, "sqlite")
def _now_sqlite(element: now, compiler: Any, **kw: Any) -> str:
    offset = compiler.process(element.clauses, **kw)
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now', {offset} || ' seconds') || '000')"


def connect(url: str) -> Engine:
    """An engine for this URL, set up as every journey expects it."""
    if make_url(url).get_backend_name() == "sqlite":
        return _sqlite(url)
    return _postgresql(url)


def _postgresql(url: str) -> Engine:
    engine = create_engine(
        url,
        pool_size=5,
        max_overflow=10,
        hide_parameters=True,  # records don't belong into logs and reasons
        connect_args={"options": _POSTGRES_OPTIONS, "application_name": "tidelock", "connect_timeout": 10},
    )

    @event.listens_for(engine, "checkin")
    def _rest(_connection: Any, record: Any) -> None:
        record.info["since"] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def _wake(connection: Any, record: Any, _proxy: Any) -> None:
        """Ask a connection that rested for long whether it lives; each time would cost a third of a small slice."""
        if time.monotonic() - record.info.get("since", math.inf) < _RESTED:
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise DisconnectionError from error

    return engine


def _sqlite(url: str) -> Engine:
    engine = create_engine(url, hide_parameters=True)

    @event.listens_for(engine, "connect")
    def _open(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # the driver begins nothing by itself: `begin` below does
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "foreign_keys=ON", _PATIENT):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        options = connection.get_execution_options()
        if options.get("writes", False):
            _begin_to_write(connection)
        elif not options.get("alone", False):
            connection.exec_driver_sql("BEGIN")

    return engine


def _begin_to_write(connection: Connection) -> None:
    """Take SQLite's one lock. Its own waiting looks ever more rarely, a tenth of a second apart in the end: a writer
    that lets go for milliseconds would be missed again and again. So it is asked anew after each short wait."""
    ends = time.monotonic() + BUSY_SECONDS
    connection.exec_driver_sql("PRAGMA busy_timeout=8")  # it looks after 1, 2 and 5 ms
    try:
        while not _begun(connection, last=time.monotonic() >= ends):
            pass
    finally:
        connection.exec_driver_sql(f"PRAGMA {_PATIENT}")


def _begun(connection: Connection, *, last: bool) -> bool:
    try:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    except OperationalError as error:
        if last or getattr(error.orig, "sqlite_errorcode", None) != sqlite3.SQLITE_BUSY:
            raise
        return False
    return True


@lru_cache(maxsize=1)
def engine() -> Engine:
    """This process's engine."""
    settings().home.mkdir(parents=True, exist_ok=True, mode=0o700)
    return connect(settings().database_url)


def forget() -> None:
    """Drop the engine that a parent process made: its connections are not ours after a fork."""
    if engine.cache_info().currsize:
        engine().dispose(close=False)
    engine.cache_clear()


def insert_into(connection: Connection, table: Any) -> Any:
    """An INSERT of this backend, for `on_conflict_do_nothing` and `on_conflict_do_update`."""
    return insert_for(connection.dialect.name, table)


def insert_for(dialect: str, table: Any) -> Any:
    """As `insert_into`, by the dialect's name, for statements that are kept."""
    return (postgresql if dialect == "postgresql" else sqlite).insert(table)


@contextmanager
def write(target: Engine | None = None) -> Iterator[Connection]:
    """A transaction that may write; commits at the end, rolls back on an error."""
    with (target or engine()).connect().execution_options(writes=True) as connection, connection.begin():
        yield connection


@contextmanager
def read(target: Engine | None = None) -> Iterator[Connection]:
    """A transaction that only reads."""
    with (target or engine()).connect() as connection, connection.begin():
        yield connection


@contextmanager
def glance(target: Engine | None = None) -> Iterator[Connection]:
    """For a single statement that only reads, without a transaction around it: on PostgreSQL that would cost two
    round trips more, on SQLite two statements."""
    chosen = target or engine()
    alone: dict[str, Any] = {"alone": True} if chosen.dialect.name == "sqlite" else {"isolation_level": "AUTOCOMMIT"}
    with chosen.connect().execution_options(**alone) as connection:
        yield connection
