"""The journey of subscriptions: what a connection wants delivered, and what its vendor delivers, are made the same.

    person ─┐
    tick   ─┴▶ turn ─▶ list ─▶ match ─▶ create | update | renew | replace ─▶ secret + row ─▶ remove the rest
                                 │ it does not deliver
                                 └▶ gap ─▶ catch up

People and the tick set out here; `tending` has the turn, `matching` decides, `subscriber` does it.
"""

import time
from datetime import timedelta
from typing import Any

import structlog
from kombu.exceptions import OperationalError as BrokerError
from sqlalchemy import Row

from connectors import TidelockError
from sync.catching_up import catch_up
from sync.log import Complaints
from sync.store import connections, subscriptions
from sync.store.database import glance, read
from sync.subscriber import KEEP, Done, Pause, Subscriber
from sync.tending import tend, turn

log = structlog.get_logger()
MOST = 50  # connections of one look
_complaints = Complaints()


def sync(account: Row[Any], *, dry_run: bool = False, pause: Pause = time.sleep) -> Done:
    """Make the vendor match; the same again changes nothing."""
    work = Subscriber(account, pause=pause)
    if dry_run:
        return work.planned()
    with turn(work, {"do": "sync", **_unfinished(account)}):
        done = work.do()
    done.runs = catch_up(account)
    return done


def rotate(account: Row[Any], keep: timedelta = KEEP, *, value: str = "", pause: Pause = time.sleep) -> Done:
    """Sign with another secret from now on (`value`, or one that is chosen); the old one stays valid for `keep`.

    A rotation of which nobody knows whether it reached the vendor is brought to its end instead.
    """
    work = Subscriber(account, keep=keep, pause=pause)
    with turn(work, {"do": "sync", **_unfinished(account)}):
        if value or not work.turn.data.get("rotate"):
            work.begin_rotation(value)
        return work.do()


def remove(account: Row[Any]) -> Done:
    """Be delivered to no more."""
    work = Subscriber(account)
    with turn(work, {"do": "remove"}):
        return work.do()


def _unfinished(account: Row[Any]) -> dict[str, Any]:
    """What the last one that had the turn left to be done."""
    with read() as connection:
        rows = subscriptions.listed(connection, account.id)
    rotates = any(row.data.get("rotate") for row in rows if row.remote == subscriptions.TURN)
    return {"rotate": True} if rotates else {}


def look() -> None:
    """What time brings about: have workers look at the subscriptions that are due, and make up for gaps that are over.
    No vendor is asked here, so that no clock waits for one."""
    with glance() as connection:
        due = subscriptions.due(connection, MOST)
    _send(due)
    with glance() as connection:
        gaps = connections.several(connection, subscriptions.gaps(connection, MOST))
    for account in gaps.values():
        _catch_up(account)


def _send(due: list[int]) -> None:
    for account in due:
        try:
            tend.apply_async((account,), queue="schedule")
        except (BrokerError, OSError) as error:
            log.warning("not rung", connection=account, reason=f"{type(error).__name__}: {error}")
            return  # it is due still


def _catch_up(account: Row[Any]) -> None:
    """One that can't stops no other."""
    try:
        opened = catch_up(account)
    except Exception as error:  # noqa: BLE001 - a connector may raise anything
        reason = str(error) if isinstance(error, TidelockError) else f"{type(error).__name__}: {error}"
        _complaints.wrong(log, "gap", reason, connection=account.name)
    else:
        _complaints.well(log, "gap", connection=account.name)
        if opened:
            log.info("gap", connection=account.name, runs=opened)
