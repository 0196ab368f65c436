"""Alembic's entry: one migration at a time, in one transaction, and none that makes the others wait for long.

Only the tables of `models` are ours to migrate here; those of streams follow their connectors
(`tidelock schema plan`).
"""

from typing import Any, Literal

from sqlalchemy import Connection, text

from alembic import context
from models import Base, Instant
from sync.settings import settings
from sync.store.database import connect

LOCK = 7_115_116  # of pg_advisory_xact_lock: anything that no other program of this database uses
PATIENCE = "60s"  # for another migration to end
LOCK_TIMEOUT = "5s"  # for a table that somebody uses: rather fail and be run again than make all others queue


def ours(_thing: Any, name: str | None, kind: str, _reflected: bool, _compared: Any) -> bool:  # noqa: FBT001
    """Whether autogenerate may compare it."""
    return kind != "table" or name in Base.metadata.tables


def rendered(kind: str, thing: Any, _context: Any) -> str | Literal[False]:
    """How autogenerate writes a type: a revision stands by itself, whatever becomes of `models`."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(thing, Instant) else False


def offline() -> None:
    """Print the SQL instead of running it: `alembic upgrade head --sql`."""
    context.configure(url=url(), target_metadata=Base.metadata, literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def online() -> None:
    """Migrate the database."""
    engine = connect(url())
    try:
        with engine.execution_options(writes=True).connect() as connection:
            migrate(connection)
    finally:
        engine.dispose()  # what was prepared for this is fit for nothing else


def migrate(connection: Connection) -> None:
    """Run what is missing, in one transaction."""
    prepare(connection)
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        include_object=ours,
        render_item=rendered,
        render_as_batch=connection.dialect.name == "sqlite",
        transactional_ddl=True,
    )
    with context.begin_transaction():
        lock(connection)
        context.run_migrations()


def url() -> str:
    """The database of the settings, unless the caller names another."""
    return context.config.attributes.get("url") or settings().database_url


def prepare(connection: Connection) -> None:
    """SQLite rebuilds a table by dropping it, which would delete the rows that refer to it."""
    if connection.dialect.name == "sqlite":
        driver: Any = connection.connection.driver_connection
        driver.execute("PRAGMA foreign_keys=OFF")  # has no effect inside a transaction


def lock(connection: Connection) -> None:
    """One migration at a time; on SQLite the transaction itself is the lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{PATIENCE}'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
        connection.execute(text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))


if context.is_offline_mode():
    offline()
else:
    online()
