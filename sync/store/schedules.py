"""Schedules: due ones are claimed by the tick that advances them, so any number of ticks may run."""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update

from models import Connection as Account
from models import Schedule
from sync.store.database import now

schedules = Schedule.__table__
_accounts = Account.__table__

_due = (
    select(schedules, now().label("clock"))
    .join(_accounts, _accounts.c.id == schedules.c.connection_id)
    .where(schedules.c.next_due_at <= now(), _accounts.c.state == "active")
    .order_by(schedules.c.next_due_at)
    .limit(bindparam("most"))
)
_locked = _due.with_for_update(skip_locked=True, of=schedules)
_advance = (
    update(schedules)
    .where(schedules.c.id == bindparam("one"))
    .values(next_due_at=bindparam("next_at"), last_due_at=bindparam("last_at"))
)
_postpone = (
    update(schedules)
    .where(schedules.c.connection_id.in_(bindparam("accounts", expanding=True)), schedules.c.next_due_at <= now())
    .values(next_due_at=now(bindparam("wait")))
)
_names = select(schedules.c.connection_id, schedules.c.stream).where(
    schedules.c.connection_id.in_(bindparam("accounts", expanding=True)), schedules.c.stream != ""
)


def due_accounts(connection: Connection, most: int) -> Sequence[int]:
    """The connections that the next `due` will speak of; nothing is locked."""
    rows = connection.execute(_due, {"most": most})
    return list(dict.fromkeys(row.connection_id for row in rows))


def due(connection: Connection, most: int) -> Sequence[Row[Any]]:
    """Due schedules of active connections, the longest due first; locked until this transaction ends.

    Each row is the schedule with `clock`, the database's time.
    """
    return connection.execute(_locked, {"most": most}).all()


def advance(connection: Connection, served: Sequence[tuple[Row[Any], datetime]]) -> None:
    """The due times of these schedules were served: move on, each to its next."""
    values = [{"one": row.id, "next_at": after, "last_at": row.next_due_at} for row, after in served]
    if values:
        connection.execute(_advance, values)


def postpone(connection: Connection, accounts: Collection[int], wait: float) -> None:
    """What was due of these connections could not be served now: it is due again in so many seconds."""
    if accounts:
        connection.execute(_postpone, {"accounts": sorted(accounts), "wait": wait})


def own_streams(connection: Connection, accounts: Collection[int]) -> dict[int, frozenset[str]]:
    """The streams that have a schedule of their own, by connection."""
    found: dict[int, set[str]] = {account: set() for account in accounts}
    for row in connection.execute(_names, {"accounts": sorted(accounts)}):
        found[row.connection_id].add(row.stream)
    return {account: frozenset(names) for account, names in found.items()}
