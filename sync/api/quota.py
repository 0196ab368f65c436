"""Quota: what the limits say before an attempt, and what they are told after it."""

import time
from collections.abc import Iterable, Mapping
from functools import partial
from string import Formatter

from connectors import Concurrency, Connector, ContractError, Json, Limit, Outcome, Reply
from sync.api.exchange import Answer
from sync.api.patience import Patience
from sync.door import Account, Means, OutcomeError
from sync.limiter import Grant, LimiterUnavailable
from sync.store import credentials

UNAVAILABLE = 5.0  # seconds after which limits that can't be asked are asked again


class Quota:
    """The limits of one call's name, for one account; without a limiter nothing is limited."""

    def __init__(
        self,
        connector_name: str,
        connector: Connector,
        account: Account,
        means: Means,
        blocked: Mapping[str, float],
    ) -> None:
        limiter = means.limiter
        self._connector = connector
        self._account = account
        self._limits = connector.limits_for(account.limit) if limiter else ()
        self._limiter = limiter
        self._acquire = (means.blocks or limiter).acquire if limiter else None
        self._names = _names(connector_name, connector, account)
        self._engine = means.engine
        self._until = {name: time.monotonic() + seconds for name, seconds in blocked.items()}

    def admit(self, patience: Patience) -> Grant | None:
        """Leave for one request; OutcomeError with the reason and the seconds where it would take too
        long."""
        self._refuse_blocked()
        if self._acquire is None or not self._limits:
            return None
        while True:
            try:
                answer = self._acquire(self._limits, self._names, self._account.lane)
            except LimiterUnavailable as error:
                raise OutcomeError(Outcome.RATE_LIMITED, str(error), wait=UNAVAILABLE) from None
            if isinstance(answer, Grant):
                return answer
            if not patience.sleep(answer.seconds):
                why, name = answer.reason, self._account.limit
                raise OutcomeError(Outcome.RATE_LIMITED, why, wait=answer.seconds, scope=name)

    def done(self, grant: Grant | None) -> None:
        """The request has ended, however it ended."""
        if grant is not None and grant.held and self._limiter is not None:
            self._limiter.release(grant)

    def hear(self, answer: Answer, vendor_now: float) -> None:
        """What the answer says of the limits."""
        if self._limiter is not None and self._limits:
            self._limiter.observe(self._limits, self._names, answer.headers, partial(_said, answer), vendor_now)

    def spent(self, scope: str | None, seconds: float, why: str, *, stated: bool) -> None:
        """The vendor refuses: nobody asks again before that time, though Redis forgets or this process
        dies."""
        self._until[scope or credentials.ALL] = time.monotonic() + seconds
        if self._account.credential_id is not None:
            credentials.set_blocked(self._account.credential_id, scope, seconds, target=self._engine)
        if self._limiter is None:
            return
        limits = self._connector.limits_for(scope or self._account.limit)
        for one in _scopes(limits, everything=scope is None):
            self._limiter.block(one, self._names, time.time() + seconds, why)
        if not stated:
            self._limiter.penalise(limits, self._names)

    def _refuse_blocked(self) -> None:
        for name in (credentials.ALL, self._account.limit):
            left = self._until.get(name, 0.0) - time.monotonic()
            if left > 0:
                why = f"the vendor refuses more requests of {self._account.connection} for now"
                raise OutcomeError(
                    Outcome.RATE_LIMITED, why, wait=left, scope=None if name == credentials.ALL else name
                )


def _scopes(limits: Iterable[Limit], *, everything: bool) -> list[str]:
    """The scopes to block; what only counts calls in flight is not what was spent."""
    spent = [limit.scope for limit in limits if not isinstance(limit, Concurrency)]
    return list(dict.fromkeys([*(["{credential}"] if everything or not spent else []), *spent]))


def _names(connector_name: str, connector: Connector, account: Account) -> Mapping[str, str]:
    """What scopes may name: the account's own names, and those of its options that a scope asks for."""
    credential = account.credential_id
    names = {
        "app": connector_name,
        "connection": str(account.connection_id),
        "credential": str(credential) if credential is not None else f"of-connection-{account.connection_id}",
        "stream": account.stream,
    }
    asked = {
        name
        for limit_name in connector.limits
        for limit in connector.limits_for(limit_name)
        for _, name, _, _ in Formatter().parse(limit.scope)
        if name
    }
    return names | {name: str(account.config[name]) for name in asked - set(names) if name in account.config}


def _said(answer: Answer, path: str) -> Json:
    """The value at a dotted path of the body; None where it is no JSON, as an error page of a proxy."""
    try:
        return Reply(answer.status, answer.headers, answer.body, "", 0)[path]
    except ContractError:
        return None
