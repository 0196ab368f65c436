"""Handshakes: what a vendor asks before it delivers, or now and then: answered, and not kept."""

import hmac
from collections.abc import Mapping
from typing import Any

import msgspec

from connectors import Capture, Challenge, Echo, InBody, Ping, Webhook
from sync.doorstep import Door
from sync.verify import Received, value_of
from sync.web.answers import ACCEPTED, BAD_REQUEST, UNAUTHORIZED, Answer, words

_LONGEST_ECHO = 4_096
_LONGEST_SECRET = 1_000


def challenged(door: Door, query: Mapping[str, str]) -> Answer | None:
    """The answer to a GET; None = this vendor asks none."""
    challenge = next((one for one in door.webhook.handshakes if isinstance(one, Challenge)), None)
    if challenge is None:
        return None
    if challenge.secret and not _same(query.get(challenge.token, ""), door.secrets.get(challenge.secret, ())):
        return UNAUTHORIZED
    value = query.get(challenge.echo, "")
    return words(value) if 0 < len(value) <= _LONGEST_ECHO else BAD_REQUEST


def greeted(webhook: Webhook, received: Received) -> Answer | None:
    """The answer to what was believed and only asks; None = it is a delivery."""
    for one in webhook.handshakes:
        if isinstance(one, Ping) and value_of(one.place, received) == one.equals:
            return ACCEPTED
        if isinstance(one, Echo) and (value := _echoed(one, received)) is not None:
            return words(value)
    return None


def brought(webhook: Webhook, received: Received) -> str | None:
    """The secret that the vendor's first word brings."""
    capture = next((one for one in webhook.handshakes if isinstance(one, Capture)), None)
    value = value_of(InBody(capture.field), received) if capture else None
    return value if value and len(value) <= _LONGEST_SECRET and value.isprintable() else None


def _same(given: str, secrets: tuple[str, ...]) -> bool:
    """Compared with every one of them, so that the time tells nothing."""
    return sum(hmac.compare_digest(given.encode(errors="replace"), secret.encode()) for secret in secrets) > 0


def _echoed(echo: Echo, received: Received) -> str | None:
    """Whether the words are there at all is seen without reading the body as JSON."""
    if echo.field.rpartition(".")[2].encode() not in received.body:
        return None
    if echo.when is not None and value_of(InBody(echo.when[0]), received) != _written(echo.when[1]):
        return None
    value = value_of(InBody(echo.field), received)
    return value if value is not None and len(value) <= _LONGEST_ECHO else None


def _written(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()
