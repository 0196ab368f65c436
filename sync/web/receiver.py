"""The receiver: `/webhooks/{connection}`. What it answers with 2xx is stored; what it refuses leaves a counter.

In this order: is there such a connection? is it asked for a handshake? is the body there, in time and of a size that
this vendor sends? does its signature say so, over the raw bytes? Then the delivery goes to the writer, and is answered
when it is committed. Whoever is refused learns a status and no more: unknown, paused and without a webhook are the
same 404, and every doubt about a signature is the same 401.
"""

import asyncio
import hashlib
import re
import time
from collections.abc import Mapping
from functools import lru_cache
from secrets import token_hex
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from starlette.types import Receive, Scope, Send

from connectors import Webhook
from sync.doorstep import Away, Door, Doorstep
from sync.store.arrivals import Arrival
from sync.store.identity import joined
from sync.store.notices import REFUSED
from sync.verify import Received, Refused, value_of, verify
from sync.web.answers import (
    ACCEPTED,
    BROKEN,
    LATE,
    NO_METHOD,
    NOT_FOUND,
    TOO_BIG,
    UNAUTHORIZED,
    UNAVAILABLE,
    WRONG_KIND,
    Answer,
    close,
)
from sync.web.handshakes import brought, challenged, greeted
from sync.web.writer import Outcome, Writer

PATH = "/webhooks/"
PATIENCE = 10.0  # seconds that a body may take
MOST_PARTIAL = 64 * 1024 * 1024  # bytes of bodies that are not whole yet, all together
_LONGEST_ID = 255
_OPENS = re.compile("authorization|cookie|secret|token|password|signature|api-?key")
_ANSWERS = {Outcome.STORED: ACCEPTED, Outcome.BAD: BROKEN, Outcome.AWAY: UNAVAILABLE}

Headers = Mapping[str, str]


class Turned(Exception):
    """The request is not stored; `unread` = it may have a body, of which more may come."""

    def __init__(self, answer: Answer, *, unread: bool = True) -> None:
        self.answer, self.unread = answer, unread


class Left(Exception):
    """Nobody waits for an answer."""


class _Deadline:
    """As `asyncio.timeout`, which would be a tenth of a request."""

    __slots__ = ("_late", "_task", "_timer")

    def __init__(self, seconds: float) -> None:
        self._late = False
        self._task: Any = asyncio.current_task()
        self._timer = asyncio.get_running_loop().call_later(seconds, self._end)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._timer.cancel()
        if self._late and self._task.uncancel() == 0:
            raise Turned(LATE) from None

    def _end(self) -> None:
        self._late = True
        self._task.cancel()


