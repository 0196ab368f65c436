"""What the floors decode of a page: raw slices and keys; versions and columns only where they are needed."""

from datetime import UTC, datetime, timedelta
from hashlib import sha256

import msgspec

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


class Envelope(msgspec.Struct, gc=False):
    """A page with its records left as raw slices of the page."""

    data: list[msgspec.Raw]
    next_cursor: str | None


class Key(msgspec.Struct, gc=False):
    """All that the precheck needs."""

    id: str


class Versioned(msgspec.Struct, gc=False):
    """Key and version of a record."""

    id: str
    updated_at: datetime


class Projected(msgspec.Struct, gc=False):
    """Key, version and the eight columns of a record."""

    id: str
    updated_at: datetime
    name: str | None = None
    email: str | None = None
    status: str | None = None
    currency: str | None = None
    amount: int | None = None
    tax_rate: float | None = None
    paid: bool | None = None
    created_at: str | None = None


class KeyPage(msgspec.Struct, gc=False):
    """A page of keys."""

    data: list[Key]


class VersionedPage(msgspec.Struct, gc=False):
    """A page of keys and versions."""

    data: list[Versioned]


class ProjectedPage(msgspec.Struct, gc=False):
    """A page of keys, versions and columns."""

    data: list[Projected]


ENVELOPE = msgspec.json.Decoder(Envelope)
KEYS = msgspec.json.Decoder(KeyPage)
VERSIONED = msgspec.json.Decoder(Versioned)
VERSIONED_PAGE = msgspec.json.Decoder(VersionedPage)
PROJECTED = msgspec.json.Decoder(Projected)
PROJECTED_PAGE = msgspec.json.Decoder(ProjectedPage)


def version(moment: datetime) -> int:
    """Microseconds since 1970 in UTC."""
    return (moment - EPOCH) // MICROSECOND


def digest(raw: msgspec.Raw) -> bytes:
    """The first 64 bits of SHA-256 of a record as it came, big-endian as PostgreSQL sends a bigint."""
    return sha256(raw).digest()[:8]
