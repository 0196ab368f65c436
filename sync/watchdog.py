"""The watchdog of a worker: ends one that is alive, has room, and takes nothing.

A worker whose broker went away while all its slots were busy may wait for ever for messages that it will never be
given. From outside it looks well. What tells is the database: slices were rung for more than once, and nobody came.
The supervisor starts the worker again.
"""

import os
import threading
import time
from typing import Any

import structlog
from celery.signals import worker_ready
from celery.worker import state
from sqlalchemy.exc import DBAPIError

from sync.app import LANES
from sync.store import dispatch
from sync.store.database import glance

log = structlog.get_logger()

LOOK_SECONDS = 15.0
SILENT_SECONDS = 60.0  # without a task begun, while there is room and work
HUNG = 75  # exit code: try again


class Watchdog:
    """Judges one worker by what it began; `look` is called every LOOK_SECONDS."""

    def __init__(self, slots: int, lanes: frozenset[str]) -> None:
        self.slots = slots
        self.lanes = lanes
        self.began = -1
        self.moved_at = time.monotonic()

    def look(self, began: int, busy: int) -> bool:
        """Whether the worker hangs, by how many tasks it ever began and how many slots are busy."""
        clock = time.monotonic()
        if began != self.began or busy >= self.slots:
            self.began, self.moved_at = began, clock
        if clock - self.moved_at < SILENT_SECONDS:
            return False
        try:
            with glance() as connection:
                return dispatch.unanswered(connection, self.lanes)
        except DBAPIError:
            return False  # without the database nobody can work: that is not this worker's fault


@worker_ready.connect
def _watch(sender: Any = None, **_: Any) -> None:
    lanes = frozenset(sender.app.amqp.queues.consume_from) & frozenset(LANES)
    dog = Watchdog(sender.pool.num_processes, lanes)
    threading.Thread(target=_guard, args=(dog,), name="watchdog", daemon=True).start()


def _guard(dog: Watchdog) -> None:
    pause = threading.Event()
    while not pause.wait(LOOK_SECONDS):
        if dog.look(sum(state.total_count.values()), len(state.active_requests)):
            log.critical("this worker takes no work though there is some: it ends itself", lanes=sorted(dog.lanes))
            os._exit(HUNG)