class Receiver:
    """An ASGI application for one event loop. `origin` is our public address, for vendors that sign it."""

    def __init__(self, doorstep: Doorstep, writer: Writer, origin: str = "", *, patience: float = PATIENCE) -> None:
        self._doorstep, self._writer, self._origin, self._patience = doorstep, writer, origin, patience
        self._partial = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            answer = await self._answered(scope, receive)
        except Turned as turned:
            if turned.unread and _has_body(scope):
                await close(turned.answer, receive, send)
                return
            answer = turned.answer
        except Left:
            return
        await send(answer.start)
        await send(answer.end)

    async def _answered(self, scope: Scope, receive: Receive) -> Answer:
        name = scope["path"].removeprefix(PATH)
        door = await self._door(name)
        headers = _headers(scope)
        if scope["method"] != "POST":
            return _asked(door, scope)
        body = await self._body(door.webhook, headers, receive)
        received = Received("POST", _url(self._origin, scope, headers), _query(scope), headers, body)
        if door.missing:
            return await self._captured(name, door, received)
        try:
            verify(door.webhook.verify, received, door.secrets, time.time())
        except Refused as refused:
            return self._refused(door, refused.reason)
        return greeted(door.webhook, received) or await self._stored(door, received)

    async def _door(self, name: str) -> Door:
        try:
            door = await self._doorstep.door(name)
        except Away:
            raise Turned(UNAVAILABLE) from None
        if door is None:
            raise Turned(NOT_FOUND)
        return door

    def _refused(self, door: Door, reason: str) -> Answer:
        self._writer.count(door.id, REFUSED, reason, reason)
        return UNAUTHORIZED

    async def _stored(self, door: Door, received: Received) -> Answer:
        kept = _kept(door, received.headers)
        arrival = Arrival(door.id, _delivery(door.webhook, received), kept, received.body, token_hex(16))
        outcome = self._writer.put(arrival)
        return _ANSWERS[await outcome] if outcome else UNAVAILABLE

    async def _captured(self, name: str, door: Door, received: Received) -> Answer:
        """No secret is set: the first delivery may bring it."""
        (missing, *_) = door.missing
        value = brought(door.webhook, received)
        if value is None:
            return self._refused(door, f"the secret {missing} is not set")
        try:
            taken = await self._doorstep.capture(name, door, missing, value)
        except Away:
            return UNAVAILABLE
        return ACCEPTED if taken else self._refused(door, "there is a secret already")

    async def _body(self, webhook: Webhook, headers: Headers, receive: Receive) -> bytes:
        """All of it. What is compressed is no raw body: nobody signs it so, and it may unfold without end."""
        if headers.get("content-encoding", "identity").lower() != "identity":
            raise Turned(WRONG_KIND)
        if _length(headers) > webhook.max_body:
            raise Turned(TOO_BIG)
        if self._writer.full:
            raise Turned(UNAVAILABLE)
        with _Deadline(self._patience):
            return await self._whole(webhook.max_body, receive)

    async def _whole(self, most: int, receive: Receive) -> bytes:
        message = await receive()
        if message["type"] == "http.request" and not message.get("more_body"):
            return _within(most, message["body"])  # most come in one piece
        parts, size = [], 0
        try:
            while message["type"] == "http.request":
                parts.append(message["body"])
                size += len(parts[-1])
                self._partial += len(parts[-1])
                more = message.get("more_body", False)
                if size > most or self._partial > MOST_PARTIAL:
                    raise Turned(TOO_BIG if size > most else UNAVAILABLE, unread=more)
                if not more:
                    return b"".join(parts)
                message = await receive()
        finally:
            self._partial -= size
        raise Left  # without the end of its body nothing was delivered


def _within(most: int, body: bytes) -> bytes:
    if len(body) > most:
        raise Turned(TOO_BIG, unread=False)
    return body


def _asked(door: Door, scope: Scope) -> Answer:
    answer = challenged(door, _query(scope)) if scope["method"] == "GET" else None
    if answer is None:
        raise Turned(NO_METHOD)
    return answer


# the request


def _headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name, text = raw.decode("latin-1"), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def _has_body(scope: Scope) -> bool:
    headers = dict(scope["headers"])
    return b"transfer-encoding" in headers or headers.get(b"content-length", b"0") != b"0"


def _length(headers: Headers) -> int:
    """As the sender says; what it then sends is counted all the same."""
    said = headers.get("content-length", "")
    return int(said) if said.isdecimal() and len(said) < 20 else 0


def _query(scope: Scope) -> dict[str, str]:
    text = scope["query_string"]
    return dict(parse_qsl(text.decode("latin-1"), keep_blank_values=True)) if text else {}


def _url(origin: str, scope: Scope, headers: Headers) -> str:
    query, path = scope["query_string"].decode("latin-1"), scope["raw_path"].decode("latin-1")
    start = origin or f"{scope['scheme']}://{headers.get('host', '')}"
    return f"{start}{path}?{query}" if query else f"{start}{path}"


# what is stored


def _delivery(webhook: Webhook, received: Received) -> str:
    """The vendor's id, the same on every repetition, as a text that every database keeps."""
    values = [value_of(place, received) for place in webhook.deliveries]
    if not values or None in values:
        return _digest(received.body)
    found = joined(values) if len(values) > 1 else str(values[0])
    raw = found.encode(errors="surrogatepass")
    return found if found.isprintable() and len(raw) <= _LONGEST_ID else _digest(raw)


def _digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def _kept(door: Door, headers: Headers) -> str:
    """The headers as JSON text, without those that could open a door."""
    kept = {
        name: value
        for name, value in headers.items()
        if name not in door.hidden and (name in door.wanted or not _opens(name))
    }
    return msgspec.json.encode(kept).decode()


@lru_cache(maxsize=1024)
def _opens(name: str) -> bool:
    return _OPENS.search(name) is not None
