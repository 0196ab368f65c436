"""A request as the vendor reads it, and an answer before it goes over the wire."""

import json
from base64 import b64decode
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

JSON = "application/json; charset=utf-8"


@dataclass(kw_only=True)
class Request:
    """One request. `headers` have lower-case names."""

    method: str
    target: str
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    account: str = ""  # filled in from the path, "" = the main one
    local: str = ""  # the path without the account prefix
    credential: str = ""
    emptied: bool = False  # lists shall look as if nothing were there

    @cached_property
    def path(self) -> str:
        """The path without the query."""
        return urlsplit(self.target).path

    @cached_property
    def query(self) -> dict[str, str]:
        """The query's parameters; the last of several wins."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    def basic(self) -> str:
        """The "user:password" of a Basic header, "" without a readable one."""
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            return ""
        try:
            return b64decode(value, validate=True).decode()
        except ValueError:
            return ""

    def json(self) -> dict[str, Any]:
        """The body as a JSON object; raises a 400 Refusal when it is something else."""
        try:
            value = json.loads(self.body or b"{}")
        except ValueError as error:
            raise Refusal(400, "invalid_json", str(error)) from error
        if not isinstance(value, dict):
            raise Refusal(400, "invalid_json", f"the body must be an object, not {type(value).__name__}")
        return value

    def form(self) -> dict[str, str]:
        """The body as form fields or a flat JSON object, as token endpoints take either."""
        if self.headers.get("content-type", "").startswith("application/json"):
            return {name: str(value) for name, value in self.json().items()}
        return {name: values[-1] for name, values in parse_qs(self.body.decode()).items()}


@dataclass(kw_only=True)
class Answer:
    """One answer, and how the wire shall treat it.

    `wire` is `whole`, `drip` (a few bytes at a time), `cut` (half the body, then the end) or
    `reset` (nothing at all); `claims` is a Content-Length other than the true one.
    """

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    keys: tuple[Any, ...] = ()
    wire: str = "whole"
    claims: int | None = None
    seconds: float = 0.0  # how long a drip lasts
    hang_s: float = 0.0  # how long before it begins
    fault: str = ""


def reply(value: Any, status: int = 200, **headers: str) -> Answer:
    """A JSON answer; underscores in header names stand for hyphens."""
    body = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    return Answer(
        status=status,
        body=body,
        headers={"Content-Type": JSON} | {name.replace("_", "-"): text for name, text in headers.items()},
    )


class Refusal(Exception):
    """The request can't be answered as asked; carries the answer that says so."""

    def __init__(self, status: int, code: str, message: str, **headers: str) -> None:
        super().__init__(message)
        self.answer = reply({"error": {"code": code, "message": message}}, status, **headers)
