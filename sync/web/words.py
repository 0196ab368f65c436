"""How the page words what it shows."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def ago(moment: datetime | None) -> str:
    """How long ago, or in how long; a dash for never."""
    if moment is None:
        return "–"
    left = (datetime.now(UTC) - moment).total_seconds()
    size, unit = next(((size, unit) for size, unit in _UNITS if abs(left) >= size), (1, "s"))
    words = f"{abs(left) / size:.0f} {unit}"
    return f"{words} ago" if left >= 0 else f"in {words}"


def number(value: int | None) -> str:
    """With thousands apart; a dash for unknown."""
    return "–" if value is None else f"{value:,}"


WORDS: Mapping[str, Callable[[Any], str]] = {"ago": ago, "number": number}
