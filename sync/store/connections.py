"""Connections: read by every journey, stopped by the engine, paused by people."""

from collections.abc import Collection, Iterable
from difflib import get_close_matches
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, select, update

from connectors import TidelockError
from models import Connection as Account
from models import Credential, Schedule
from sync.store.database import insert_into, now

accounts = Account.__table__
_schedules = Schedule.__table__
_credentials = Credential.__table__

_one = select(accounts).where(accounts.c.id == bindparam("account"))
_several = select(accounts).where(accounts.c.id.in_(bindparam("accounts", expanding=True)))
_state = (
    update(accounts)
    .where(accounts.c.id == bindparam("account"))
    .values(state=bindparam("becomes"), reason=bindparam("why"), updated_at=now())
)
_unless_paused = _state.where(accounts.c.state != "paused")


class UnknownConnection(TidelockError):
    """No connection has this name; the text names those that are near."""


def get(connection: Connection, account: int) -> Row[Any]:
    """The connection with this id."""
    return connection.execute(_one, {"account": account}).one()


def several(connection: Connection, accounts: Collection[int]) -> dict[int, Row[Any]]:
    """The connections with these ids, by id."""
    return {row.id: row for row in connection.execute(_several, {"accounts": sorted(accounts)})}


def find(connection: Connection, name: str) -> Row[Any] | None:
    """The connection with this name, if there is one."""
    return connection.execute(select(accounts).where(accounts.c.name == name)).one_or_none()


def by_name(connection: Connection, name: str) -> Row[Any]:
    """The connection with this name, else UnknownConnection."""
    row = find(connection, name)
    if row is None:
        near = get_close_matches(name, [one.name for one in every(connection)])
        meant = f" Did you mean {' or '.join(near)}?" if near else ""
        raise UnknownConnection(f"there is no connection {name!r}.{meant} `tidelock status` lists them all")
    return row


def every(connection: Connection) -> list[Row[Any]]:
    """All connections by name."""
    return list(connection.execute(select(accounts).order_by(accounts.c.name)))


def create(connection: Connection, **values: Any) -> int:
    """A new connection, active; its id."""
    statement = insert_into(connection, accounts).values(created_at=now(), updated_at=now(), **values)
    return int(connection.execute(statement.returning(accounts.c.id)).scalar_one())


def change(connection: Connection, account: int, **values: Any) -> None:
    """Other values for some of its columns."""
    statement = update(accounts).where(accounts.c.id == account).values(**values, updated_at=now())
    connection.execute(statement)


def remove(connection: Connection, account: Row[Any]) -> None:
    """Remove a connection with its runs, checkpoints, schedules and rejects, and its secrets where no other
    connection uses them. Its records are tables of their own and stay."""
    connection.execute(delete(accounts).where(accounts.c.id == account.id))
    if account.credential_id is not None and not sharing(connection, account.credential_id):
        connection.execute(delete(_credentials).where(_credentials.c.id == account.credential_id))


def sharing(connection: Connection, credential: int) -> int:
    """How many connections use these secrets."""
    statement = select(func.count()).select_from(accounts).where(accounts.c.credential_id == credential)
    return int(connection.execute(statement).scalar_one())


def set_state(connection: Connection, account: int, state: str, reason: str | None) -> None:
    """active, paused (by a person) or failing (by the engine), and why. What a person paused stays paused, whatever
    fails meanwhile."""
    statement = _unless_paused if state == "failing" else _state
    connection.execute(statement, {"account": account, "becomes": state, "why": reason})


def schedules(connection: Connection, account: int) -> dict[str, Row[Any]]:
    """The schedules of a connection by stream; "" is that of every stream without one of its own."""
    statement = select(_schedules).where(_schedules.c.connection_id == account).order_by(_schedules.c.stream)
    return {row.stream: row for row in connection.execute(statement)}


def set_schedule(connection: Connection, account: int, stream: str, **values: Any) -> None:
    """Set or change one schedule: rule, zone, jitter, next_due_at."""
    key = {"connection_id": account, "stream": stream}
    statement = insert_into(connection, _schedules).values(**key, **values)
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def due_now(connection: Connection, account: int) -> int:
    """Make all its schedules due at once; how many there are."""
    statement = update(_schedules).where(_schedules.c.connection_id == account).values(next_due_at=now())
    return connection.execute(statement).rowcount


def drop_schedules(connection: Connection, account: int, streams: Iterable[str]) -> None:
    """Take schedules away."""
    connection.execute(
        delete(_schedules).where(_schedules.c.connection_id == account, _schedules.c.stream.in_(list(streams)))
    )
