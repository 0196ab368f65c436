"""Why a call may not be made now, in a sentence for people."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from connectors import Limit
from connectors._limits import scoped
from sync.limiter.grant import Wait

_BLOCKED = -1
_SENTENCES = {  # why, as take.lua counts
    1: "{limit} of {scope} is spent; next at {at}",
    2: "what is left of {limit} of {scope} is kept for work before {lane}; next at {at}",
    3: "{limit} of {scope} is granted slowly, since Redis is new or was emptied; next at {at}",
    4: "{limit} of {scope} is granted slowly after a refusal that named no time; next at {at}",
}


def refusal(answer: list[Any], limits: tuple[Limit, ...], names: Mapping[str, str], lane: str) -> Wait:
    """The answer of take.lua that is no grant."""
    code, now, wait, what, *why = answer
    if code == _BLOCKED:
        return Wait(wait / 1e6, f"{_text(what)}; next at {_at(now + wait)}")
    limit = limits[what - 1]
    sentence = _SENTENCES[why[0]]
    return Wait(
        wait / 1e6,
        sentence.format(limit=limit, scope=people(limit.scope, names), lane=lane, at=_at(now + wait)),
    )


def people(scope: str, names: Mapping[str, str]) -> str:
    """A scope for people: "credential 7"."""
    return scoped(scope, names, "{0} {1}")


def _at(microseconds: int) -> str:
    return datetime.fromtimestamp(microseconds / 1e6, UTC).isoformat(timespec="milliseconds")


def _text(reply: bytes | str) -> str:
    return reply.decode() if isinstance(reply, bytes) else reply
