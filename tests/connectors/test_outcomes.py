"""Outcomes: the first rule that matches decides, the connector's before the defaults."""

from typing import Any

import msgspec
import pytest

from connectors import Body, Outcome, Rule
from connectors._outcomes import classify


def outcome(status: int, *rules: Rule, body: Any = None, method: str = "GET", **headers: str) -> Outcome:
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    return classify(rules, method, status, {k.replace("_", "-"): v for k, v in headers.items()}, raw).then


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (200, "ok"), (201, "ok"), (304, "ok"), (400, "fail_stream"), (401, "refresh_auth"), (402, "fail_connection"),
        (403, "fail_stream"), (404, "gone"), (408, "retry"), (409, "conflict"), (410, "gone"), (412, "conflict"),
        (423, "retry"), (429, "rate_limited"), (500, "retry"), (503, "retry"), (529, "retry"), (301, "fail_stream"),
        (600, "fail_stream"),
    ],
)  # fmt: skip
def test_defaults(status: int, expected: str) -> None:
    """What every HTTP API means by its status."""
    assert outcome(status) == expected


def test_first_match_wins_before_the_defaults() -> None:
    """The order of the rows is the order of precedence."""
    rules = (Rule(status=404, then=Outcome.RETRY), Rule(status=range(400, 500), then=Outcome.CONFLICT))
    assert outcome(404, *rules) is Outcome.RETRY
    assert outcome(403, *rules) is Outcome.CONFLICT
    assert outcome(500, *rules) is Outcome.RETRY


def test_all_conditions_must_hold() -> None:
    """Status, method, header and body together."""
    rule = Rule(
        status=(400, 403), method="POST", header=("X-Code", "^9"), body=Body("error.code", "busy"), then=Outcome.RETRY
    )
    body = {"error": {"code": "busy"}}
    assert outcome(403, rule, body=body, method="POST", x_code="91") is Outcome.RETRY
    assert outcome(403, rule, body=body, method="GET", x_code="91") is Outcome.FAIL_STREAM
    assert outcome(403, rule, body=body, method="POST", x_code="19") is Outcome.FAIL_STREAM
    assert outcome(403, rule, body=body, method="POST") is Outcome.FAIL_STREAM
    assert outcome(403, rule, body={"error": {}}, method="POST", x_code="91") is Outcome.FAIL_STREAM
    assert outcome(401, rule, body=body, method="POST", x_code="91") is Outcome.REFRESH_AUTH


@pytest.mark.parametrize(
    ("test", "body", "holds"),
    [
        (Body("ok", False), {"ok": False}, True), (Body("ok", False), {"ok": True}, False),
        (Body("ok", False), {}, False), (Body("errors.0.code", "X"), {"errors": [{"code": "X"}]}, True),
        (Body("errors.1.code", "X"), {"errors": [{"code": "X"}]}, False), (Body("a.b", 1), {"a": [1]}, False),
        (Body("message", matches="(?i)rate limit"), {"message": "Rate Limit hit"}, True),
        (Body("message", matches="x"), {"message": None}, False), (Body("", matches="denied"), "denied", True),
        (Body("code", 42), {"code": 42}, True), (Body("ok", True), b"<html>", False), (Body("ok", True), b"", False),
        (Body("ok", True), b'{"ok": true', False),
    ],
)  # fmt: skip
def test_body(test: Body, body: Any, holds: bool) -> None:
    """A test of a body that is no JSON, or lacks the place, doesn't hold."""
    assert test.holds(body if isinstance(body, bytes) else msgspec.json.encode(body)) is holds
