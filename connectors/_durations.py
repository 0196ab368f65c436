"""Durations as people write them: "30 days", "1 minute", "250 ms"."""

import re

from connectors._errors import ContractError

_UNITS = {
    "microsecond": 1e-6,
    "us": 1e-6,
    "millisecond": 1e-3,
    "ms": 1e-3,
    "second": 1,
    "s": 1,
    "minute": 60,
    "min": 60,
    "m": 60,
    "hour": 3600,
    "h": 3600,
    "day": 86_400,
    "d": 86_400,
    "week": 604_800,
    "w": 604_800,
}
_DURATION = re.compile(r"\s*(\d+(?:\.\d+)?)?\s*([a-z]+)\s*", re.IGNORECASE)


def seconds(duration: str) -> float:
    """The seconds in a duration; ContractError names a text that is none."""
    match = _DURATION.fullmatch(duration)
    word = match[2].lower() if match else ""
    unit = _UNITS.get(word) or _UNITS.get(word.removesuffix("s"))
    if not match or not unit:
        raise ContractError(f"{duration!r} is not a duration such as '30 seconds', '1 hour' or '30 days'")
    return float(match[1] or 1) * unit
