"""Migrations: is the database as this version of the code expects it, and making it so."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, inspect
from sqlalchemy.exc import OperationalError

import sync
from alembic import command
from connectors import TidelockError
from sync.store.database import engine

ROOT = Path(sync.__file__).parents[1]
FLOORS = {"postgresql": (15, 0), "sqlite": (3, 38)}
"""The oldest servers on which every statement runs."""


class NotMigratedError(TidelockError):
    """The database lacks tables, or has those of another version; the text names the command that helps."""


class UnreachableError(TidelockError):
    """The database does not answer, or refuses us."""


class TooOldError(TidelockError):
    """The database's server is older than every statement needs."""


def upgrade(url: str = "") -> None:
    """Bring the database (that of the settings, unless `url` names another) to this version.

    One migration at a time, whoever else starts one; in one transaction, so a failed one leaves nothing behind.
    """
    command.upgrade(_config(url), "head")


def check(connection: Connection) -> None:
    """Return where the database is migrated; else NotMigratedError says what to run."""
    found = MigrationContext.configure(connection).get_current_revision()
    if found == head():
        return
    if found is None:
        empty = not inspect(connection).has_table("connections")
        raise NotMigratedError(
            "the database has no tables yet: run `tidelock init`"
            if empty
            else "the database has tables that no migration made: name an empty one in DATABASE_URL"
        )
    if found in _revisions():
        raise NotMigratedError(f"the database is at version {found}, the code at {head()}: run `tidelock init`")
    raise NotMigratedError(f"the database is at version {found}, which this code doesn't know: update the code")


def require(target: Engine | None = None) -> None:
    """Return where the database answers and is migrated; else UnreachableError or NotMigratedError."""
    base = target or engine()
    with reaching(base), base.connect() as connection:
        check(connection)


@contextmanager
def reaching(target: Engine) -> Iterator[None]:
    """An error of the server or of the way there becomes UnreachableError."""
    try:
        yield
    except OperationalError as error:
        raise unreachable(target, error) from error


def unreachable(target: Engine, error: OperationalError) -> UnreachableError:
    """The driver's words, behind the address without its password."""
    where = target.url.render_as_string()
    said = " ".join(str(error.orig).split())
    return UnreachableError(f"the database {where} can't be used: {said}. Start it, or change DATABASE_URL")


def version(connection: Connection) -> tuple[int, int]:
    """The server's version; TooOldError below the floor."""
    name = connection.dialect.name
    found = sqlite3.sqlite_version_info[:2] if name == "sqlite" else connection.dialect.server_version_info
    major, minor = (*(found or (0, 0)), 0)[:2]
    floor = FLOORS[name]
    if (major, minor) < floor:
        raise TooOldError(f"{name} {major}.{minor} is too old: {floor[0]}.{floor[1]} or newer is needed")
    return int(major), int(minor)


@cache
def head() -> str:
    """The version that this code needs."""
    return ScriptDirectory.from_config(_config()).get_current_head() or ""


@cache
def _revisions() -> frozenset[str]:
    return frozenset(one.revision for one in ScriptDirectory.from_config(_config()).walk_revisions())


def _config(url: str = "") -> Config:
    config = Config(toml_file=ROOT / "pyproject.toml", attributes={"url": url})
    config.set_main_option("script_location", str(ROOT / "alembic"))
    return config
