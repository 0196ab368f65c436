"""Tending: a connection's subscriptions are looked at in its turn, by a person's command or by a worker.

The turn is a row that is written before the vendor is asked for anything: whatever happens to the process, the row is
due again, and what was begun is found by listing.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from celery import shared_task

from connectors import Outcome, TidelockError
from sync.door import OutcomeError
from sync.matching import Act
from sync.store import connections, subscriptions
from sync.store.database import glance, write
from sync.subscriber import Subscriber

log = structlog.get_logger()

FIRST, LONGEST = 60.0, 3600.0  # seconds between two tries
_LATER = frozenset({Outcome.RETRY, Outcome.RATE_LIMITED, Outcome.AMBIGUOUS})


class Busy(TidelockError):
    """Somebody else is at work at the connection's subscriptions."""


@shared_task(name="subscriptions.tend")
def tend(account: int) -> None:
    """Look at a connection's subscriptions now: what is wrong is put right, else it says why not and is due again."""
    with glance() as connection:
        row = connections.several(connection, [account]).get(account)
        if row is None or not subscriptions.due(connection, 1, account):
            return
    try:
        work = Subscriber(row, pause=lambda _: None)
        with turn(work, None):
            done = work.do()
    except (Busy, subscriptions.LostTurnError) as error:
        log.debug("nothing to do", reason=str(error))
    except TidelockError as error:
        log.warning("subscription", connection=row.name, reason=str(error))
    else:
        if done.act != Act.KEEP or done.removed:
            log.info("subscription", connection=row.name, done=done.act, why=done.why, gap=done.gap)


@contextmanager
def turn(work: Subscriber, data: dict[str, Any] | None) -> Iterator[None]:
    """The connection's turn, given back as done, or put off with the reason; Busy where it is somebody else's."""
    with write() as connection:
        taken = subscriptions.take_turn(connection, work.account.id, work.url, data)
        known = bool(subscriptions.of(connection, work.account.id))
    if taken is None:
        raise Busy(f"somebody is at work at the subscriptions of {work.account.name}: try again in a few minutes")
    work.turn = taken
    try:
        yield
    except subscriptions.LostTurnError:
        raise
    except Exception as error:
        _put_off(work, error, known=known)
        raise
    with write() as connection:
        subscriptions.end_turn(connection, work.turn)


def _put_off(work: Subscriber, error: Exception, *, known: bool) -> None:
    """It is tried again later, unless it was refused and there is nothing yet that could be out of order."""
    told = error if isinstance(error, OutcomeError) else None
    with write() as connection:
        if not known and (told is None or told.outcome not in _LATER):
            subscriptions.end_turn(connection, work.turn)
            return
        wait = (told.wait if told else None) or min(FIRST * 2.0**work.turn.attempts, LONGEST)
        limited = told is not None and told.outcome is Outcome.RATE_LIMITED
        subscriptions.put_off(connection, work.turn, wait, _reason(error), failed=not limited)


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, TidelockError) else f"{type(error).__name__}: {error}"
