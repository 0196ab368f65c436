"""Inboxes: the signing secrets of a connection, sealed under its id.

A secret that is changed may stay valid for a while beside the new one, so that what the vendor signed before, or signs
until it has changed over, is believed too. It is the database's clock that ends it.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select, update

from models import Inbox
from sync.store.database import insert_into, now
from sync.vault import Vault, vault

_inboxes: Any = Inbox.__table__
Secrets = Mapping[str, tuple[str, ...]]
"""By name, all that are valid now: one, or two while it changes."""


def ensure(connection: Connection, connection_id: int) -> None:
    """The connection has an inbox from now on."""
    statement = insert_into(connection, _inboxes).values(connection_id=connection_id, updated_at=now())
    connection.execute(statement.on_conflict_do_nothing(index_elements=["connection_id"]))


def secrets_of(connection: Connection, connection_id: int, *, keys: Vault | None = None) -> Secrets:
    """The secrets in the clear: not for messages, logs or pages. VaultError where they don't open."""
    row = _row(connection, connection_id)
    return opened(connection_id, row.sealed, row.clock, keys=keys) if row else {}


def opened(connection_id: int, sealed: bytes | None, clock: datetime, *, keys: Vault | None = None) -> Secrets:
    """As `secrets_of`, from the column and the database's time."""
    held = _open(connection_id, sealed, keys)
    return {name: _valid(secret, clock) for name, secret in held.items()}


def set_secret(
    connection: Connection,
    connection_id: int,
    name: str,
    value: str,
    keep: timedelta | None = None,
    *,
    keys: Vault | None = None,
) -> None:
    """A new secret. The one before stays valid for `keep`; the same one again changes nothing."""
    row = _locked(connection, connection_id)
    held = _open(connection_id, row.sealed, keys)
    before = held.get(name, {}).get("value")
    if value == before:
        return
    secret = {"value": value}
    if before and keep:
        secret |= {"before": before, "until": (row.clock + keep).isoformat()}
    _save(connection, connection_id, {**held, name: secret}, keys)


def capture(connection: Connection, connection_id: int, name: str, value: str, *, keys: Vault | None = None) -> bool:
    """Take a secret that came by itself; False = there is one already, which stays."""
    row = _locked(connection, connection_id)
    held = _open(connection_id, row.sealed, keys)
    if name in held:
        return False
    _save(connection, connection_id, {**held, name: {"value": value}}, keys)
    return True


def seal_anew(connection: Connection, connection_id: int, *, keys: Vault | None = None) -> bool:
    """Seal the secrets with the ring's first key; False = they already are, or there are none."""
    ring = keys or vault()
    row = _locked(connection, connection_id)
    if not row.sealed or ring.current(row.sealed):
        return False
    _save(connection, connection_id, _open(connection_id, row.sealed, ring), ring)
    return True


def _valid(secret: Mapping[str, str], clock: datetime) -> tuple[str, ...]:
    if "before" in secret and clock < datetime.fromisoformat(secret["until"]):
        return secret["value"], secret["before"]
    return (secret["value"],)


def _row(connection: Connection, connection_id: int, *, lock: bool = False) -> Row[Any] | None:
    statement = select(_inboxes.c.sealed, now().label("clock")).where(_inboxes.c.connection_id == connection_id)
    return connection.execute(statement.with_for_update() if lock else statement).one_or_none()


def _locked(connection: Connection, connection_id: int) -> Row[Any]:
    """The row, until the end of the transaction: of two who set a secret the second sees the first one's."""
    ensure(connection, connection_id)
    row = _row(connection, connection_id, lock=True)
    if row is None:
        raise LookupError(f"connection {connection_id} is gone")
    return row


def _open(connection_id: int, sealed: bytes | None, keys: Vault | None) -> dict[str, dict[str, str]]:
    held: Any = (keys or vault()).open(_identity(connection_id), sealed) if sealed else {}
    return dict(held)


def _save(connection: Connection, connection_id: int, secrets: Mapping[str, Any], keys: Vault | None) -> None:
    sealed = (keys or vault()).seal(_identity(connection_id), secrets)
    statement = update(_inboxes).where(_inboxes.c.connection_id == connection_id)
    connection.execute(statement.values(sealed=sealed, updated_at=now()))


def _identity(connection_id: int) -> str:
    return f"inbox:{connection_id}"
