"""Heartbeat: what this process holds stays its own while it waits for a slow vendor.

One thread a process renews the leases of what is in hand, each under its fence. A process that is stopped or
killed renews nothing and is overtaken; one that hangs is ended by the worker's hard time limit.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from sync.settings import settings
from sync.store import leases
from sync.store.database import write

log = structlog.get_logger()


class Heartbeat:
    """Renews the leases of what is held, three times in a lease's length. `renew` is given the unit, its fence and
    the length."""

    def __init__(self, renew: Callable[[Connection, int, int, float], None] = leases.renew) -> None:
        self._renewed = renew
        self._held: dict[int, int] = {}
        self._thread: threading.Thread | None = None

    @contextmanager
    def holding(self, unit: int, fence: int) -> Iterator[None]:
        """Renew this unit's lease until the end of the block."""
        self._held[unit] = fence
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)
            self._thread.start()
        try:
            yield
        finally:
            self._held.pop(unit, None)

    def _beat(self) -> None:
        pause = threading.Event()
        while not pause.wait(settings().lease_seconds / 3):
            for unit, fence in list(self._held.items()):
                self._renew(unit, fence)

    def _renew(self, unit: int, fence: int) -> None:
        try:
            with write() as connection:
                self._renewed(connection, unit, fence, settings().lease_seconds)
        except leases.LostLeaseError:
            self._held.pop(unit, None)
        except DBAPIError as error:
            log.warning("lease not renewed", unit=unit, reason=str(error.orig))


heartbeat = Heartbeat()
