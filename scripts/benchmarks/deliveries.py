"""Deliveries of the bench's vendor: 2,048 bytes of JSON as GitHub sends them, made from a number, signed beforehand.

The signature covers the body alone (HMAC-SHA256 in X-Hub-Signature-256), so that a client that sends a body again only
changes the header with the delivery's id.
"""

import hashlib
import hmac
import json
from collections.abc import Iterator, Sequence
from itertools import count
from urllib.parse import urlsplit

from benchmarks.records import FIRST_UPDATE, record, timestamp

BYTES = 2048
RECORDS = 500  # that fat and thin events are about, in turn
VERSION_MICROSECONDS = 10_000
KINDS = ("fat", "thin")
_LINKS = (
    "events{/privacy}", "assignees{/user}", "branches{/branch}", "statuses/{sha}", "languages", "stargazers",
    "contributors", "subscription", "commits{/sha}", "comments{/number}", "compare/{base}...{head}", "merges",
    "milestones{/number}", "labels{/name}",
)  # fmt: skip
_HEAD = (
    "POST %s HTTP/1.1\r\nHost: %s\r\nUser-Agent: Bench-Hookshot/1\r\nAccept: */*\r\nContent-Type: application/json\r\n"
    "Content-Length: %d\r\nX-GitHub-Event: %s\r\nX-GitHub-Hook-ID: 1\r\nX-Hub-Signature-256: sha256=%s\r\n"
    "X-GitHub-Delivery: "
)


def body(kind: str, number: int) -> bytes:
    """The number-th event: fat ones carry the record in its number-th version, thin ones only its key."""
    index = number % RECORDS
    about = {"id": key(index)} if kind == "thin" else _version(index, number)
    event = {"action": "edited", "number": number, "record": about, "repository": _repository(index), "note": ""}
    room = BYTES - len(_encoded(event))
    words = hashlib.sha256(b"%d" % number).hexdigest() * (1 + room // 64)
    return _encoded({**event, "note": words[:room]})


def key(index: int) -> str:
    """The key of the index-th record."""
    return f"rec_{index:08d}"


def updated_at(number: int) -> str:
    """The version that the number-th event brings."""
    return timestamp(number * VERSION_MICROSECONDS)


def version(number: int) -> int:
    """The same in microseconds since 1970."""
    return round(FIRST_UPDATE.timestamp()) * 1_000_000 + number * VERSION_MICROSECONDS


def _version(index: int, number: int) -> dict[str, object]:
    return {**json.loads(record(index)), "updated_at": updated_at(number)}


def _repository(index: int) -> dict[str, str]:
    return {f"url_{n}": f"https://api.example.test/repos/acme/widgets-{index}/{link}" for n, link in enumerate(_LINKS)}


def _encoded(event: object) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()


def requests(url: str, secret: str, bodies: Sequence[bytes], kind: str, name: str) -> Iterator[bytes]:
    """Requests without end, over and over the same bodies, each with an id of its own that begins with `name`."""
    host, path = urlsplit(url).netloc, urlsplit(url).path
    heads = [(_HEAD % (path, host, len(one), kind, _signature(secret, one))).encode() for one in bodies]
    parts = [(head + name.encode(), b"\r\n\r\n" + one) for head, one in zip(heads, bodies, strict=True)]
    for number in count():
        head, rest = parts[number % len(parts)]
        yield b"%b-4000-8000-%012x%b" % (head, number, rest)


def _signature(secret: str, content: bytes) -> str:
    return hmac.new(secret.encode(), content, hashlib.sha256).hexdigest()
