"""The bell: wakes up a worker for what was just stored. It rings after the answer, and nobody waits for it.

A connection is rung for at once, then at most every 50 ms, and always once more after the last of its deliveries. While
the broker is away it is tried once a second; the tick finds what was stored, even if no message ever gets through.
"""

import threading
import time
from collections.abc import Callable, Collection
from typing import Any

import structlog

from sync.app import app
from sync.log import Complaints

log = structlog.get_logger()

PAUSE = 0.05  # seconds between two messages about one connection
RETREAT = 1.0  # seconds for which a broker that is away is not asked again


def send(connection_id: int) -> None:
    """Send one message, by the task's name: whoever rings needn't know the journey."""
    app.send_task("receive.drain", (connection_id,), queue="interactive")


class Bell:
    """Rings from a thread of its own."""

    def __init__(
        self, send: Callable[[int], None] = send, *, pause: float = PAUSE, retreat: float = RETREAT, logger: Any = log
    ) -> None:
        self._send, self._pause, self._retreat, self._log = send, pause, retreat, logger
        self._turn = threading.Condition()
        self._wanted: set[int] = set()
        self._rung: dict[int, float] = {}
        self._stopping = False
        self._complaints = Complaints()
        self._thread = threading.Thread(target=self._run, name="bell", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def ring(self, accounts: Collection[int]) -> None:
        """Something of these connections was stored. Returns at once."""
        with self._turn:
            self._wanted.update(accounts)
            self._turn.notify()

    def stop(self, patience: float = 5.0) -> None:
        """Send what is wanted, and end; a broker that hangs is not waited for."""
        with self._turn:
            self._stopping = True
            self._turn.notify()
        if self._thread.is_alive():
            self._thread.join(patience)

    def _run(self) -> None:
        while accounts := self._next():
            for place, account in enumerate(accounts):
                if not self._sent(account):
                    self._keep(accounts[place:])
                    break

    def _next(self) -> list[int]:
        """The connections whose turn it is, when there are any; none = it is over."""
        with self._turn:
            while not (due := self._due(time.monotonic())) and not self._stopping:
                self._turn.wait(self._wait(time.monotonic()))
            self._wanted.difference_update(due)
            return due

    def _due(self, clock: float) -> list[int]:
        """In the end everything is."""
        if not self._wanted:
            return []
        self._rung = {account: at for account, at in self._rung.items() if at > clock - self._pause}
        return [account for account in self._wanted if self._stopping or account not in self._rung]

    def _wait(self, clock: float) -> float | None:
        """Seconds until a turn comes; None = nothing is wanted."""
        turns = [self._rung.get(account, 0.0) + self._pause - clock for account in self._wanted]
        return max(0.0, min(turns)) if turns else None

    def _sent(self, account: int) -> bool:
        self._rung[account] = time.monotonic()
        try:
            self._send(account)
        except Exception as error:  # noqa: BLE001 - nobody waits for the message, and the tick rings too
            self._complaints.wrong(self._log, "bell", f"{type(error).__name__}: {error}")
            return False
        self._complaints.well(self._log, "bell")
        return True

    def _keep(self, accounts: Collection[int]) -> None:
        """For later, unless it is over."""
        with self._turn:
            self._turn.wait_for(lambda: self._stopping, self._retreat)
            if self._stopping:
                self._wanted.clear()
            else:
                self._wanted.update(accounts)
