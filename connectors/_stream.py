"""Streams, feeds and connectors: the nouns of a third-party API, checked when they are declared."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import KW_ONLY, dataclass, field
from string import Formatter
from typing import Any, TypeAlias
from urllib.parse import quote

from connectors._ask import Ask, Json
from connectors._auth import Auth, NoAuth
from connectors._cursors import Cursor, checked
from connectors._deletes import Deletes, Flag, Sweep, Tombstones
from connectors._durations import seconds
from connectors._errors import ContractError
from connectors._fields import Field, Kind
from connectors._limits import Limit, limit
from connectors._outcomes import Rule
from connectors._pulls import GetFunction, PullFunction, delivered
from connectors._webhook import EffectsFunction, Webhook

Limits: TypeAlias = Mapping[str, str | Limit | tuple[str | Limit, ...]]
_ORDERS = ("ascending", "descending", "unordered")
_RESERVED = ("connection_id", "key", "version", "digest", "payload", "changed_at", "deleted_at", "parent_key")


@dataclass(frozen=True)
class Stream:
    """A named collection of records.

    name      the stream's name; its table is `<connector>_<name>`
    path      below the base URL; `{fields}` of the parent record are filled in: "/repos/{full_name}/issues"
    pull      pull(api, stream, ask) -> Page; `delivered` = it is not read, the webhook brings it
    key       the path of the record's key; several paths make a composite key, joined into one text
    version   the field whose value rises with every edit; None = the moment of the request, vendor's clock
    cursor    how the next run knows where to start; None = the connector's feed tells what changed, or, where
              no feed covers the stream, every run is a full pass
    order     "ascending" or "descending" in the cursor's field, or "unordered"
    get       get(api, stream, key) -> row; the present state of one record
    parent    the stream whose records are this stream's partitions
    when      a field of the parent; its children are pulled only if it moved since the last pull
    where     where(parent record) -> bool: which parents make partitions; None = all
    keep      keep(record) -> bool: rows for which it is false don't belong to this stream; None = all do
    deletes   how deletions are learnt; () = they are not
    columns   the fields to have as columns beside the payload
    params    query parameters of every request
    limit     the limits that its requests count against (a name in the connector's limits)
    etag      ask with If-None-Match, for vendors that answer 304 without charge
    exempt    rules of the contract suite that the vendor can't meet: rule -> written reason (two at most)
    """

    name: str
    path: str = ""
    pull: PullFunction = delivered
    key: str | tuple[str, ...] = field(default="id", kw_only=True)
    version: Field | None = field(default=None, kw_only=True)
    cursor: Cursor | None = field(default=None, kw_only=True)
    order: str = field(default="ascending", kw_only=True)
    get: GetFunction | None = field(default=None, kw_only=True)
    parent: str | None = field(default=None, kw_only=True)
    when: str | None = field(default=None, kw_only=True)
    where: Callable[[Mapping[str, Json]], bool] | None = field(default=None, kw_only=True)
    keep: Callable[[Mapping[str, Json]], bool] | None = field(default=None, kw_only=True)
    deletes: tuple[Deletes, ...] = field(default=(), kw_only=True)
    columns: tuple[Field, ...] = field(default=(), kw_only=True)
    params: Mapping[str, Json] = field(default_factory=dict, kw_only=True)
    limit: str = field(default="default", kw_only=True)
    etag: bool = field(default=False, kw_only=True)
    exempt: Mapping[str, str] = field(default_factory=dict, kw_only=True)

    def __post_init__(self) -> None:
        for problem in _stream_problems(self):
            raise ContractError(f"stream {self.name!r}: {problem}")

    @property
    def keys(self) -> tuple[str, ...]:
        """The paths that make the key."""
        return (self.key,) if isinstance(self.key, str) else self.key

    @property
    def pulled(self) -> bool:
        """Whether the stream can be read; else it only has what the webhook brings."""
        return self.pull is not delivered

    @property
    def flags(self) -> tuple[Flag, ...]:
        return tuple(rule for rule in self.deletes if isinstance(rule, Flag))

    @property
    def sweep(self) -> Sweep | None:
        return next((rule for rule in self.deletes if isinstance(rule, Sweep)), None)

    @property
    def tombstones(self) -> Tombstones | None:
        return next((rule for rule in self.deletes if isinstance(rule, Tombstones)), None)

    @property
    def parent_fields(self) -> tuple[str, ...]:
        """The fields of the parent record that the path names."""
        return tuple(dict.fromkeys(name for _, name, _, _ in Formatter().parse(self.path) if name))

    def url(self, ask: Ask) -> str:
        """The path of this ask's partition, with the parent's fields quoted."""
        parent = ask.parent or {}
        return self.path.format_map({name: quote(str(value), safe="/") for name, value in parent.items()})


def _stream_problems(stream: Stream) -> Iterable[str]:
    if not stream.name.isidentifier() or not stream.name.islower():
        yield "a name is a lower-case identifier, it becomes part of a table's name"
    if stream.order not in _ORDERS:
        yield f"order is one of {', '.join(_ORDERS)}, not {stream.order!r}"
    if stream.version and stream.version.kind not in (Kind.ISO, Kind.EPOCH, Kind.EPOCH_MS, Kind.INTEGER):
        yield "version is a time or an integer: iso(...), epoch(...), epoch_ms(...) or integer(...)"
    if stream.when and not stream.parent:
        yield "when names a field of the parent, and there is no parent"
    if stream.parent_fields and not stream.parent:
        yield f"the path names {{{stream.parent_fields[0]}}}, and there is no parent"
    if len(stream.exempt) > 2:
        yield "at most two rules can be exempt"
    names = [column.name for column in stream.columns]
    for name in names:
        if name in _RESERVED or names.count(name) > 1:
            yield f"the column {name!r} is there already; give it another name: text({name!r}, name=...)"
    if stream.cursor:
        checked(stream.cursor)
    if stream.tombstones:
        seconds(stream.tombstones.retention or "1 day")
    if stream.sweep:
        seconds(stream.sweep.every or "1 day")
        if stream.sweep.confirm == "get" and not stream.get:
            yield "a sweep that confirms by get needs get=...; or confirm='pass'"


@dataclass(frozen=True, slots=True)
class Feed:
    """An event list of the whole account; what it names is upserted, deleted or fetched again.

    Its head is read before the first full pass. When more time than `retention` has gone by since the last
    event seen, events are lost, and the streams it covers make a full pass.

    effects     effects(event) -> what an event means; none for events of no concern
    at          when the event happened: the cursor of the feed
    streams     the streams whose changes it tells
    """

    path: str
    pull: PullFunction
    effects: EffectsFunction
    _: KW_ONLY
    at: Field
    streams: tuple[str, ...]
    id: str = "id"
    retention: str = "30 days"
    lookback: str = "0 seconds"
    wire_format: str = "epoch"
    order: str = "descending"
    params: Mapping[str, Json] = field(default_factory=dict)
    limit: str = "default"


@dataclass(frozen=True, slots=True)
class Option:
    """A setting that a connection must or may give: `Option("the folder to read", required=True)`."""

    help: str
    _: KW_ONLY
    default: Json = None
    required: bool = False
    choices: tuple[Json, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Connector:
    """One third-party API.

    base_url   may name options: "https://{shop}.myshopify.com"; "file:" is a folder
    owner      the team that is told of failures where the connection names none
    streams    the streams, or a function of the connection's configuration that makes them
    webhook    what the vendor delivers by itself, or such a function
    """

    base_url: str
    streams: tuple[Stream, ...] | Callable[[Mapping[str, Json]], tuple[Stream, ...]]
    auth: Auth = NoAuth()
    owner: str | None = None
    limits: Limits = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    feed: Feed | None = None
    webhook: Webhook | Callable[[Mapping[str, Json]], Webhook] | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Option] = field(default_factory=dict)
    parallel: int = 4
    docs: str = ""

    def __post_init__(self) -> None:
        if not callable(self.streams):
            check_streams(self.streams, self.feed)
        for limits in self.limits.values():
            grants(limits)

    def streams_for(self, config: Mapping[str, Json]) -> tuple[Stream, ...]:
        """The streams of a connection with this configuration."""
        if not callable(self.streams):
            return self.streams
        streams = self.streams(config)
        check_streams(streams, self.feed)
        return streams

    def webhook_for(self, config: Mapping[str, Json]) -> Webhook | None:
        """The webhook of a connection with this configuration."""
        return self.webhook(config) if callable(self.webhook) else self.webhook

    def limits_for(self, name: str) -> tuple[Limit, ...]:
        """The limits under a name; an undeclared "default" is no limit."""
        return grants(self.limits.get(name, ()))


def grants(limits: str | Limit | tuple[str | Limit, ...]) -> tuple[Limit, ...]:
    """Every limit that must grant, whichever way it was written."""
    several = limits if isinstance(limits, tuple) else (limits,)
    return tuple(limit(one) if isinstance(one, str) else one for one in several)


def check_streams(streams: tuple[Stream, ...], feed: Feed | None) -> None:
    """ContractError where names repeat, or a parent or a feed's stream is unknown or comes too late."""
    known: list[str] = []
    for stream in streams:
        if stream.name in known:
            raise ContractError(f"two streams are called {stream.name!r}")
        if stream.parent and stream.parent not in known:
            raise ContractError(f"stream {stream.name!r}: its parent {stream.parent!r} must stand before it")
        known.append(stream.name)
    unknown = [name for name in (feed.streams if feed else ()) if name not in known]
    if unknown:
        raise ContractError(f"the feed covers {unknown[0]!r}, which is no stream")
    below = [stream.name for stream in streams if feed and stream.parent and stream.name in feed.streams]
    if below:
        raise ContractError(f"the feed covers {below[0]!r}: no event says which of its parents a record belongs to")


__all__ = ["Any", "Connector", "Feed", "Limits", "Option", "Stream", "check_streams", "grants"]
