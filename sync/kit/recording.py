"""Recorded exchanges: what a vendor was asked and what it answered, as JSON files that people can read and
edit.

A connector's recordings are the files `*.json` in a folder of its name. Each is a list of exchanges:

    [{"request": {"method": "GET", "path": "/v1/customers", "params": {"limit": "100"}},
      "response": {"status": 200, "headers": {"date": "..."}, "body": {"data": [...], "next_cursor": null}}}]

`json` in a request is the body of a POST. A body that is no JSON is `text` instead of `body`. Two files are
something else: `connection.json` is the configuration that was recorded with, `outcomes.json` answers and
what the connector's rules make of them.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import msgspec

from connectors import Json, TidelockError

CONNECTION, OUTCOMES = "connection.json", "outcomes.json"


class RecordingError(TidelockError):
    """A recording that can't be read; the text names the file."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked for, in one spelling: a path without query, and its parameters as texts."""

    method: str
    path: str
    params: tuple[tuple[str, str], ...] = ()
    json: bytes = b""

    @classmethod
    def of(cls, method: str, path: str, params: Mapping[str, Json] | None = None, json: Json = None) -> "Request":
        parts = urlsplit(path)
        given = {name: _text(value) for name, value in (params or {}).items() if value is not None}
        query = tuple(sorted({**dict(parse_qsl(parts.query, keep_blank_values=True)), **given}.items()))
        return cls(method, parts.path, query, b"" if json is None else msgspec.json.encode(json, order="sorted"))

    def __str__(self) -> str:
        query = "&".join(f"{name}={value}" for name, value in self.params)
        body = f" {self.json.decode()}" if self.json else ""
        return f"{self.method} {self.path}{'?' if query else ''}{query}{body}"


@dataclass(frozen=True, slots=True)
class Response:
    """What was answered; header names in lower case."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Exchange:
    request: Request
    response: Response


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """An answer, and what the engine is to make of it.

    then   the outcome's name
    wait   the header that says how long it waits; "" = not checked
    """

    method: str = "GET"
    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: Json = None
    then: str
    wait: str = ""
    why: str = ""


@dataclass(frozen=True, slots=True)
class Recordings:
    """All that is recorded of one connector."""

    folder: Path
    exchanges: tuple[Exchange, ...]
    config: Mapping[str, Json]
    verdicts: tuple[Verdict, ...]


def load(folder: Path) -> Recordings:
    """The recordings in a folder; a folder that is missing holds none. RecordingError names a file that is
    wrong."""
    files = sorted(folder.glob("*.json"))
    exchanges = [one for path in files if path.name not in (CONNECTION, OUTCOMES) for one in _exchanges(path)]
    connection = _read(folder / CONNECTION) or {}
    verdicts = _read(folder / OUTCOMES) or []
    return Recordings(folder, tuple(exchanges), connection.get("config", {}), tuple(Verdict(**v) for v in verdicts))


def write(path: Path, exchanges: Iterable[Exchange]) -> None:
    """Write a recording, indented for people."""
    path.parent.mkdir(parents=True, exist_ok=True)
    plain = [{"request": _plain_request(one.request), "response": _plain_response(one.response)} for one in exchanges]
    path.write_bytes(msgspec.json.format(msgspec.json.encode(plain), indent=1) + b"\n")


def _exchanges(path: Path) -> Iterable[Exchange]:
    for plain in _read(path) or ():
        try:
            request, response = plain["request"], plain["response"]
            asked = Request.of(
                request.get("method", "GET"), request["path"], request.get("params"), request.get("json")
            )
            body = response["text"].encode() if "text" in response else _body(response.get("body"))
            yield Exchange(asked, Response(response.get("status", 200), _lower(response.get("headers", {})), body))
        except (KeyError, TypeError, AttributeError) as error:
            raise RecordingError(
                f"{path}: an exchange is not as `sync.kit.recording` describes it: {error!r}"
            ) from error


def _read(path: Path) -> Any:
    if not path.is_file():
        return None
    try:
        return msgspec.json.decode(path.read_bytes())
    except msgspec.DecodeError as error:
        raise RecordingError(f"{path} is not JSON: {error}") from error


def _body(value: Json) -> bytes:
    return b"" if value is None else msgspec.json.encode(value)


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _plain_request(request: Request) -> dict[str, Json]:
    plain: dict[str, Json] = {"method": request.method, "path": request.path, "params": dict(request.params)}
    return plain | ({"json": msgspec.Raw(request.json)} if request.json else {})


def _plain_response(response: Response) -> dict[str, Json]:
    try:
        msgspec.json.decode(response.body)
        body: dict[str, Json] = {"body": msgspec.Raw(response.body)}
    except msgspec.DecodeError:
        body = {"text": response.body.decode("utf-8", "replace")} if response.body else {}
    return {"status": response.status, "headers": dict(response.headers), **body}


def _text(value: Json) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
