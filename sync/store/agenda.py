"""The agenda: one look, without a lock, at what there is for the tick to do."""

from typing import NamedTuple

from sqlalchemy import Connection, exists, select, text

from models import Connection as Account
from models import Run, Schedule, Slice
from models.slice import RUNNING
from sync.store import dispatch, inbox_leases
from sync.store.database import now
from sync.store.runs import PLANNABLE

_slices = Slice.__table__
_schedules = Schedule.__table__
_accounts = Account.__table__


class Agenda(NamedTuple):
    """expired leases, due schedules, waiting runs whose parent is closed, slices that want a message; inboxes whose
    lease is expired, and those that want a message."""

    expired: bool
    due: bool
    orphaned: bool
    silent: bool
    abandoned: bool
    delivered: bool


_look = select(
    exists().where(text(f"slices.{RUNNING}"), _slices.c.lease_until < now()),
    exists().where(
        _schedules.c.next_due_at <= now(),
        _accounts.c.id == _schedules.c.connection_id,
        _accounts.c.state == "active",
    ),
    PLANNABLE.with_only_columns(Run.id).order_by(None).exists(),
    exists().where(dispatch.WANTED, _accounts.c.id == _slices.c.connection_id, _accounts.c.state == "active"),
    *inbox_leases.LOOK,
)


def look(connection: Connection) -> Agenda:
    """What there is to do now."""
    return Agenda(*map(bool, connection.execute(_look).one()))
