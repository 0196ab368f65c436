"""What all rows of one write share."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import msgspec

Values: TypeAlias = list[list[Any]]
"""The projected columns of a batch, one list a declared field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """connection_id and parent_key of the rows, and when they were asked for, on the database's clock."""

    connection_id: int
    parent_key: str | None
    asked_at: datetime | None


def mean_the_same(one: bytes | msgspec.Raw, other: str) -> bool:
    """Whether two documents are equal but for space and the order of keys. What can't be decoded is no equal."""
    try:
        return bool(msgspec.json.decode(one) == msgspec.json.decode(other))
    except (msgspec.MsgspecError, RecursionError):
        return False
