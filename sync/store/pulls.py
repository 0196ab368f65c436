"""Pulls that an event asks for: is one under way that began after it, and what must be forgotten for a new one."""

from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, null, select, update

from models import Checkpoint, Run

_runs: Any = Run.__table__
_checkpoints: Any = Checkpoint.__table__
_newest = (
    select(_runs.c.opened_at)
    .where(
        _runs.c.connection_id == bindparam("account"),
        _runs.c.stream == bindparam("of_stream"),
        _runs.c.list == "rows",
    )
    .order_by(_runs.c.id.desc())
    .limit(1)
)


def newest(connection: Connection, account: int, stream: str) -> datetime | None:
    """When the last run of a stream was opened."""
    found: datetime | None = connection.execute(_newest, {"account": account, "of_stream": stream}).scalar()
    return found


def stir(connection: Connection, account: int, stream: str, parent: str | None) -> None:
    """The next run pulls this partition (None = every one), though its parent may not show that it moved."""
    mine = [_checkpoints.c.connection_id == account, _checkpoints.c.stream == stream, _checkpoints.c.list == "rows"]
    mine += [_checkpoints.c.partition == parent] if parent is not None else []
    connection.execute(update(_checkpoints).where(*mine).values(moved=null()))
