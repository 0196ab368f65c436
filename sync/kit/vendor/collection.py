"""What a vendor's API looks like, as data: collections and their dialects."""

from dataclasses import dataclass, field
from typing import Any

Fields = dict[str, Any]
Key = str | int
POSITIONS = ("token", "last_id", "page", "offset", "sequence")
ORDERS = ("updated", "created", "id", "sequence")


@dataclass(frozen=True, kw_only=True)
class Paging:
    """How a list is cut into pages, and the traps it sets.

    `by` says what a position is: an opaque `token`, the `last_id` of a page, a `page` number, an
    `offset`, or the `sequence` number of the last row. Where the answer names the next position:
    `next` (a path in the body), `link` (the Link header), `url` (a path in the body, whole URL).
    """

    by: str
    position: str
    size: str = "limit"
    default: int = 100
    maximum: int = 500
    next: str = ""
    link: bool = False
    url: str = ""
    more: str = ""
    done: str = ""
    total: str = ""
    end: Any = None  # what stands at `next` after the last page
    always_next: bool = False  # a position is given after the last page too, to go on from later
    graphql: bool = False
    # Traps
    cap: int | None = None  # rows a walk may reach
    cap_status: int | None = None  # what it answers beyond them; None: it stops and says nothing
    expires_s: float | None = None
    uses: int | None = None
    expired_status: int = 410
    loop: bool = False  # from the second page on, the token repeats
    short_every: int = 0  # each n-th page is half filled
    empty_every: int = 0  # each n-th page is empty though more follow

    def __post_init__(self) -> None:
        if self.by not in POSITIONS:
            raise ValueError(f"paging by {self.by!r}: it must be one of {', '.join(POSITIONS)}")
        traps = self.loop or self.short_every or self.empty_every or self.expires_s or self.uses
        if traps and self.by != "token":
            raise ValueError(f"paging by {self.by!r}: loop, short, empty and expiring pages need by='token'")


def cursor(**changes: Any) -> Paging:
    """`?cursor=` with the next one in the body's `next_cursor`, null at the end."""
    return Paging(**{"by": "token", "position": "cursor", "next": "next_cursor", **changes})


def export(**changes: Any) -> Paging:
    """Zendesk's incremental export: `after_cursor` even on the last page, and `end_of_stream`."""
    said = {"next": "after_cursor", "done": "end_of_stream", "always_next": True}
    return Paging(**{"by": "token", "position": "cursor", **said, **changes})


def last_id(**changes: Any) -> Paging:
    """Stripe's `?starting_after=<last id>` and `has_more`."""
    said = {"more": "has_more", "maximum": 100}
    return Paging(**{"by": "last_id", "position": "starting_after", **said, **changes})


def link(**changes: Any) -> Paging:
    """GitHub's Link header, rel="next", over page numbers."""
    return Paging(**{"by": "page", "position": "page", "size": "per_page", "link": True, **changes})


def next_url(**changes: Any) -> Paging:
    """A whole URL in the body's `next`, null at the end."""
    return Paging(**{"by": "token", "position": "cursor", "url": "next", **changes})


def page_number(**changes: Any) -> Paging:
    """`?page=1&per_page=`, with a `total`."""
    return Paging(**{"by": "page", "position": "page", "size": "per_page", "total": "total", **changes})


def offset(**changes: Any) -> Paging:
    """`?offset=0&limit=`, with a `total`."""
    return Paging(**{"by": "offset", "position": "offset", "total": "total", **changes})


def sequence(**changes: Any) -> Paging:
    """`?after_seq=`, a number that rises with every edit; `last_seq` and `more` in the body."""
    said = {"next": "last_seq", "more": "more", "always_next": True}
    return Paging(**{"by": "sequence", "position": "after_seq", **said, **changes})


