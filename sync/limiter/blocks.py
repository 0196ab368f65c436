"""Blocks: a few calls at once, so that a fast limit costs no round trip for each."""

import math
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from threading import Lock

from connectors import FixedWindow, Limit, TokenBucket
from sync.limiter.grant import Grant, Wait
from sync.limiter.limiter import Limiter

LIFE = 0.1  # seconds after which what is left of a block is lost
SPAN = 0.05  # seconds of the rate that a block holds at most
PART = 0.05  # of the burst or the window that a block holds at most
MOST = 1000  # blocks that a process remembers


@dataclass(slots=True)
class _Block:
    grant: Grant
    left: int
    size: int
    ends: float


class Blocks:
    """A Limiter's `acquire` for one process (make it after the fork), with a store of granted calls.

    A block grows from 1 and doubles while it is used up within LIFE, to at most SPAN of the rate and PART of
    the burst or window: whoever calls seldom loses nothing, whoever calls often loses one block at his end.
    A stored call may be sent up to LIFE after it was counted, and may be that late to notice what stops it.
    Calls that cost more than 1, limits of calls in flight, intervals and told costs are never stored.
    """

    def __init__(self, limiter: Limiter, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._limiter = limiter
        self._clock = clock
        self._lock = Lock()
        self._blocks: dict[Hashable, _Block] = {}

    def acquire(self, limits: tuple[Limit, ...], names: Mapping[str, str], lane: str, cost: int = 1) -> Grant | Wait:
        """As Limiter.acquire."""
        most = block_size(limits) if cost == 1 else 1
        if most == 1:
            return self._limiter.acquire(limits, names, lane, cost)
        store = (limits, tuple(names.items()), lane)
        grant, size = self._stored(store, most)
        if grant:
            return grant
        answer = self._limiter.acquire(limits, names, lane, calls=size)
        if isinstance(answer, Wait) and size > 1:  # not for so many, perhaps for one
            size = 1
            answer = self._limiter.acquire(limits, names, lane)
        if isinstance(answer, Grant):
            self._keep(store, _Block(answer, size - 1, size, self._clock() + LIFE))
        return answer

    def _stored(self, store: Hashable, most: int) -> tuple[Grant | None, int]:
        """A call of the block, or the size of the next one."""
        with self._lock:
            block = self._blocks.get(store)
            if block is None or self._clock() >= block.ends:
                return None, 1
            if block.left == 0:
                return None, min(most, block.size * 2)
            block.left -= 1
            return block.grant, 0

    def _keep(self, store: Hashable, block: _Block) -> None:
        with self._lock:
            if len(self._blocks) >= MOST:
                self._blocks.clear()
            self._blocks[store] = block


def block_size(limits: tuple[Limit, ...]) -> int:
    """How many calls may be taken at once; 1 where that is never done."""
    return max(1, math.floor(min((_size(limit) for limit in limits), default=1)))


def _size(limit: Limit) -> float:
    match limit:
        case TokenBucket():
            return limit.share * min(SPAN * limit.limit / limit.per_seconds, PART * limit.burst)
        case FixedWindow():
            return limit.share * min(SPAN * limit.limit / limit.window_seconds, PART * limit.limit)
    return 1
