"""Opaque tokens: JSON lists in URL-safe base64."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Any


class InvalidToken(ValueError):
    """This text is no token of ours."""


def encode(*parts: Any) -> str:
    """One token for these parts; the same parts make the same token."""
    text = json.dumps(parts, separators=(",", ":"))
    return urlsafe_b64encode(text.encode()).decode().rstrip("=")


def decode(token: str) -> list[Any]:
    """The parts of a token; raises InvalidToken."""
    try:
        parts = json.loads(urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    except ValueError:
        raise InvalidToken(f"not a token: {token[:80]!r}") from None
    if not isinstance(parts, list):
        raise InvalidToken(f"not a token: {token[:80]!r}")
    return parts
