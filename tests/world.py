"""A whole installation in one process: a database, a demo vendor, and a broker that is a list.

Messages are kept in `world.sent` and delivered when the test says so, in any order, twice, or never. Everything
else is real: the vendor's HTTP server, the doors, the database.
"""

import sys
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, RowMapping, insert, select, text

from connectors import Connector
from models import Base, Connection
from sync import doors, pull, reading, registry, schedule
from sync import settings as environment
from sync.opening import Demand, open_runs
from sync.store import connections, credentials, database, dispatch, schema
from sync.store.database import now, read, write
from sync.vault import vault

LOCAL = "127.0.0.0/8"


class World:
    """One installation; `engine` is its database, `sent` the messages under way."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self.sent: deque[tuple[int, str]] = deque()

    def connect(
        self,
        connector: str,
        config: dict[str, Any],
        secrets: dict[str, str] | None = None,
        name: str = "",
        **values: Any,
    ) -> int:
        """A new connection; its id."""
        with write() as connection:
            credential = credentials.create(connection, connector, secrets) if secrets else None
            row = {"state": "active", "parallel": 4, "owner": "the tests", **values}
            statement = insert(Connection).values(
                name=name or connector,
                connector=connector,
                config=config,
                credential_id=credential,
                created_at=now(),
                updated_at=now(),
                **row,
            )
            account = connection.execute(statement.returning(Connection.id)).scalar_one()
        for stream in registry.load(connector).streams_for(config):
            schema.ensure(self.engine, connector, stream)
        return int(account)

    def open(self, account: int, **demand: Any) -> list[int]:
        """Open runs as a person would."""
        with write() as connection:
            clock = connection.execute(select(now())).scalar_one()
            row = connections.get(connection, account)
            return open_runs(connection, row, Demand(**{"cause": "test", "lane": "interactive", **demand}), clock)

    def ring(self) -> int:
        with write() as connection:
            rung = dispatch.ring(connection, 1000)
        self.sent.extend(rung)
        return len(rung)

    def deliver(self) -> bool:
        """Deliver the oldest message; False = there is none."""
        if not self.sent:
            return False
        unit, _ = self.sent.popleft()
        pull.slice_(unit)
        return True

    def settle(self, most: int = 2000) -> None:
        """Ring and deliver until nothing is due now."""
        for _ in range(most):
            self.ring()
            if not self.deliver():
                return
        raise AssertionError(f"still busy after {most} messages: {self.rows('slices')[-3:]}")

    def hasten(self) -> None:
        """Time passes: what waits for a retry or a quota is due now, and unanswered messages count as lost."""
        self.execute(
            "UPDATE slices SET due_at = began_at, rung_at = NULL WHERE state IN ('ready', 'deferred') "
            "AND began_at IS NOT NULL"
        )

    def sync(self, account: int, **demand: Any) -> list[RowMapping]:
        """Open runs, work until nothing is due, and return the runs."""
        opened = self.open(account, **demand)
        self.settle()
        return [row for row in self.rows("runs") if row["id"] in opened]

    def rows(self, table: str, where: str = "1 = 1") -> list[RowMapping]:
        with read() as connection:
            order = "id" if table not in ("checkpoints", "drift", "sightings") and "_" not in table else "1"
            found = connection.execute(text(f"SELECT * FROM {table} WHERE {where} ORDER BY {order}"))
            return list(found.mappings().all())

    def execute(self, statement: str, **values: Any) -> int:
        with write() as connection:
            return connection.execute(text(statement), values).rowcount


@contextmanager
def installation(environ: Mapping[str, str], patch: pytest.MonkeyPatch) -> Iterator[World]:
    """This process on an installation whose processes run beside it, with this environment."""
    for name, value in environ.items():
        patch.setenv(name, value)
    forget()
    Base.metadata.create_all(database.engine())
    try:
        yield World(database.engine())
    finally:
        database.engine().dispose()
        forget()


@contextmanager
def installed(url: str, home: Path, redis: str, patch: pytest.MonkeyPatch) -> Iterator[World]:
    """This process as an installation on this database, with nothing left over from another."""
    environ = {"DATABASE_URL": url, "REDIS_URL": redis, "TIDELOCK_HOME": str(home), "TIDELOCK_ALLOW_PRIVATE": LOCAL}
    with installation(environ, patch) as world:
        patch.setattr(pull, "send", world.sent.extend)
        patch.setattr(schedule, "send", world.sent.extend)
        patch.setattr(pull, "follow", _at_once)
        patch.setattr(reading, "SPAN", 0.0)  # every page lands by itself, so that a test can stop between two
        yield world


def _at_once(waiting: list[int]) -> None:
    for run in waiting:
        pull.plan(run)


def forget() -> None:
    """What this process remembers of its settings."""
    environment.settings.cache_clear()
    database.forget()
    doors.limits.cache_clear()
    vault.cache_clear()  # the key is in the home folder


def planted(patch: pytest.MonkeyPatch, name: str, connector: Connector) -> None:
    """Let the registry, and all who load from it, know a connector that only this test has."""
    original = registry.load

    def load(wanted: str) -> Connector:
        return connector if wanted == name else original(wanted)

    for module in [module for at, module in sys.modules.items() if at.startswith("sync.")]:
        if getattr(module, "load", None) is original:
            patch.setattr(module, "load", load)
