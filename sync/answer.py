"""A page as it arrived, and what every kind of list makes of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from sqlalchemy import Connection

from connectors import Json, Page, Rows, TidelockError
from sync.trail import Trail


class HeldError(TidelockError):
    """A guard stopped it: the owner decides."""


Tally = Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Answer:
    """A page as it arrived, or several that land together.

    rows       its records
    as_of      the vendor's clock, microseconds since 1970, not later than what it shows
    asked_at   the database's clock when it was asked for
    took       seconds of waiting for it
    cost       requests, bytes received, and milliseconds waited for limits
    unchanged  the vendor said that nothing changed (304): nothing can be concluded from the absence of rows
    trail      the page tokens up to its end
    pages      how many there are
    failure    what went wrong behind them, to be raised once they have landed
    """

    page: Page
    rows: Rows
    as_of: int
    asked_at: datetime
    took: float
    cost: Mapping[str, int]
    etag: str | None = None
    unchanged: bool = False
    trail: Trail = field(default_factory=Trail)
    pages: int = 1
    failure: Exception | None = None


class TiedError(TidelockError):
    """Records are as new as the stored ones but different: they must be fetched again before the page can land."""

    def __init__(self, keys: Sequence[str]) -> None:
        super().__init__(f"as new as the stored records, but different: {', '.join(keys[:5])}")
        self.keys = tuple(keys)


class Apply(Protocol):
    """What a page does to the database; `careful` looks for the one row that the database refused before."""

    def __call__(self, connection: Connection, *, careful: bool) -> Tally: ...


class Landing(Protocol):
    """What the pull journey asks of every kind of list.

    proves    a full pass of it may prove absence
    most      rows of several pages that may land together; 0 = each page by itself
    limit     how much of a page counts
    prepare   outside of any transaction (it may ask the vendor); what it returns is applied in the transaction that
              saves the position
    fetch     again what TiedError named, to land with the page
    settle    after that transaction
    position  where the next run of this partition starts, once the list was read to its end
    forget    what was only needed during the pass
    """

    proves: bool
    most: int

    def limit(self, page: Page) -> Page: ...
    def prepare(self, answer: Answer) -> Apply: ...
    def fetch(self, keys: Sequence[str]) -> None: ...
    def settle(self) -> None: ...
    def position(self, connection: Connection) -> Json: ...
    def forget(self, connection: Connection) -> None: ...
