"""Watching runs: a live table on a terminal, plain lines elsewhere; both on standard error."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.table import Table

from sync.cli.output import COLORS, length, say
from sync.store import connections, progress
from sync.store.database import read
from sync.store.progress import Progress

LOOK = 0.3  # seconds between two looks at the database
LONELY = 10.0  # seconds after which nobody seems to work
KINDS = ("inserted", "updated", "unchanged", "deleted", "rejected")


def watch(account: int, runs: Sequence[int], each: Callable[[], None] = lambda: None) -> list[Progress]:
    """Show the runs until all are closed, or until the connection stops; how they stand then.

    `each` is called with every look.
    """
    shown = _Live() if sys.stderr.isatty() else _Lines()
    found: list[Progress] = []
    with shown:
        for found in _looks(account, runs):
            shown.show(found)
            each()
    return found


def _looks(account: int, runs: Sequence[int]) -> Iterator[list[Progress]]:
    begun, lonely = time.monotonic(), False
    while True:
        with read() as connection:
            found = progress.of(connection, runs)
            state = connections.get(connection, account).state
        yield found
        if state != "active" or not any(one.open for one in found):
            return
        if not lonely and time.monotonic() - begun > LONELY and not any(one.counts or one.busy for one in found):
            lonely = True
            say("No worker has begun with it yet. Does one run? `tidelock doctor` tells; it begins when one does.")
        time.sleep(LOOK)  # what workers do is only to be seen in the database


def title(one: Progress) -> str:
    """The stream, and which list of it."""
    return (one.stream or "events") if one.list in ("rows", "feed") else f"{one.stream} ({one.list})"


def records(one: Progress) -> int:
    """How many records were received so far."""
    return sum(one.counts.get(kind, 0) for kind in KINDS)


def rate(one: Progress, now: float) -> float:
    """Records a second, from its opening to its end or now (epoch seconds)."""
    end = one.closed_at.timestamp() if one.closed_at else now
    return records(one) / max(end - one.opened_at.timestamp(), 0.001)


def waits(one: Progress) -> str:
    """Why it waits, or why it failed."""
    if one.state == "waiting":
        return "for its parent"
    left = one.due_at.timestamp() - time.time() if one.due_at and one.open else 0
    return f"{one.reason or ''}{f' (for {length(left)})' if left > 1 else ''}"


class _Live:
    """A table that is drawn anew."""

    def __init__(self) -> None:
        self._live = Live(console=Console(stderr=True), refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.__exit__(None, None, None)

    def show(self, found: Sequence[Progress]) -> None:
        drawn = Table(box=None, pad_edge=False, header_style="bold")
        for name in ("stream", "state"):
            drawn.add_column(name)
        for name in ("pages", *KINDS, "records/s"):
            drawn.add_column(name, justify="right")
        drawn.add_column("waits", overflow="fold")
        now = time.time()
        for one in found:
            numbers = (one.counts.get("pages", 0), *(one.counts.get(kind, 0) for kind in KINDS))
            state = f"[{COLORS.get(one.state, 'default')}]{one.state}[/]"
            drawn.add_row(title(one), state, *(f"{n:,}" for n in numbers), f"{rate(one, now):,.0f}", waits(one))
        self._live.update(drawn)


class _Lines:
    """A line whenever a stream moved on by a page or changed its state."""

    def __init__(self) -> None:
        self._said: dict[int, tuple[str, int, str | None]] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is left open."""

    def show(self, found: Sequence[Progress]) -> None:
        for one in found:
            news = (one.state, one.counts.get("pages", 0), one.reason)
            if self._said.get(one.run) != news:
                self._said[one.run] = news
                pages = f", {news[1]} pages, {records(one):,} records" if news[1] else ""
                say(f"{title(one)}: {one.state}{pages}{'; ' + waits(one) if waits(one) else ''}")
