"""Credentials in the database: sealed secrets, the turn to renew a token, and what the vendor blocks.

No function here is called with a network request under way in its transaction. Who renews a token has a lease
(a time in the row), and a new token only counts if the version that it was made from still stands.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Engine, Row, Update, or_, select, update

from connectors import Json, TidelockError
from models import Credential
from sync.store.database import engine, glance, insert_into, now, write
from sync.vault import Vault, vault

ALL = "*"  # in `blocked`: every limit

_table: Any = Credential.__table__


class UnknownCredential(TidelockError):
    """There is no credential with this id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A credential as it stands in the database.

    version  rises with every change of the secrets
    left     seconds until the access token ends, by the database's clock; None = it doesn't end
    refused  the vendor's words when it refused to renew these secrets for good
    blocked  limit name, or ALL -> seconds for which the vendor still refuses it
    """

    version: int
    secrets: Mapping[str, Json] = field(repr=False)
    left: float | None
    refused: str | None
    blocked: Mapping[str, float] = field(default_factory=dict)


def create(connection: Connection, connector: str, secrets: Mapping[str, Json], *, keys: Vault | None = None) -> int:
    """A new credential; its id. The secrets are sealed under the id, so the row is there before they are."""
    values = {"connector": connector, "sealed": b"", "blocked": {}, "created_at": now(), "updated_at": now()}
    statement = insert_into(connection, _table).values(**values).returning(_table.c.id)
    made = int(connection.execute(statement).scalar_one())
    sealed = (keys or vault()).seal(_identity(made), secrets)
    connection.execute(update(_table).where(_table.c.id == made).values(sealed=sealed))
    return made


def load(id: int, *, target: Engine | None = None, keys: Vault | None = None) -> Stored:
    """The credential as it stands; UnknownCredential, or VaultError where its secrets don't open."""
    with glance(target) as connection:
        row = _row(connection, id)
    left = (row.expires_at - row.moment).total_seconds() if row.expires_at else None
    opened = (keys or vault()).open(_identity(id), row.sealed)
    blocked = {name: (until - row.moment).total_seconds() for name, until in _standing(row).items()}
    return Stored(version=row.version, secrets=opened, left=left, refused=row.refused, blocked=blocked)


def secrets(id: int, *, target: Engine | None = None, keys: Vault | None = None) -> Mapping[str, Json]:
    """The secrets in the clear: not for messages, logs or pages."""
    return load(id, target=target, keys=keys).secrets


def replace(connection: Connection, id: int, secrets: Mapping[str, Json], *, keys: Vault | None = None) -> None:
    """Other secrets, given by a person: what was refused or blocked before is forgotten."""
    statement = _new(id, (keys or vault()).seal(_identity(id), secrets)).values(expires_at=None, blocked={})
    if not connection.execute(statement).rowcount:
        raise _unknown(id)


def take_turn(id: int, version: int, seconds: float, *, target: Engine | None = None) -> datetime | None:
    """Until when the caller is the one to renew this version; None = another one is, or the version is
    gone."""
    free = or_(_table.c.renewed_by.is_(None), _table.c.renewed_by < now())
    statement = _at(id, version).where(free).values(renewed_by=now(seconds)).returning(_table.c.renewed_by)
    with write(target) as connection:
        return connection.execute(statement).scalar_one_or_none()


def end_turn(
    id: int,
    version: int,
    turn: datetime,
    pause: float,
    *,
    refused: str | None = None,
    target: Engine | None = None,
) -> None:
    """The renewal failed: nobody tries again for `pause` seconds, or ever, where the vendor refused it for
    good.

    A turn that was over, and is another worker's now, is left alone.
    """
    statement = _at(id, version).where(_table.c.renewed_by == turn).values(renewed_by=now(pause), refused=refused)
    with write(target) as connection:
        connection.execute(statement)


def save_renewed(
    id: int,
    version: int,
    secrets: Mapping[str, Json],
    lifetime: float | None,
    *,
    target: Engine | None = None,
    keys: Vault | None = None,
) -> bool:
    """Stores a renewed token durably, before anybody uses it; False = another version stands there now, use
    that.

    `lifetime` is how many seconds the access token lives from now on.
    """
    ends = None if lifetime is None else now(lifetime)
    statement = _new(id, (keys or vault()).seal(_identity(id), secrets)).where(_table.c.version == version)
    with durable(target) as connection:
        return bool(connection.execute(statement.values(expires_at=ends)).rowcount)


def set_blocked(id: int, limit: str | None, seconds: float, *, target: Engine | None = None) -> None:
    """The vendor refuses a limit (None = all of them) for so long: kept here, since Redis may lose it."""
    with write(target) as connection:
        row = _row(connection, id, lock=True)
        standing = _standing(row)
        name, until = limit or ALL, row.moment + timedelta(seconds=seconds)
        standing[name] = max(until, standing.get(name, until))
        kept = {name: moment.isoformat() for name, moment in standing.items()}
        connection.execute(update(_table).where(_table.c.id == id).values(blocked=kept))


def seal_anew(id: int, *, target: Engine | None = None, keys: Vault | None = None) -> bool:
    """Seals the secrets with the ring's first key; False = they already are."""
    ring = keys or vault()
    with write(target) as connection:
        row = _row(connection, id, lock=True)
        if ring.current(row.sealed):
            return False
        sealed = ring.seal(_identity(id), ring.open(_identity(id), row.sealed))
        connection.execute(update(_table).where(_table.c.id == id).values(sealed=sealed))
        return True


@contextmanager
def durable(target: Engine | None = None) -> Iterator[Connection]:
    """A transaction whose commit waits for the disk, whatever the database is set to."""
    with (target or engine()).connect().execution_options(writes=True) as connection:
        if connection.dialect.name == "sqlite":
            with _full(connection), connection.begin():
                yield connection
        else:
            with connection.begin():
                connection.exec_driver_sql("SET LOCAL synchronous_commit = on")
                yield connection


@contextmanager
def _full(connection: Connection) -> Iterator[None]:
    driver: Any = connection.connection.driver_connection
    driver.execute("PRAGMA synchronous=FULL")  # has no effect inside a transaction, so before it begins
    try:
        yield
    finally:
        driver.execute("PRAGMA synchronous=NORMAL")


def _identity(id: int) -> str:
    return f"credential:{id}"


def _row(connection: Connection, id: int, *, lock: bool = False) -> Row[Any]:
    statement = select(_table, now().label("moment")).where(_table.c.id == id)
    row = connection.execute(statement.with_for_update() if lock else statement).one_or_none()
    if row is None:
        raise _unknown(id)
    return row


def _unknown(id: int) -> UnknownCredential:
    return UnknownCredential(f"there is no credential {id}: connect the account again")


def _at(id: int, version: int) -> Update:
    return update(_table).where(_table.c.id == id, _table.c.version == version)


def _new(id: int, sealed: bytes) -> Update:
    changed = {"sealed": sealed, "version": _table.c.version + 1, "renewed_by": None, "refused": None}
    return update(_table).where(_table.c.id == id).values(**changed, updated_at=now())


def _standing(row: Row[Any]) -> dict[str, datetime]:
    """The blocks that are not over yet."""
    blocks = ((name, datetime.fromisoformat(text)) for name, text in (row.blocked or {}).items())
    return {name: until for name, until in blocks if until > row.moment}
