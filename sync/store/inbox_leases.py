"""The leases of inboxes: one worker at a time drains what was delivered to a connection, by the database's clock.

A connection's deliveries stay in order that way, and those of several connections are drained beside each other.
Every transaction of a drain checks its fence; where the inbox has moved on, `LostLeaseError` rolls all of it back.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, case, exists, literal, null, or_, select, text, update

from models import Connection as Account
from models import Delivery, Inbox
from models.delivery import OPEN
from sync.store.database import now
from sync.store.leases import LostLeaseError

_inboxes = Inbox.__table__
_deliveries = Delivery.__table__
_accounts = Account.__table__

_open = text(f"deliveries.{OPEN}")
_active = exists().where(_accounts.c.id == _inboxes.c.connection_id, _accounts.c.state == "active")
_due = and_(
    _active,
    exists().where(_deliveries.c.connection_id == _inboxes.c.connection_id, _open, _deliveries.c.due_at <= now()),
)
_this = _inboxes.c.connection_id == bindparam("account")
_held = and_(_this, _inboxes.c.fence == bindparam("held_fence"), _inboxes.c.lease_until.is_not(None))
_free = _inboxes.c.lease_until.is_(None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A claimed inbox. clock: the database's time of the claim. wary: whoever held it before did not end well, and
    one of the deliveries may be why."""

    account: int
    fence: int
    clock: datetime
    wary: bool


_before = select(_inboxes.c.worker).where(_this, _free)
_claim = (
    update(_inboxes)
    .where(_this, _free, _due)
    .values(
        fence=_inboxes.c.fence + 1,
        lease_until=now(bindparam("lease")),
        worker=bindparam("by"),
        rings=0,
        updated_at=now(),
    )
    .returning(_inboxes.c.fence, now().label("clock"))
)
_renew = update(_inboxes).where(_held).values(lease_until=now(bindparam("lease")))
_is_held = select(_inboxes.c.fence).where(_held)
_is_wanted = select(exists().where(_this, _free, _due))
_let_go: dict[str, Any] = {"lease_until": null(), "updated_at": now()}
_release = update(_inboxes).where(_held, ~_due).values(**_let_go, worker=null(), rung_at=null(), rings=0)
_leave = (
    update(_inboxes)
    .where(_held)
    .values(
        **_let_go,
        worker=case((bindparam("wary"), _inboxes.c.worker), else_=null()),
        rung_at=case((bindparam("rung"), now()), else_=null()),
        rings=bindparam("times"),
    )
)
_expired = (
    update(_inboxes)
    .where(_inboxes.c.lease_until < now())
    .values(**_let_go, fence=_inboxes.c.fence + 1, rung_at=null(), rings=0)
    .returning(_inboxes.c.connection_id, _inboxes.c.worker)
)


def claim(connection: Connection, account: int, worker: str, lease: float) -> Lease | None:
    """Take the inbox of an active connection if something in it is due and nobody holds it; None = there is nothing
    to do."""
    before = connection.execute(_before, {"account": account}).scalar()
    row = connection.execute(_claim, {"account": account, "by": worker, "lease": lease}).one_or_none()
    if row is None:
        return None
    return Lease(account=account, fence=row.fence, clock=row.clock, wary=before is not None)


def renew(connection: Connection, account: int, fence: int, lease: float) -> None:
    """Keep an inbox for as long again. In a transaction of its work: whoever lost it writes nothing, and until its
    end nobody else changes what waits for what in this inbox."""
    if connection.execute(_renew, {"account": account, "held_fence": fence, "lease": lease}).rowcount != 1:
        raise _lost(account, fence)


def release(connection: Connection, account: int, fence: int) -> bool:
    """Let go, unless something is due by now, which one statement decides; then False: go on. After the commit ask
    `is_wanted`: who came for what arrived in that very moment was sent away."""
    held = {"account": account, "held_fence": fence}
    if connection.execute(_release, held).rowcount == 1:
        return True
    if connection.execute(_is_held, held).one_or_none() is None:
        raise _lost(account, fence)
    return False


def is_wanted(connection: Connection, account: int) -> bool:
    """Whether something is due that nobody is at."""
    return bool(connection.execute(_is_wanted, {"account": account}).scalar())


def leave(connection: Connection, account: int, fence: int, *, rung: bool = False, wary: bool = False) -> None:
    """Let go whatever is due. rung: a message about it is on its way, or it is too early for one; wary: something
    went wrong that one of the deliveries may have caused."""
    held = {"account": account, "held_fence": fence, "rung": rung, "times": int(rung), "wary": wary}
    if connection.execute(_leave, held).rowcount != 1:
        raise _lost(account, fence)


def take_back(connection: Connection) -> list[Row[Any]]:
    """Take back what silent workers held: connection_id and worker of each."""
    return list(connection.execute(_expired))


def _lost(account: int, fence: int) -> LostLeaseError:
    return LostLeaseError(f"the inbox of connection {account} is no longer held under fence {fence}")


# who is to be told


_patience = case(
    *((_inboxes.c.rings == rings, 15.0 * 2 ** (rings - 1)) for rings in range(1, 7)), else_=900.0
)  # seconds after which a message counts as lost, as that about a slice
_silent = or_(_inboxes.c.rung_at.is_(None), _inboxes.c.rung_at < now(literal(0.0) - _patience))
EXPIRED = _inboxes.c.lease_until < now()
"""Held by a silent worker."""
WANTED = and_(_free, _silent, _due)
"""Something is due, nobody holds it, and nobody was told, or nobody came."""

_wanted = select(_inboxes.c.connection_id).where(WANTED).order_by(_inboxes.c.rung_at.asc().nulls_first())
_ring = (
    update(_inboxes)
    .where(_inboxes.c.connection_id.in_(bindparam("accounts", expanding=True)), _free, _silent)
    .values(rung_at=now(), rings=_inboxes.c.rings + 1)
    .returning(_inboxes.c.connection_id)
)
_unsent = (
    update(_inboxes)
    .where(_inboxes.c.connection_id.in_(bindparam("accounts", expanding=True)), _free, _inboxes.c.rings > 0)
    .values(rung_at=null(), rings=_inboxes.c.rings - 1)
)


def wanted(connection: Connection, most: int) -> list[int]:
    """The connections whose inboxes are worth a message now."""
    return list(connection.execute(_wanted.limit(most)).scalars())


def ring(connection: Connection, accounts: Collection[int]) -> list[int]:
    """Mark inboxes that are about to get a message; those that nobody else has marked meanwhile."""
    return sorted(connection.execute(_ring, {"accounts": sorted(accounts)}).scalars()) if accounts else []


def unring(connection: Connection, accounts: Collection[int]) -> None:
    """The messages could not be sent: they are rung for again at the next look."""
    if accounts:
        connection.execute(_unsent, {"accounts": sorted(accounts)})


LOOK = (exists().where(EXPIRED), exists().where(WANTED))
"""Whether there is any of each, for `sync.store.agenda`."""
