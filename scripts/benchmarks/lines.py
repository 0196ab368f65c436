"""Lines of a bench's table: a figure, what it is held against, and whether that is met."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

HEADS = ("what", "measured", "budget", "floor", "")


@dataclass(frozen=True, kw_only=True)
class Line:
    """One line of the budget.

    figure   what was measured; None = it could not be, `note` says why
    budget   the bound, which `at_least` makes a lower one; None = it is only told
    floor    what the figure is a share or a multiple of, in its own unit
    """

    name: str
    figure: float | None
    unit: str = "x"
    budget: float | None = None
    at_least: bool = False
    floor: str = ""
    note: str = ""

    @property
    def met(self) -> bool | None:
        """None where nothing was measured or nothing is demanded."""
        if self.figure is None or self.budget is None:
            return None
        return self.figure >= self.budget if self.at_least else self.figure < self.budget

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "figure": self.figure,
            "unit": self.unit,
            "budget": self.budget,
            "bound": "at least" if self.at_least else "below",
            "floor": self.floor,
            "met": self.met,
            "note": self.note,
        }

    def cells(self) -> Sequence[str]:
        """The line for people."""
        bound = "" if self.budget is None else f"{'>=' if self.at_least else '<'} {_told(self.budget, self.unit)}"
        figure = self.note if self.figure is None else _told(self.figure, self.unit)
        return (self.name, figure, bound, self.floor, {True: "met", False: "MISSED", None: ""}[self.met])


def _told(value: float, unit: str) -> str:
    digits = 0 if abs(value) >= 1000 or unit in {"rows", "MiB"} else 2
    return f"{value:,.{digits}f} {unit}".replace(" %", "%")


def table(lines: Iterable[Line]) -> str:
    """All lines in columns."""
    rows = [HEADS, *(line.cells() for line in lines)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEADS))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
