"""The vendor: accounts, and what every request goes through before and after it is served."""

import random
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sync.kit.vendor import faults, limits, routes, writes
from sync.kit.vendor.account import Account, UnknownAccount, UnknownRow
from sync.kit.vendor.auth import Auth, Gate
from sync.kit.vendor.collection import Collection, Fields, Key
from sync.kit.vendor.exchange import Answer, Refusal, Request
from sync.kit.vendor.faults import Fault, Plan
from sync.kit.vendor.limits import Limit, Limiter
from sync.kit.vendor.log import RequestLog
from sync.kit.vendor.oauth import OAuth, OAuthApp
from sync.kit.vendor.post import Posting, Postman
from sync.kit.vendor.times import SECOND, Clock

Fill = Callable[[Account, str], None]


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Seconds that every answer takes, and up to `jitter_s` more."""

    fixed_s: float = 0.0
    jitter_s: float = 0.0


class Vendor:
    """A pretended SaaS: serve it with `server.serve`, or ask it directly with `answer`.

    `fill(account, name)` furnishes an account when it is first touched; the main one is named "".
    Others live below `/accounts/<name>/`, if `accounts` (their collections) is given. Edits are delivered as
    webhooks to whoever subscribes, if `webhooks` says how.
    """

    def __init__(
        self,
        collections: Iterable[Collection],
        *,
        accounts: Iterable[Collection] | None = None,
        fill: Fill | None = None,
        auth: Auth | None = None,
        oauth: OAuthApp | None = None,
        limit: Limit | None = None,
        latency: Latency | None = None,
        plan: Iterable[Fault] = (),
        webhooks: Posting | None = None,
        seed: int = 0,
        clock: Clock | None = None,
        control_token: str = "control",
    ) -> None:
        self.clock = clock or Clock()
        self.log = RequestLog()
        self.oauth = OAuth(oauth or OAuthApp(), self.clock)
        self.gate = Gate(auth or Auth(scheme="none"), self.oauth)
        self.limiter = Limiter(limit or Limit(), self.clock)
        self.latency = latency or Latency()
        self.faults = Plan(plan, seed)
        self.control_token = control_token
        self.kept = writes.KeptAnswers()
        self.postman = Postman(webhooks, self.clock, seed) if webhooks else None
        self._withdrawn: dict[tuple[str, str], str] = {}
        self._shapes = {True: tuple(collections), False: None if accounts is None else tuple(accounts)}
        self._routes = {main: routes.Routes(shape or ()) for main, shape in self._shapes.items()}
        self._accounts: dict[str, Account] = {}
        self._fill = fill
        self._lock = threading.Lock()
        self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose

    # The vendor's own hands

    def account(self, name: str = "") -> Account:
        """An account, made and filled on first sight; raises UnknownAccount for a vendor with one only."""
        with self._lock:
            if name not in self._accounts:
                self._accounts[name] = self._opened(name)
            return self._accounts[name]

    def create(self, collection: str, key: Key | None, fields: Fields, **times: int) -> Key:
        """Make a row in the main account; gives its key."""
        return self.account().create(collection, key, fields, **times).key

    def update(self, collection: str, key: Key, fields: Fields, **times: int) -> None:
        """Edit a row of the main account."""
        self.account().update(collection, key, fields, **times)

    def delete(self, collection: str, key: Key, **times: int) -> None:
        """Delete a row of the main account, and its children."""
        self.account().delete(collection, key, **times)

    def truth(self, collection: str) -> Mapping[str, Fields]:
        """Every live row of the main account, by key as text."""
        rows: Mapping[str, Fields] = self.account().truth(collection)["rows"]
        return rows

    def withdraw(self, collection: str, how: str = "forbidden", account: str = "") -> None:
        """Take away a collection: it shows as `forbidden`, `missing` or `empty`; "" gives it back."""
        if how not in ("", *WITHDRAWN):
            raise ValueError(f"how must be one of {', '.join(WITHDRAWN)}, not {how!r}")
        self._withdrawn[account, collection] = how

    def stats(self) -> dict[str, Any]:
        """Counts since the start."""
        with self._lock:
            accounts = len(self._accounts)
        grants = len(self.oauth.grants)
        posted = {"webhooks": self.postman.stats()} if self.postman else {}
        return {**self.log.stats(), "accounts": accounts, "grants": grants, "peak": self.limiter.peak, **posted}

    def close(self) -> None:
        """Nothing is delivered any more."""
        if self.postman:
            self.postman.close()

    # What befalls a request

    def answer(self, request: Request) -> Answer:
        """Answer a request, in the time that it takes, and log it."""
        request.account, request.local = _split(request.path)
        request.credential = self.gate.credential(request)
        fault = self.faults.strike(request)
        with self.limiter.underway(request.credential) as room:
            answer = self._answer(request, fault) if room else self._crowded()
            # The simulated vendor is slow on purpose; this thread serves one caller only.
            time.sleep(self.latency.fixed_s + self._random.random() * self.latency.jitter_s + answer.hang_s)
        answer.headers["Date"] = self.clock.http_date()
        self.log.add(request, answer, self.clock.now() / SECOND)
        return answer

    def _crowded(self) -> Answer:
        return limits.too_often(self.limiter.limit.spelling, 1.0, self.clock)

    def _answer(self, request: Request, fault: Fault | None) -> Answer:
        if fault is None:
            return self._served(request)
        if fault.kind in faults.BEFORE:
            answer = faults.BEFORE[fault.kind](fault, request, self.clock)
        else:
            request.emptied = fault.kind == "empty"
            answer = faults.AFTER[fault.kind](fault, self._served(request))
        return replace(answer, fault=fault.kind)

    def _served(self, request: Request) -> Answer:
        try:
            if request.local == "/oauth/token":
                return self.oauth.answer(request)
            self.gate.admit(request)
            return self._limited(request)
        except Refusal as refusal:
            return refusal.answer

    def _limited(self, request: Request) -> Answer:
        quota = self.limiter.take(request.credential)
        if quota is None:
            return self._routed(request)
        said = limits.headers(quota, self.clock)
        if quota.allowed:
            answer = self._routed(request)
            if answer.status == 304 and self.limiter.limit.free_304:
                self.limiter.give_back(request.credential)
            return replace(answer, headers=said | answer.headers)
        spelling = self.limiter.limit.spelling
        answer = limits.too_often(spelling, quota.wait_s, self.clock)
        return replace(answer, headers=said | answer.headers) if spelling in limits.TELLING else answer

    def _routed(self, request: Request) -> Answer:
        try:
            if self.postman and self.postman.hooks.serves(request):
                return self.postman.hooks.answer(request)
            route = self._routes[not request.account].find(request)
            self._check_permission(request, route.collection)
            account = self.account(request.account)
            with account.lock:
                if request.method in ("GET", "HEAD") or request.local == "/graphql":
                    return routes.read(account, route, request)
                return writes.write(account, route, request, self.kept)
        except Refusal as refusal:
            return refusal.answer
        except (UnknownAccount, UnknownRow) as error:
            return Refusal(404, "not_found", str(error)).answer

    def _check_permission(self, request: Request, collection: str) -> None:
        how = self._withdrawn.get((request.account, collection), "")
        request.emptied = request.emptied or how == "empty"
        if WITHDRAWN.get(how):
            raise Refusal(WITHDRAWN[how], how, f"this credential may not see {collection}")

    def _opened(self, name: str) -> Account:
        shape = self._shapes[name == ""]
        if shape is None:
            raise UnknownAccount(f"this vendor has no account {name!r}")
        heard = partial(self.postman.tell, name) if self.postman else None
        account = Account(shape, self.clock, heard)
        if self._fill is not None:
            self._fill(account, name)
        return account


WITHDRAWN = {"forbidden": 403, "missing": 404, "empty": 0}


def _split(path: str) -> tuple[str, str]:
    """Cut "/accounts/7/v1/x" into account "7" and "/v1/x"; any other path is the main account's."""
    if not path.startswith("/accounts/"):
        return "", path
    account, _, local = path.removeprefix("/accounts/").partition("/")
    return account, "/" + local
