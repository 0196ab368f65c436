"""Subscriptions: what vendors were last known to have, whose turn it is to put that right, and gaps.

Beside the rows of a connection's subscriptions there may be one without an id of the vendor's, its turn. It is written
before the vendor is asked for anything, so that of two who set out only one goes, and what was interrupted is due
again. It goes when all is as it should be.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, null, select, update

from connectors import Subscription, TidelockError
from models import Connection as Account
from models import Inbox
from models import Subscription as Stored
from sync.store import inboxes
from sync.store.database import insert_into, now

TURN = ""
"""The `remote` of a turn."""

ACTIVE, DISABLED, FAILING, PENDING = "active", "disabled", "failing", "pending"
HOLD = 300.0  # seconds after which a turn may be taken again: longer than a worker lives on

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_table: Any = Stored.__table__
_inboxes: Any = Inbox.__table__
_accounts: Any = Account.__table__


class LostTurnError(TidelockError):
    """Somebody else has taken the turn meanwhile; what was about to be written is not written."""


def of(connection: Connection, account: int) -> Sequence[Row[Any]]:
    """The subscriptions of a connection, the oldest first; its turn is none."""
    query = select(_table).where(_table.c.connection_id == account, _table.c.remote != TURN)
    return connection.execute(query.order_by(_table.c.id)).all()


def listed(connection: Connection, account: int | None = None) -> Sequence[Row[Any]]:
    """All rows, turns too, with the connection's name as `connection`."""
    query = select(_table, _accounts.c.name.label("connection")).join(
        _accounts, _accounts.c.id == _table.c.connection_id
    )
    if account is not None:
        query = query.where(_table.c.connection_id == account)
    return connection.execute(query.order_by(_accounts.c.name, _table.c.id)).all()


def due(connection: Connection, most: int, account: int | None = None) -> list[int]:
    """The active connections at whose subscriptions somebody should look, the longest due first."""
    query = (
        select(_table.c.connection_id)
        .join(_accounts, _accounts.c.id == _table.c.connection_id)
        .where(_table.c.due_at <= now(), _accounts.c.state == "active")
        .group_by(_table.c.connection_id)
        .order_by(func.min(_table.c.due_at))
        .limit(most)
    )
    if account is not None:
        query = query.where(_table.c.connection_id == account)
    return list(connection.execute(query).scalars())


def gaps(connection: Connection, most: int) -> list[int]:
    """The active connections that have a gap which is over: whatever they subscribed to delivers again."""
    broken = exists().where(_table.c.connection_id == _accounts.c.id, _table.c.state != ACTIVE)
    query = (
        select(_accounts.c.id)
        .join(_inboxes, _inboxes.c.connection_id == _accounts.c.id)
        .where(_inboxes.c.gap_at.is_not(None), _accounts.c.state == "active", ~broken)
    )
    return list(connection.execute(query.limit(most)).scalars())


# --- turns


def take_turn(connection: Connection, account: int, url: str, data: Mapping[str, Any] | None = None) -> Row[Any] | None:
    """The turn is ours for HOLD seconds; None = somebody is at it. Its `data` say what is to be done: as given, or as
    the last one left it."""
    mine = (_table.c.connection_id == account, _table.c.remote == TURN)
    held = connection.execute(select(_table, now().label("clock")).where(*mine).with_for_update()).one_or_none()
    if held is not None and held.state == PENDING and held.due_at > held.clock:
        return None
    begun = {"state": PENDING, "due_at": now(HOLD), "updated_at": now()}
    if held is None:
        fresh = {"url": url, "events": [], "attempts": 0, "data": dict(data or {}), "created_at": now(), **begun}
        statement = insert_into(connection, _table).values(connection_id=account, remote=TURN, **fresh)
        unique = ["connection_id", "remote"]
        return connection.execute(
            statement.on_conflict_do_nothing(index_elements=unique).returning(_table)
        ).one_or_none()
    left = dict(held.data) if data is None else dict(data)
    return connection.execute(update(_table).where(*mine).values(data=left, **begun).returning(_table)).one()


def keep_turn(connection: Connection, turn: Row[Any]) -> None:
    """The turn is still ours, for as long again; else LostTurnError, which undoes what this transaction wrote."""
    _demand(connection, update(_table).where(*_ours(turn)).values(due_at=now(HOLD)))


