"""Outcomes: what the engine does next, decided by a table of rules.

A connector's rules stand before the defaults; the first match wins.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from connectors._ask import Json


class Outcome(StrEnum):
    """What the engine does next."""

    OK = "ok"
    PARTIAL = "partial"
    RETRY = "retry"
    RATE_LIMITED = "rate_limited"
    REFRESH_AUTH = "refresh_auth"
    SKIP_RECORD = "skip_record"
    CONFLICT = "conflict"
    GONE = "gone"
    RESET_CURSOR = "reset_cursor"
    RESTART_PASS = "restart_pass"
    FAIL_STREAM = "fail_stream"
    FAIL_CONNECTION = "fail_connection"
    AMBIGUOUS = "ambiguous"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """Where the answer says how long to wait.

    header       the header that says it
    format       "seconds", "http_date", "epoch_s", "epoch_ms", "iso", or "guess" for vendors that mix them
    default      seconds to wait where the header is absent or unreadable
    """

    header: str = "retry-after"
    format: str = "guess"
    default: float = 60.0


@dataclass(frozen=True, slots=True)
class Body:
    """A test of the answer: the value at a dotted path equals `equals`, or its text matches `matches`.

    Of a large page no more is decoded than the way to the value.
    """

    path: str
    equals: Json = None
    matches: str | None = None

    def holds(self, body: bytes) -> bool:
        try:
            value = _value.decode(_at(body, self.path))
        except (msgspec.DecodeError, LookupError):
            return False  # not JSON, or nothing there: no test can hold
        if self.matches is not None:
            return value is not None and re.search(self.matches, str(value)) is not None
        return bool(value == self.equals)


_value = msgspec.json.Decoder()
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_elements = msgspec.json.Decoder(list[msgspec.Raw])


def _at(body: bytes | msgspec.Raw, path: str) -> bytes | msgspec.Raw:
    """The raw JSON at a dotted path, where numbers count elements; LookupError where there is none."""
    for name in path.split(".") if path else ():
        body = _elements.decode(body)[int(name)] if name.isdigit() else _members.decode(body)[name]
    return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One row of the outcome table: when all given conditions hold, `then` is the outcome.

    status   a status or several; None = any
    method   "GET" or a tuple; None = any
    header   (name, regular expression) that the header's value must match
    body     a `Body` test
    wait     for RATE_LIMITED and RETRY: where the answer says how long
    scope    the limit that is spent (a name in the connector's limits); None = all of them
    why      a sentence for the person who reads the failure
    """

    then: Outcome
    status: int | tuple[int, ...] | range | None = None
    method: str | tuple[str, ...] | None = None
    header: tuple[str, str] | None = None
    body: Body | None = None
    wait: Wait | None = None
    scope: str | None = None
    why: str = ""

    def matches(self, method: str, status: int, headers: Mapping[str, str], body: bytes) -> bool:
        return (
            (self.status is None or status in _many(self.status))
            and (self.method is None or method in _many(self.method))
            and (self.header is None or _header_matches(self.header, headers))
            and (self.body is None or self.body.holds(body))
        )


def _many(value: Any) -> Any:
    return value if isinstance(value, tuple | range) else (value,)


def _header_matches(condition: tuple[str, str], headers: Mapping[str, str]) -> bool:
    value = headers.get(condition[0].lower())
    return value is not None and re.search(condition[1], value) is not None


UNKNOWN = "it failed at work on the change: whether that was made isn't known"

WRITES: tuple[Rule, ...] = (
    Rule(status=503, header=("retry-after", ""), then=Outcome.RETRY, wait=Wait()),  # it says itself that it did nothing
    Rule(status=529, then=Outcome.RETRY, wait=Wait(default=0)),
    Rule(status=(408, 425, *range(500, 600)), then=Outcome.AMBIGUOUS, why=UNKNOWN),
)
"""What stands before the defaults where the request changes something: nobody may repeat it unasked."""

DEFAULTS: tuple[Rule, ...] = (
    Rule(status=range(200, 300), then=Outcome.OK),
    Rule(status=304, then=Outcome.OK),
    Rule(status=401, then=Outcome.REFRESH_AUTH, why="the credential was refused"),
    Rule(status=402, then=Outcome.FAIL_CONNECTION, why="the account must be paid first"),
    Rule(status=403, then=Outcome.FAIL_STREAM, why="the credential has no right to read this"),
    Rule(status=404, then=Outcome.GONE),
    Rule(status=(408, 425), then=Outcome.RETRY),
    Rule(status=409, then=Outcome.CONFLICT),
    Rule(status=410, then=Outcome.GONE),
    Rule(status=412, then=Outcome.CONFLICT),
    Rule(status=423, then=Outcome.RETRY, wait=Wait(default=2)),
    Rule(status=429, then=Outcome.RATE_LIMITED, wait=Wait()),
    Rule(status=430, then=Outcome.FAIL_CONNECTION, why="the vendor's security turned us away"),
    Rule(status=(502, 503, 504, 529), then=Outcome.RETRY, wait=Wait(default=0)),
    Rule(status=range(500, 600), then=Outcome.RETRY),
    Rule(status=range(400, 500), then=Outcome.FAIL_STREAM, why="the vendor does not understand the request"),
    Rule(status=range(300, 400), then=Outcome.FAIL_STREAM, why="the vendor answers with an unexpected redirect"),
)


def classify(
    rules: Iterable[Rule], method: str, status: int, headers: Mapping[str, str], body: bytes, *, writes: bool = False
) -> Rule:
    """The first rule that matches, the connector's before the defaults. `writes`: the request changes something; by
    its method alone that can't be told, since GraphQL and searches are read with POST."""
    for table in (rules, WRITES if writes else (), DEFAULTS):
        for rule in table:
            if rule.matches(method, status, headers, body):
                return rule
    return Rule(then=Outcome.FAIL_STREAM, why=f"the vendor answers with status {status}")
