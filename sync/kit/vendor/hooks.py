"""Webhook subscriptions at the vendor, as its API shows them.

    GET, POST /v1/webhooks      GET, PATCH, DELETE /v1/webhooks/<id>      POST /v1/webhooks/<id>/renew

The secret is shown once, by the answer that made the subscription. A caller may choose it.
"""

import secrets
import threading
from base64 import b64decode, b64encode
from collections.abc import Callable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from sync.kit.vendor.exchange import Answer, Refusal, Request, reply
from sync.kit.vendor.times import SECOND, STAMPS, Clock

PATH = "/v1/webhooks"
PREFIX = "whsec_"
_stamp = STAMPS["iso"]


@dataclass(kw_only=True)
class Hook:
    """One subscription. `events` () = everything; `failures` are those since the last success."""

    id: str
    account: str
    url: str
    events: tuple[str, ...]
    secret: str
    created: int
    expires: int | None
    enabled: bool = True
    reason: str = ""
    failures: int = 0

    def wants(self, kind: str) -> bool:
        """Whether it asked for events of this kind: "customer.updated" by that name or by "customer.*"."""
        return not self.events or any(fnmatchcase(kind, one) for one in self.events)

    @property
    def key(self) -> bytes:
        """What signs."""
        return b64decode(self.secret.removeprefix(PREFIX))

    def shown(self, now: int, *, secret: bool = False) -> dict[str, Any]:
        expired = self.expires is not None and self.expires <= now
        return {
            "id": self.id,
            "url": self.url,
            "events": list(self.events),
            "enabled": self.enabled and not expired,
            "reason": "expired" if expired else self.reason or None,
            "expires_at": None if self.expires is None else _stamp(self.expires),
            "created_at": _stamp(self.created),
            **({"secret": self.secret} if secret else {}),
        }


class Hooks:
    """The subscriptions of all accounts. Safe to share between threads."""

    def __init__(self, clock: Clock, expires_s: float | None = None) -> None:
        self.expires_s = expires_s
        self._clock = clock
        self._lock = threading.Lock()
        self._hooks: dict[str, Hook] = {}
        self._made = 0
        self._acts: dict[tuple[str, bool, str], Callable[[Request, str], Answer]] = {
            ("GET", False, ""): self._list,
            ("POST", False, ""): self._create,
            ("GET", True, ""): self._one,
            ("PATCH", True, ""): self._change,
            ("POST", True, "renew"): self._renew,
            ("DELETE", True, ""): self._remove,
        }

    def wanting(self, account: str, kind: str) -> list[Hook]:
        """Who is to be told of an event now."""
        now = self._clock.now()
        with self._lock:
            mine = [hook for hook in self._hooks.values() if hook.account == account and hook.enabled]
        return [hook for hook in mine if hook.wants(kind) and (hook.expires is None or hook.expires > now)]

    def every(self) -> list[Hook]:
        with self._lock:
            return list(self._hooks.values())

    def disable(self, id: str, reason: str) -> None:
        """The vendor has had enough of it."""
        hook = self._hooks[id]
        hook.enabled, hook.reason = False, reason

    def serves(self, request: Request) -> bool:
        """Whether the request is about subscriptions."""
        return request.local == PATH or request.local.startswith(f"{PATH}/")

    def answer(self, request: Request) -> Answer:
        """What the API says; raises Refusal."""
        id, _, verb = request.local.removeprefix(PATH).strip("/").partition("/")
        act = self._acts.get((request.method, bool(id), verb))
        if act is None:
            raise Refusal(405, "method_not_allowed", f"{request.method} is not possible here")
        with self._lock:
            return act(request, id)

    def _list(self, request: Request, id: str) -> Answer:
        mine = [hook for hook in self._hooks.values() if hook.account == request.account]
        return reply({"data": [hook.shown(self._clock.now()) for hook in mine]})

    def _one(self, request: Request, id: str) -> Answer:
        return reply(self._found(request, id).shown(self._clock.now()))

    def _create(self, request: Request, id: str) -> Answer:
        body = request.json()
        if not str(body.get("url", "")).startswith(("http://", "https://")):
            raise Refusal(422, "validation_failed", "url must be an http(s) URL")
        self._made += 1
        hook = Hook(
            id=f"wh_{self._made:04d}", account=request.account, url=body["url"], events=tuple(body.get("events") or ()),
            secret=_secret(body) or PREFIX + b64encode(secrets.token_bytes(24)).decode(), created=self._clock.now(),
            expires=self._end(),
        )  # fmt: skip
        self._hooks[hook.id] = hook
        return reply(hook.shown(self._clock.now(), secret=True), 201)

    def _change(self, request: Request, id: str) -> Answer:
        """Its events or secret; enabling it begins anew."""
        hook, body = self._found(request, id), request.json()
        hook.events = tuple(body.get("events", hook.events))
        hook.secret = _secret(body) or hook.secret
        if body.get("enabled"):
            hook.enabled, hook.reason, hook.failures = True, "", 0
        return reply(hook.shown(self._clock.now()))

    def _renew(self, request: Request, id: str) -> Answer:
        hook = self._found(request, id)
        hook.expires = self._end()
        return reply(hook.shown(self._clock.now()))

    def _remove(self, request: Request, id: str) -> Answer:
        del self._hooks[self._found(request, id).id]
        return Answer(status=204)

    def _found(self, request: Request, id: str) -> Hook:
        hook = self._hooks.get(id)
        if hook is None or hook.account != request.account:
            raise Refusal(404, "not_found", f"no webhook with id {id!r}")
        return hook

    def _end(self) -> int | None:
        return None if self.expires_s is None else self._clock.now() + round(self.expires_s * SECOND)


def _secret(body: dict[str, Any]) -> str:
    """The secret that the caller chose; "" for none."""
    chosen = str(body.get("secret") or "")
    try:
        b64decode(chosen.removeprefix(PREFIX), validate=True)
    except ValueError as error:
        raise Refusal(422, "validation_failed", f"secret must be {PREFIX} and base64") from error
    return chosen
