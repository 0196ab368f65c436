"""Dispatch: which due slices are worth a message now.

A message is a hint, so it may be lost or doubled. A slice is rung again when nobody came: after 15 seconds, then
twice as long each time, at most 15 minutes. The least recently served connection goes first. A connection has at
most `parallel` slices on their way, over all lanes together; where that is more than one, backfill leaves one of
them to the other lanes. A lane has at most `in_flight`.
"""

from collections.abc import Collection, Sequence

from sqlalchemy import Connection, and_, bindparam, case, exists, func, null, or_, select, text, update

from models import Connection as Account
from models import Slice
from models.slice import UNFINISHED, WAITING
from sync.limiter.lanes import RESERVES
from sync.states import State
from sync.store.database import now

slices = Slice.__table__
accounts = Account.__table__

_waiting = text(f"slices.{WAITING}")
_patience = case(
    *((slices.c.rings == rings, 15.0 * 2 ** (rings - 1)) for rings in range(1, 7)), else_=900.0
)  # seconds after which a message counts as lost
_due = and_(_waiting, slices.c.due_at <= now())
_silent = or_(slices.c.rung_at.is_(None), slices.c.rung_at < now(0 - _patience))
WANTED = and_(_due, _silent)
"""Due, and nobody was told, or nobody came."""
_under_way = or_(slices.c.state == State.RUNNING.value, and_(_waiting, ~_silent))

_counted = and_(text(f"slices.{UNFINISHED}"), _under_way)
_in_lane = select(func.count()).select_from(slices).where(_counted, slices.c.lane == bindparam("in_lane"))
_busy = (
    select(slices.c.connection_id, func.count().label("slices"))
    .where(_counted)
    .group_by(slices.c.connection_id)
    .subquery()
)
_places = case(
    (accounts.c.parallel > bindparam("kept"), accounts.c.parallel - bindparam("kept")), else_=accounts.c.parallel
)  # for slices of this lane, where all others are empty

_turn = func.row_number().over(partition_by=slices.c.connection_id, order_by=(slices.c.due_at, slices.c.id))
_ranked = (
    select(
        slices.c.id,
        slices.c.connection_id,
        accounts.c.served_at,
        _turn.label("turn"),
        (_places - func.coalesce(_busy.c.slices, 0)).label("room"),
    )
    .join(accounts, accounts.c.id == slices.c.connection_id)
    .outerjoin(_busy, _busy.c.connection_id == slices.c.connection_id)
    .where(WANTED, accounts.c.state == "active", slices.c.lane == bindparam("in_lane"))
    .subquery()
)
_candidates = (
    select(_ranked)
    .where(_ranked.c.turn <= _ranked.c.room)
    .order_by(_ranked.c.turn, _ranked.c.served_at.asc().nulls_first(), _ranked.c.id)
    .limit(bindparam("most"))
)
_ring = (
    update(slices)
    .where(slices.c.id.in_(bindparam("units", expanding=True)), _waiting, _silent)
    .values(rung_at=now(), rings=slices.c.rings + 1)
    .returning(slices.c.id)
)  # where two clocks chose the same slice, only one of them finds it silent
_serve = update(accounts).where(accounts.c.id == bindparam("account")).values(served_at=now())
_ORDER = tuple(RESERVES)
_ask_turns = select(slices.c.lane).where(WANTED).distinct()


def ring(connection: Connection, in_flight: int) -> list[tuple[int, str]]:
    """Mark the due slices that get a message now; (id, lane) of each. Send the messages after the commit."""
    lanes = sorted(connection.execute(_ask_turns).scalars(), key=_ORDER.index)
    return [(unit, lane) for lane in lanes for unit in _marked(connection, lane, in_flight)]


def _marked(connection: Connection, lane: str, in_flight: int) -> list[int]:
    room = in_flight - int(connection.execute(_in_lane, {"in_lane": lane}).scalar_one())
    if room <= 0:
        return []
    rows = connection.execute(_candidates, {"in_lane": lane, "kept": _kept(lane), "most": room}).all()
    rung = ring_these(connection, [row.id for row in rows])
    served = {row.connection_id for row in rows if row.id in rung}
    if served:
        connection.execute(_serve, [{"account": account} for account in sorted(served)])
    return [row.id for row in rows if row.id in rung]


def _kept(lane: str) -> int:
    """The places of a connection that the lane leaves to those before it."""
    return int(lane == _ORDER[-1])


def ring_these(connection: Connection, units: Sequence[int]) -> frozenset[int]:
    """Mark slices that are about to get a message; those that nobody else has marked meanwhile."""
    return frozenset(connection.execute(_ring, {"units": list(units)}).scalars()) if units else frozenset()


_unanswered = select(
    exists().where(
        _due,
        slices.c.rings >= 2,
        slices.c.rung_at < now(-30.0),
        slices.c.lane.in_(bindparam("lanes", expanding=True)),
        accounts.c.id == slices.c.connection_id,
        accounts.c.state == "active",
    )
)


def unanswered(connection: Connection, lanes: Collection[str]) -> bool:
    """Whether a due slice of these lanes was rung for more than once, the last time half a minute ago."""
    return bool(connection.execute(_unanswered, {"lanes": sorted(lanes)}).scalar())


_unsent = (
    update(slices)
    .where(slices.c.id.in_(bindparam("units", expanding=True)), _waiting, slices.c.rings > 0)
    .values(rung_at=null(), rings=slices.c.rings - 1)
)


def unring(connection: Connection, units: Sequence[int]) -> None:
    """The messages about these slices could not be sent: they are rung for again at the next look."""
    if units:
        connection.execute(_unsent, {"units": list(units)})


_untold = and_(_due, slices.c.rung_at.is_(None), accounts.c.id == slices.c.connection_id, accounts.c.state == "active")
_others = select(
    or_(
        exists().where(_untold, slices.c.lane == bindparam("in_lane"), slices.c.connection_id != bindparam("account")),
        exists().where(
            _untold,
            slices.c.connection_id == bindparam("account"),
            slices.c.lane.in_(bindparam("before", expanding=True)),
        ),
    )
)
_room = (
    select(_places - func.count(slices.c.id))
    .select_from(accounts)
    .outerjoin(slices, and_(slices.c.connection_id == accounts.c.id, _counted))
    .where(accounts.c.id == bindparam("account"), accounts.c.state == "active")
    .group_by(accounts.c.parallel)
)
_next = (
    select(slices.c.id)
    .where(
        _due,
        slices.c.rung_at.is_(None),
        slices.c.connection_id == bindparam("account"),
        slices.c.lane == bindparam("in_lane"),
    )
    .order_by(slices.c.due_at, slices.c.id)
    .limit(bindparam("most"))
)


def refill(connection: Connection, account: int, lane: str) -> list[tuple[int, str]]:
    """A slice of this connection has just let go: ring for its next one, without waiting for the tick.

    While others are waiting in the lane, or more urgent work of its own, it is their turn, and the tick sees to it.
    """
    whose = {"account": account, "in_lane": lane}
    if connection.execute(_others, {**whose, "before": _ORDER[: _ORDER.index(lane)]}).scalar():
        return []
    room = connection.execute(_room, {"account": account, "kept": _kept(lane)}).scalar() or 0
    units = list(connection.execute(_next, {**whose, "most": room}).scalars()) if room > 0 else []
    rung = ring_these(connection, units)
    return [(unit, lane) for unit in units if unit in rung]
