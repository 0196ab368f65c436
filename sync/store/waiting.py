"""Waiting: what was delivered and is not done, for people who look."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, func, select, text

from models import Connection as Account
from models import Delivery, Inbox
from models.delivery import OPEN
from sync.store.database import now

_deliveries: Any = Delivery.__table__
_inboxes: Any = Inbox.__table__
_accounts: Any = Account.__table__


def oldest(connection: Connection) -> dict[int, datetime]:
    """Since when the oldest delivery of each connection waits."""
    held = _deliveries.c
    query = select(held.connection_id, func.min(held.received_at).label("since")).where(text(f"deliveries.{OPEN}"))
    return {row.connection_id: row.since for row in connection.execute(query.group_by(held.connection_id))}


def due(connection: Connection) -> list[int]:
    """The active connections in whose inboxes something is due."""
    held = _deliveries.c
    query = (
        select(held.connection_id)
        .join(_accounts, _accounts.c.id == held.connection_id)
        .where(text(f"deliveries.{OPEN}"), held.due_at <= now(), _accounts.c.state == "active")
        .distinct()
    )
    return sorted(connection.execute(query).scalars())


def gaps(connection: Connection) -> dict[int, datetime]:
    """The connections to which deliveries may be missing, and since when."""
    query = select(_inboxes.c.connection_id, _inboxes.c.gap_at).where(_inboxes.c.gap_at.is_not(None))
    return {row.connection_id: row.gap_at for row in connection.execute(query)}
