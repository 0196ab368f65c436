"""What commands print: tables for people or JSON for programs to standard output, everything else to standard error."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import msgspec
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table


class Form(StrEnum):
    TABLE = "table"
    JSON = "json"


Output = Annotated[Form, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")]

COLORS: Mapping[str, str] = {
    "fresh": "green", "done": "green", "active": "green", "ok": "green", "created": "green", "syncing": "cyan",
    "running": "cyan", "waiting": "yellow", "late": "yellow", "paused": "yellow", "held": "yellow",
    "changed": "yellow", "new": "yellow", "failing": "red", "failed": "red", "dead": "red", "wrong": "red",
}  # fmt: skip


def say(sentence: str) -> None:
    """A sentence for people, to standard error."""
    Console(stderr=True, soft_wrap=True, highlight=False).print(escape(sentence))


def emit(form: Form, answer: Any) -> None:
    """The answer as JSON, where that was asked for."""
    if form is Form.JSON:
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(answer, enc_hook=str)).decode() + "\n")


def table(form: Form, rows: Iterable[Mapping[str, Any]], columns: Sequence[str], empty: str) -> None:
    """The rows: as JSON whole, as a table with the named columns, or the sentence for no rows."""
    found = list(rows)
    if form is Form.JSON:
        emit(form, found)
        return
    if not found:
        say(empty)
        return
    drawn = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        right = any(isinstance(row.get(column), int | float) for row in found)
        drawn.add_column(column.replace("_", " "), justify="right" if right else "left", overflow="fold")
    for row in found:
        drawn.add_row(*(cell(column, row.get(column)) for column in columns))
    console().print(drawn)


def console() -> Console:
    """Standard output as it is now; wide where it isn't a terminal, so that no program meets a folded line."""
    wide = None if sys.stdout.isatty() else 200
    return Console(file=sys.stdout, width=wide, highlight=False)


def cell(column: str, value: Any) -> str:
    """A value as a table shows it."""
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: ""}[value]
    if isinstance(value, datetime):
        return ago(value)
    if isinstance(value, int) and column not in _AS_THEY_ARE:
        return f"{value:,}"
    if isinstance(value, Mapping):
        return escape(", ".join(f"{name}={one}" for name, one in value.items()))
    if isinstance(value, list | tuple):
        return escape(", ".join(map(str, value)))
    color = COLORS.get(str(value)) if column == "state" else None
    return f"[{color}]{value}[/]" if color else escape(str(value))


_AS_THEY_ARE = ("id", "run", "cursor", "starts_at")  # numbers that count nothing
_UNITS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def ago(moment: datetime) -> str:
    """How long ago, or in how long."""
    left = (datetime.now(UTC) - moment).total_seconds()
    words = length(abs(left))
    return f"{words} ago" if left >= 0 else f"in {words}"


def length(seconds: float) -> str:
    """A length of time in its largest unit: "3 min"."""
    size, unit = next(((size, unit) for size, unit in _UNITS if seconds >= size), (1, "s"))
    return f"{seconds / size:.0f} {unit}"
