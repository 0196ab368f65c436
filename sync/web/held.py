"""A database connection that is held open, for commits that must last."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

PATIENCE = 10  # seconds that a statement may take, or wait for another writer


class Unreachable(Exception):
    """There is no connection to be had."""


class Held:
    """Opens its connection when it is first needed, and anew when it broke. Not for several threads."""

    def __init__(self, target: Callable[[], Engine]) -> None:
        self._target = target
        self._connection: Connection | None = None

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction whose commit waits for the disk on SQLite, and on PostgreSQL as it is configured."""
        connection = self._connection or self._opened()
        try:
            with connection.begin():
                yield connection
        except BaseException as error:
            if connection.invalidated or (isinstance(error, DBAPIError) and error.connection_invalidated):
                self.close()
            raise

    @property
    def open(self) -> bool:
        return self._connection is not None

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):
                connection.close()

    def _opened(self) -> Connection:
        try:
            connection = self._target().connect().execution_options(writes=True)
            connection.detach()  # it is nobody else's, with what is set here
            _set_up(connection)
        except Exception as error:  # the driver's own, too
            raise Unreachable(str(getattr(error, "orig", error))) from error
        self._connection = connection
        return connection


def _set_up(connection: Connection) -> None:
    driver: Any = connection.connection.dbapi_connection
    if connection.dialect.name == "sqlite":
        driver.execute("PRAGMA synchronous=FULL")
        driver.execute(f"PRAGMA busy_timeout={PATIENCE * 1000}")
    else:
        driver.execute(f"SET statement_timeout = '{PATIENCE}s'")
        driver.commit()
