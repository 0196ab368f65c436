"""Catching up: what was not delivered is pulled.

A gap begins when a subscription is found disabled, expired or gone, or when a connection is paused, whose deliveries
are then refused. It is closed in the transaction that opens the runs which make up for it: they are rows, and what
becomes of them is seen as with all runs. A connector with an event list reads that; the streams that no event list
covers are read in full, since nothing else tells what was deleted meanwhile.
"""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

import structlog
from sqlalchemy import Connection, Row, select

from connectors import Stream
from models import Run
from sync.lists import FEED, ROWS, streams
from sync.opening import Demand, open_together
from sync.pull import send
from sync.registry import load
from sync.settings import settings
from sync.store import checkpoints, connections, dispatch, subscriptions
from sync.store.database import now, write
from sync.store.runs import OPEN
from sync.tables import prepare

log = structlog.get_logger()
CAUSE = "deliveries were missed"
_runs = Run.__table__


def missed(account: Row[Any], since: datetime) -> list[int]:
    """Deliveries to this connection were refused since then: make up for them, where it is delivered to at all; the
    ids of the runs that were opened."""
    if load(account.connector).webhook_for(account.config) is None:
        return []
    with write() as connection:
        if not subscriptions.is_delivered_to(connection, account.id):
            return []
        subscriptions.open_gap(connection, account.id, since)
    return catch_up(account)


def catch_up(account: Row[Any]) -> list[int]:
    """Open what makes up for the connection's gap, and ring for it; the ids of the runs. None are opened where there is
    no gap, or while runs are under way and no schedule would read on after them: then the gap stays, for later."""
    prepare(account)
    with write() as connection:
        opened = _opened(connection, account)
        rung = dispatch.ring(connection, settings().in_flight) if opened else []
    _hint(rung)
    return opened


def _hint(rung: list[tuple[int, str]]) -> None:
    """A broker that is away undoes nothing: the tick rings again."""
    try:
        send(rung)
    except Exception as error:  # noqa: BLE001 - whatever a broker may say
        log.warning("not rung", units=len(rung), reason=f"{type(error).__name__}: {error}")


def _opened(connection: Connection, account: Row[Any]) -> list[int]:
    if subscriptions.gap(connection, account.id) is None:
        return []
    pulled = [one for one in _streams(account) if one.pulled]
    if not pulled:
        log.error("gap", connection=account.name, reason="what was delivered meanwhile is lost: no stream is pulled")
    under_way = _under_way(connection, account.id)
    scheduled = bool(connections.schedules(connection, account.id))
    if under_way and not scheduled:
        return []
    opened = _open(connection, account, pulled)
    _outdate(connection, account, pulled, under_way)
    subscriptions.close_gap(connection, account.id)
    return opened


def _open(connection: Connection, account: Row[Any], pulled: Iterable[Stream]) -> list[int]:
    clock: datetime = connection.execute(select(now())).scalar_one()
    covered = _covered(account)
    told = [one.name for one in pulled if one.name in covered]
    others = [one.name for one in pulled if one.name not in covered]
    demands = [Demand(cause=CAUSE, select=told)] if told else []
    demands += [Demand(cause=CAUSE, select=others, full=True)] if others else []
    opened, errors = open_together(connection, [(account, one) for one in demands], clock)
    for error in errors.values():
        raise error
    return opened


def _outdate(
    connection: Connection, account: Row[Any], pulled: Iterable[Stream], under_way: set[tuple[str, str]]
) -> None:
    """A list that is being read was begun too early: its next run, by the schedule, reads it in full. An event list
    is read on from where it was left, whoever does it."""
    covered = _covered(account)
    for stream in pulled:
        if (stream.name, ROWS) in under_way and stream.name not in covered:
            checkpoints.outdate(connection, account.id, stream.name)


def _under_way(connection: Connection, account: int) -> set[tuple[str, str]]:
    query = select(_runs.c.stream, _runs.c.list).where(
        _runs.c.connection_id == account, _runs.c.state.in_(OPEN), _runs.c.exclusive, _runs.c.list.in_((ROWS, FEED))
    )
    return {(row.stream, row.list) for row in connection.execute(query)}


def _streams(account: Row[Any]) -> tuple[Stream, ...]:
    return streams(load(account.connector), account.config, account.streams)


def _covered(account: Row[Any]) -> frozenset[str]:
    feed = load(account.connector).feed
    return frozenset(feed.streams) if feed else frozenset()
