"""The limiter: asks all limits of a call in one step, and tells them what the vendor answered."""

import logging
import secrets
import time
from collections.abc import Callable, Mapping
from functools import partial

from redis import Redis
from redis.exceptions import RedisError

from connectors import Concurrency, ContractError, Limit
from connectors._limits import scoped
from sync.limiter.connection import unavailable
from sync.limiter.feedback import SILENT, Lookup, said
from sync.limiter.grant import Grant, Wait
from sync.limiter.lanes import RESERVES, reserve
from sync.limiter.refusal import people, refusal
from sync.limiter.script import BLOCK, LOWER, PENALISE, TAKE, Script
from sync.limiter.terms import arguments, key, units

_log = logging.getLogger(__name__)
_REASON_LENGTH = 300


class Limiter:
    """Limits shared by all who have the same Redis and prefix; never sleeps.

    `names` are the names of the call that scopes may use: credential, connection, app, stream and so on.
    `clock` (epoch seconds) stands in for Redis's own, in tests only.

    `acquire` fails closed: LimiterUnavailable where Redis can't be asked. What is told after a call
    (`release`, `observe`, `penalise`, `block`) never fails: an answer in hand is worth more than the hint
    that came with it, so a Redis that is gone is logged.
    """

    def __init__(
        self,
        client: Redis,
        prefix: str,
        *,
        reserves: Mapping[str, float] = RESERVES,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._client = client
        self._prefix = prefix
        self._reserves = reserves
        self._clock = clock

    def acquire(
        self, limits: tuple[Limit, ...], names: Mapping[str, str], lane: str, cost: int = 1, *, calls: int = 1
    ) -> Grant | Wait:
        """Takes from all limits, or from none and says when and why.

        cost    what the call counts for in limits of the unit "cost"
        calls   how many calls are asked for at once: for Blocks, and not with Concurrency, which counts one
        ContractError: a scope's name that the call lacks, a lane that is none, a cost below 1.
        """
        if cost < 1 or calls < 1:
            raise ContractError(f"cost ({cost}) and calls ({calls}) must be at least 1")
        pairs = tuple(names.items())
        held = tuple(self._held(limit, pairs) for limit in limits if isinstance(limit, Concurrency))
        name = secrets.token_hex(8) if held else ""
        keys = [*self._keys(limits, pairs), *self._blocks(limits, names)]
        values = [*self._values(limits, cost, calls), reserve(lane, self._reserves), name]
        try:
            answer = TAKE.run(self._client, keys, values)
        except RedisError as error:
            raise unavailable(error) from error
        if answer[0] == 1:
            return Grant(at=answer[1] / 1e6, name=name, held=held)
        return refusal(answer, limits, names, lane)

    def release(self, grant: Grant) -> None:
        """Ends the call in the limits that count calls in flight; twice is once."""
        for held in grant.held:
            self._tell(partial(self._client.zrem, held, grant.name))

    def observe(
        self,
        limits: tuple[Limit, ...],
        names: Mapping[str, str],
        headers: Mapping[str, str],
        body_lookup: Lookup | None = None,
        now: float | None = None,
        *,
        cost: int = 1,
    ) -> None:
        """Brings the limits down to what an answer's headers and body say; never above what is declared.

        now     epoch seconds, by the vendor's clock where the answer gives it
        cost    the cost that the call was granted with
        Only a Cost limit follows the vendor up as well, since it is the vendor's to tell.
        """
        moment = self._now() if now is None else now
        heard = [(limit, said(limit, headers, body_lookup, moment, cost)) for limit in limits]
        loud = [(limit, one) for limit, one in heard if one != SILENT]
        if loud:
            values = [value for _, one in loud for value in one.arguments()]
            self._run(LOWER, tuple(limit for limit, _ in loud), names, values)

    def penalise(self, limits: tuple[Limit, ...], names: Mapping[str, str]) -> None:
        """Halves the limits after a refusal that names none and no time; 5 % come back each minute."""
        self._run(PENALISE, limits, names, [])

    def block(self, scope: str, names: Mapping[str, str], until: float, reason: str) -> None:
        """Refuses every call of a scope until then (epoch seconds), as the vendor said; never shortened.

        A scope of one name, such as "{credential}", stops every call that has this name. A scope of several
        stops the calls that have a limit of that very scope.
        """
        text = f"{people(scope, names)} is blocked by the vendor: {reason}"[:_REASON_LENGTH]
        keys = [self._born, self._block(scoped(scope, names))]
        values: list[str | float] = [self._time(), 0, (until - self._now()) * 1e6, text]
        self._tell(partial(BLOCK.run, self._client, keys, values))

    def unblock(self, scope: str, names: Mapping[str, str]) -> None:
        """Takes a block back, for a person who knows better."""
        self._tell(partial(self._client.delete, self._block(scoped(scope, names))))

    def _run(
        self, script: Script, limits: tuple[Limit, ...], names: Mapping[str, str], more: list[str | float]
    ) -> None:
        keys = self._keys(limits, tuple(names.items()))
        self._tell(partial(script.run, self._client, keys, [*self._values(limits, 1, 1), *more]))

    def _tell(self, word: Callable[[], object]) -> None:
        try:
            word()
        except RedisError as error:
            _log.warning("%s", unavailable(error))

    @property
    def _born(self) -> str:
        return f"{self._prefix}:born"

    def _block(self, scope: str) -> str:
        return f"{self._prefix}:blocked:{scope}"

    def _held(self, limit: Limit, pairs: tuple[tuple[str, str], ...]) -> str:
        return f"{self._prefix}:{key(limit, pairs)}:held"

    def _keys(self, limits: tuple[Limit, ...], pairs: tuple[tuple[str, str], ...]) -> list[str]:
        return [self._born, *(f"{self._prefix}:{key(limit, pairs)}" for limit in limits)]

    def _blocks(self, limits: tuple[Limit, ...], names: Mapping[str, str]) -> list[str]:
        alone = [f"{name}={value}" for name, value in names.items()]
        several = [scoped(limit.scope, names) for limit in limits]
        return [self._block(scope) for scope in dict.fromkeys([*alone, *several])]

    def _values(self, limits: tuple[Limit, ...], cost: int, calls: int) -> list[str | float]:
        values: list[str | float] = [self._time(), len(limits)]
        for limit in limits:
            values += arguments(limit, units(limit, cost, calls), self._now())
        return values

    def _now(self) -> float:
        return self._clock() if self._clock else time.time()

    def _time(self) -> str:
        return f"{self._clock() * 1e6:.0f}" if self._clock else ""
