"""Answers of the receiver, made once: a status and a word, the same for whoever gets it."""

import asyncio
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.types import Receive, Send

LINGER = 2.0  # seconds for which an unwanted body is read on, so that its sender comes to read the answer
_MOST_UNREAD = 16 * 1024 * 1024
_AGAIN = b"5"  # seconds until a vendor should try again
_CLOSE = (b"connection", b"close")
_Header = tuple[bytes, bytes]


class Answer:
    """A whole answer as the two messages that a server takes."""

    __slots__ = ("end", "start")

    def __init__(self, status: int, body: bytes, kind: bytes, *more: _Header) -> None:
        length = str(len(body)).encode()
        headers = [(b"content-type", kind), (b"content-length", length), *more]
        self.start: dict[str, Any] = {"type": "http.response.start", "status": status, "headers": headers}
        self.end: dict[str, Any] = {"type": "http.response.body", "body": body}


def _problem(status: HTTPStatus, *more: _Header) -> Answer:
    """https://www.rfc-editor.org/rfc/rfc9457, and nothing beyond the status."""
    body = msgspec.json.encode({"title": status.phrase, "status": status.value})
    return Answer(status, body, b"application/problem+json", *more)


def words(text: str) -> Answer:
    """A value that was asked for, as nothing but text."""
    plain = b"text/plain; charset=utf-8"
    return Answer(200, text.encode(errors="replace"), plain, (b"x-content-type-options", b"nosniff"))


ACCEPTED = Answer(202, b'{"status":"accepted"}', b"application/json")
BAD_REQUEST = _problem(HTTPStatus.BAD_REQUEST)
UNAUTHORIZED = _problem(HTTPStatus.UNAUTHORIZED)
NOT_FOUND = _problem(HTTPStatus.NOT_FOUND)
NO_METHOD = _problem(HTTPStatus.METHOD_NOT_ALLOWED, (b"allow", b"POST"))
LATE = _problem(HTTPStatus.REQUEST_TIMEOUT)
TOO_BIG = _problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
WRONG_KIND = _problem(HTTPStatus.UNSUPPORTED_MEDIA_TYPE)
BROKEN = _problem(HTTPStatus.INTERNAL_SERVER_ERROR)
UNAVAILABLE = _problem(HTTPStatus.SERVICE_UNAVAILABLE, (b"retry-after", _AGAIN))


async def close(answer: Answer, receive: Receive, send: Send) -> None:
    """Answer before the request is read, and end the connection. A socket that is closed upon unread bytes takes the
    answer back, so what is on its way is read for a moment, and dropped."""
    await send({**answer.start, "headers": [*answer.start["headers"], _CLOSE]})
    await send({**answer.end, "more_body": True})
    try:
        async with asyncio.timeout(LINGER):
            await _drop(receive)
    except TimeoutError:
        pass
    await send({"type": "http.response.body"})


async def _drop(receive: Receive) -> None:
    left = _MOST_UNREAD
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body"):
            return