def graphql(**changes: Any) -> Paging:
    """A connection: variables `first` and `after`, `pageInfo {hasNextPage endCursor}`, `nodes`."""
    said = {"next": "pageInfo.endCursor", "more": "pageInfo.hasNextPage", "always_next": True}
    return Paging(**{"by": "token", "position": "after", "size": "first", "graphql": True, **said, **changes})


@dataclass(frozen=True, kw_only=True)
class Since:
    """A filter for what changed: `?updated_since=`, inclusive unless `inclusive` is off.

    `granularity_s` (1, 60, 86400) cuts both sides down to buckets of the account's `zone`, as
    Jira's minutes and Intercom's days do. `until` names an upper bound, exclusive.
    """

    param: str = "updated_since"
    on: str = "updated"  # or "created"
    inclusive: bool = True
    granularity_s: float = 0
    zone: str = "UTC"
    until: str = ""


@dataclass(frozen=True, kw_only=True)
class SyncToken:
    """Google's way: the last page, and only that, hands out a token for what changed since."""

    param: str = "syncToken"
    next: str = "nextSyncToken"
    expires_s: float | None = None
    expired_status: int = 410


@dataclass(frozen=True, kw_only=True)
class Writing:
    """What a caller may write, and how a write can be made safe to repeat."""

    idempotency: str = "Idempotency-Key"  # header whose answer is kept; "" = none
    client_ids: bool = False  # a create may bring its own key; a second one is a 409
    if_match: bool = False  # an update must carry the ETag; a stale one is a 412
    required: tuple[str, ...] = ()  # a create without one of these is a 422
    upsert: str = ""  # field by which `PUT /v1/<name>?<field>=` finds the row or makes it


@dataclass(frozen=True, kw_only=True)
class Collection:
    """One list of an API: where it is, how it is paged and filtered, and how its rows die.

    `path` holds `{parent}` where the parent's key goes. A deleted row is absent from lists unless
    `flag` (field, value) keeps it there marked; `tombstones` and `events` name collections that
    get a row for each deletion and for each edit.
    """

    name: str
    path: str = ""
    noun: str = ""  # singular, for event types
    parent: str = ""
    parent_field: str = ""
    stirs: str = ""  # stamp of the parent that moves when a row here does
    key: str = "id"
    key_format: str = ""  # "cus_{:06d}"; "" makes integers
    rows: str = "data"  # path of the list in the body; "" = the body is the list
    paging: Paging = field(default_factory=cursor)
    order: str = "updated"  # or "created", "id", "sequence"
    descending: bool = False
    since: Since | None = None
    sync_token: SyncToken | None = None
    where: tuple[str, ...] = ()  # fields that can be asked for exactly: ?email=
    created: str = "created_at"
    updated: str = "updated_at"
    moved: str = ""  # stamp that moves with any edit and when a child stirs it
    sequence: str = ""  # field that shows the sequence number
    stamps: str = "iso"
    flag: tuple[str, Any] | None = None
    flag_param: str = ""  # flagged rows show only when this parameter is given
    tombstones: str = ""
    events: str = ""
    retention_s: float | None = None  # rows older than this are dropped
    etag: bool = False
    gone_status: int = 404  # a deleted row asked for alone; 200 shows it with its flag
    lag_s: float = 0  # a row shows in lists only so long after its edit
    writing: Writing | None = None

    def __post_init__(self) -> None:
        if self.order not in ORDERS:
            raise ValueError(f"{self.name}: order must be one of {', '.join(ORDERS)}, not {self.order!r}")
        if (self.paging.by == "sequence") > (self.order == "sequence" and not self.descending):
            raise ValueError(f"{self.name}: paging by sequence needs order='sequence', ascending")

    @property
    def list_path(self) -> str:
        """Path of the list, without account prefix."""
        nested = f"/v1/{self.parent}/{{parent}}/{self.name}" if self.parent else f"/v1/{self.name}"
        return self.path or nested

    @property
    def singular(self) -> str:
        """The noun that event types begin with."""
        return self.noun or self.name.removesuffix("s")
