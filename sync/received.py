"""What came in: a delivery as it stands on the wire, the values in it, and what is said when it isn't believed.

Nothing of it is believed yet, so nothing of it may raise: a value that can't be read is not there.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import msgspec

from connectors import InBody, InHeader, InQuery, Place, TidelockError

_LENIENT = 1024 * 1024  # bytes of a body that the slow decoder is given
_WRITTEN = re.compile(rb"-?[0-9][0-9.eE+-]{0,63}|true|false")
_UNREADABLE = (ValueError, RecursionError)  # msgspec's and json's errors are ValueErrors


class Refused(TidelockError):
    """The delivery is not believed. `reason` is one of a few short phrases, for counting: never what was sent."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(slots=True)
class Received:
    """A request as it came.

    url      whole, as the vendor called it: with our public host, and the query as it was escaped
    query    its parameters, decoded
    headers  names in lower case; one that was sent several times is joined by ", "
    body     the bytes as sent
    """

    method: str
    url: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    _members: dict[str, bytes] = field(default_factory=dict, init=False, compare=False)

    def __repr__(self) -> str:
        return f"Received({self.method}, {len(self.body)} bytes)"

    def member(self, name: str) -> bytes:
        """What stands under a name of the body's outermost object, as JSON; b"" where nothing does. The body is gone
        through once for each name."""
        if name not in self._members:
            self._members[name] = _member(self.body, name)
        return self._members[name]


def value_of(place: Place, received: Received) -> str | None:
    """The value at a place; None where there is none, an empty one, or one that is no text, number or boolean."""
    match place:
        case InHeader(name):
            value = received.headers.get(name.lower())
        case InQuery(name):
            value = received.query.get(name)
        case InBody(path):
            value = _in_body(path, received)
        case _:
            value = None  # an InSignature: only the verifier knows where that is
    return value or None


def bytes_of(text: str, place: Place) -> bytes:
    """A value's bytes as they were sent. Servers decode headers as Latin-1; bodies and queries are UTF-8."""
    if isinstance(place, InBody | InQuery):
        return text.encode("utf-8", "surrogatepass")
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def decoded(raw: bytes) -> dict[str, Any] | None:
    """A small JSON object; None where it is none."""
    try:
        return msgspec.json.decode(raw, type=dict[str, Any])
    except _UNREADABLE:
        return None


def _in_body(path: str, received: Received) -> str | None:
    first, *rest = path.split(".")
    raw = received.member(first)
    for name in rest:
        raw = _member(raw, name)
    if raw[:1] != b'"':
        return raw.decode() if _WRITTEN.fullmatch(raw) else None
    try:
        return msgspec.json.decode(raw, type=str)
    except _UNREADABLE:
        return None


def _member(raw: bytes, name: str) -> bytes:
    try:
        return bytes(_picker(name).decode(raw).value)
    except RecursionError:
        return b""
    except ValueError:
        return _lenient(raw, name)


@lru_cache(maxsize=256)
def _picker(name: str) -> msgspec.json.Decoder[Any]:
    """A decoder that cuts one member out of an object and goes over the others without decoding them: a body of five
    megabytes costs five milliseconds and no memory, whoever sent it."""
    fields = [("value", msgspec.Raw, msgspec.Raw(b""))]
    return msgspec.json.Decoder(msgspec.defstruct("Picked", fields, rename={"value": name}))


def _lenient(raw: bytes, name: str) -> bytes:
    """The same for a body that is only malformed elsewhere: half a surrogate pair, as JavaScript sends it."""
    if len(raw) > _LENIENT:
        return b""
    try:
        whole = json.loads(raw.decode())
        return json.dumps(whole[name]).encode() if isinstance(whole, dict) and name in whole else b""
    except _UNREADABLE:
        return b""
