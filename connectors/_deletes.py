"""How a vendor lets us know that a record is gone."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from connectors._ask import Ask, Json, Page
from connectors._fields import Field


@dataclass(frozen=True, slots=True)
class Flag:
    """Deleted records stay in the list and carry a mark: `Flag("deleted")`, `Flag("status", "cancelled")`."""

    path: str
    value: Json = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Tombstones:
    """A list of its own names what was deleted. Its rows hold the key and the time.

    pull    a pull function for that list; its `since` is this list's own checkpoint
    key     the path of the deleted record's key
    at      when it was deleted: the version of the tombstone, and the cursor of this list
    retention  how long the vendor lists a deletion; when more time has gone by, a full pass finds what it forgot
    """

    path: str
    pull: Callable[[Any, Any, Ask], Page]
    at: Field
    key: str = "id"
    lookback: str = "0 seconds"
    wire_format: str = "iso"
    retention: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A full pass proves absence: what a complete pass did not show, is gone.

    every     how often the pass is made; None = every run is a full pass anyway
    max_drop  the guard: a pass that would delete more than this share of a stream or partition is held
              for the owner
    confirm   "get" asks for every absent key before believing it; "pass" believes a second pass;
              "order" trusts one pass, for lists whose order can't change under it
    """

    every: str | None = "1 day"
    max_drop: float = 0.10
    confirm: str = "get"


@dataclass(frozen=True, slots=True)
class WithParent:
    """A child is gone when its parent is: the children of a deleted parent become tombstones with it."""


Deletes: TypeAlias = Flag | Tombstones | Sweep | WithParent