def mark_turn(connection: Connection, turn: Row[Any], data: Mapping[str, Any]) -> Row[Any]:
    """As `keep_turn`; whoever takes the turn after us has this to do. The turn as it is now."""
    _demand(connection, update(_table).where(*_ours(turn)).values(due_at=now(HOLD), data=dict(data)))
    return connection.execute(select(_table).where(_table.c.id == turn.id)).one()


def end_turn(connection: Connection, turn: Row[Any]) -> None:
    """All is as it should be."""
    _demand(connection, delete(_table).where(*_ours(turn)))


def put_off(connection: Connection, turn: Row[Any], wait: float, reason: str, *, failed: bool = True) -> None:
    """It did not work, or can't just now: again in so many seconds. A failure shows at all of the connection's rows."""
    values: dict[str, Any] = {"state": FAILING, "reason": reason, "due_at": now(wait)}
    if failed:
        values["attempts"] = _table.c.attempts + 1
    _demand(connection, update(_table).where(*_ours(turn)).values(**values))
    if failed:
        rest = (_table.c.connection_id == turn.connection_id, _table.c.remote != TURN)
        connection.execute(update(_table).where(*rest).values(state=FAILING, reason=reason))


def _ours(turn: Row[Any]) -> tuple[Any, ...]:
    """Its time tells a turn from later ones."""
    return _table.c.id == turn.id, _table.c.updated_at == turn.updated_at


def _demand(connection: Connection, statement: Any) -> None:
    if connection.execute(statement).rowcount != 1:
        raise LostTurnError("somebody else works at these subscriptions by now")


# --- what the vendor has


def save(connection: Connection, account: int, one: Subscription, url: str, wait: float) -> None:
    """The vendor has it, and it delivers; look again in so many seconds. `url` is without secrets."""
    values = {
        "url": url,
        "events": list(one.events),
        "state": ACTIVE,
        "reason": null(),
        "expires_at": moment(one.expires_at),
        "due_at": now(wait),
        "attempts": 0,
        "data": dict(one.data),
        "updated_at": now(),
    }
    key = {"connection_id": account, "remote": one.id}
    statement = insert_into(connection, _table).values(**key, created_at=now(), **values)
    connection.execute(statement.on_conflict_do_update(index_elements=list(key), set_=values))


def disabled(connection: Connection, account: int, reason: str) -> None:
    """None of what we had delivers any more."""
    which = (_table.c.connection_id == account, _table.c.remote != TURN)
    connection.execute(update(_table).where(*which).values(state=DISABLED, reason=reason))


def forget(connection: Connection, account: int, keep: Collection[str] = ()) -> None:
    """The vendor has no others than these."""
    gone = _table.c.remote.not_in([TURN, *keep])
    connection.execute(delete(_table).where(_table.c.connection_id == account, gone))


def moment(at: int | None) -> datetime | None:
    """Microseconds since 1970 as a time."""
    return None if at is None else _EPOCH + timedelta(microseconds=at)


# --- gaps


def is_delivered_to(connection: Connection, account: int) -> bool:
    """Whether it has an inbox: a secret was set, a subscription made, or something came."""
    query = select(exists().where(_inboxes.c.connection_id == account))
    return bool(connection.execute(query).scalar())


def open_gap(connection: Connection, account: int, since: datetime | None = None) -> None:
    """Deliveries may be missing since then (now); an earlier gap that is open still begins where it began."""
    inboxes.ensure(connection, account)
    which = (_inboxes.c.connection_id == account, _inboxes.c.gap_at.is_(None))
    connection.execute(update(_inboxes).where(*which).values(gap_at=now() if since is None else since))


def gap(connection: Connection, account: int) -> datetime | None:
    """Since when deliveries may be missing; the row is locked until this transaction ends."""
    query = select(_inboxes.c.gap_at).where(_inboxes.c.connection_id == account).with_for_update()
    return connection.execute(query).scalar_one_or_none()


def close_gap(connection: Connection, account: int) -> None:
    """What may be missing is being read."""
    connection.execute(update(_inboxes).where(_inboxes.c.connection_id == account).values(gap_at=null()))
