"""What a connector is asked for, and what it answers: `Ask` in, `Page` or effects out."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self, TypeAlias

Json: TypeAlias = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """All that one page depends on. It is plain JSON and is saved whole with every committed page,
    so any worker can ask for the next page after a crash.

    since   where the partition's cursor stands, already in the vendor's spelling; None = from the beginning
    until   the upper bound, frozen when the slice was opened; None = open
    page    the page token of the page to fetch; None = the first page
    parent  the fields of the parent record that name this partition; None = the stream has no parent
    config  the connection's configuration
    """

    since: Json = None
    until: Json = None
    page: Json = None
    parent: Mapping[str, Json] | None = None
    config: Mapping[str, Json] = field(default_factory=dict)

    def json(self) -> dict[str, Json]:
        """The ask as JSON, without the configuration, which belongs to the connection."""
        fields = asdict(self)
        del fields["config"]
        return fields

    @classmethod
    def of(cls, saved: Mapping[str, Json], config: Mapping[str, Json]) -> Self:
        return cls(**saved, config=config)


@dataclass(frozen=True, slots=True)
class Page:
    """One answer to an `Ask`.

    rows    the records as they came: what `Reply.rows` returned, or any iterable of mappings. A text in the place of
            a record says why there is none; it becomes a dead letter with that reason
    next    the page token of the page after this one; None = this was the last
    cursor  where the next run starts, only where the vendor hands one out (sync tokens, sequences)
    """

    rows: Iterable[Any]
    next: Json = None
    cursor: Json = None


@dataclass(frozen=True, slots=True)
class Upsert:
    """The record as it was at `as_of` (microseconds since 1970, UTC, the vendor's clock)."""

    stream: str
    row: Mapping[str, Json]
    as_of: int


@dataclass(frozen=True, slots=True)
class Delete:
    """The record ceased to exist at `as_of` (microseconds since 1970, UTC, the vendor's clock)."""

    stream: str
    key: str
    as_of: int


@dataclass(frozen=True, slots=True)
class Refetch:
    """The record changed; only the vendor knows how: ask for its present state."""

    stream: str
    key: str


@dataclass(frozen=True, slots=True)
class Pull:
    """Something under this stream (or under this parent's key) changed: pull it."""

    stream: str
    parent: str | None = None


Effect: TypeAlias = Upsert | Delete | Refetch | Pull
