"""Webhooks of any system: what it delivers is stored, without a connector of its own.

The connection's configuration says how deliveries are believed and what is in them:

    verify:    {kind: hmac, signature: {header: X-Signature}, form: {prefix: "sha256="}}
    name:      {body: type}
    delivery:  {header: X-Delivery-Id}
    at:        {created: epoch}
    streams:
      orders:  {events: [order.*], deleted: [order.deleted], record: data.object, key: id, version: {updated_at: iso},
                columns: {total: number, placed_at: iso}}

Of two states of a record the one with the higher version is kept; without a version, the one whose event is later
(`at`); without either, the one that arrived later, which is right only where the system delivers in order.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from connectors import (
    STANDARD_WEBHOOKS,
    SVIX,
    Capture,
    Challenge,
    Connector,
    ContractError,
    Delete,
    EcdsaP256,
    Echo,
    Ed25519,
    Effect,
    Event,
    Field,
    Flag,
    HashConcat,
    Hmac,
    InBody,
    InHeader,
    InQuery,
    InSignature,
    Json,
    Jwt,
    Kind,
    Method,
    Option,
    Pairs,
    Ping,
    Place,
    Prefix,
    SharedToken,
    Stream,
    Upsert,
    Verifier,
    Versions,
    Webhook,
    Window,
)

KINDS: Mapping[str, Any] = {
    "hmac": Hmac, "hash_concat": HashConcat, "ecdsa_p256": EcdsaP256, "ed25519": Ed25519, "shared_token": SharedToken,
    "jwt": Jwt,
}  # fmt: skip
NAMED: Mapping[str, Verifier] = {"standard_webhooks": STANDARD_WEBHOOKS, "svix": SVIX}
PLACES: Mapping[str, Any] = {"header": InHeader, "body": InBody, "query": InQuery, "signature": InSignature}
FORMS: Mapping[str, Any] = {"prefix": Prefix, "pairs": Pairs, "versions": Versions, "method": Method}
HANDSHAKES = ("echo", "challenge", "capture", "ping")


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The settings of one stream.

    events   the names of the events that tell of a record: "order.*" is every name that begins so
    deleted  those that tell that it is gone
    record   where the record is in the event; "" = the event is the record
    key      where its key is, in the record; several make one
    version  the field that rises with every edit, and its kind: {updated_at: iso}
    flag     the field that marks a deleted record, and the value that does: {status: deleted}
    columns  fields to have as columns, and their kinds
    """

    events: tuple[str, ...] = ("*",)
    deleted: tuple[str, ...] = ()
    record: str = ""
    key: tuple[str, ...] = ("id",)
    version: Mapping[str, str] | None = None
    flag: Mapping[str, Json] | None = None
    columns: Mapping[str, str] = field(default_factory=dict)


def verifier(settings: Json) -> Verifier:
    """The verifier that settings describe; ContractError names the setting that is wrong."""
    if isinstance(settings, str) and settings in NAMED:
        return NAMED[settings]
    kind = settings.get("kind") if isinstance(settings, Mapping) else None
    if not isinstance(kind, str) or kind not in KINDS:
        raise ContractError(f"option verify: give a kind, one of {_listed(KINDS)}, or one of {_listed(NAMED)}")
    given = {name: value for name, value in settings.items() if name != "kind"}
    made: Verifier = _built(KINDS[kind], given, "verify")
    return made


def _built(kind: Any, settings: Mapping[str, Json], where: str) -> Any:
    known = {one.name for one in fields(kind)}
    for name in settings:
        if name not in known:
            raise ContractError(f"option {where}.{name}: there is no such setting, only {_listed(known)}")
    try:
        return kind(**{name: _setting(name, value, f"{where}.{name}") for name, value in settings.items()})
    except (TypeError, AttributeError) as error:
        raise ContractError(f"option {where}: {error}") from error


def _setting(name: str, value: Json, where: str) -> Any:
    """The value as the vocabulary has it."""
    if name in {"signature", "id", "token", "at", "place"} and isinstance(value, Mapping):
        return _one_of(PLACES, value, where)
    if name == "form":
        return _one_of(FORMS, value, where)
    if name == "window":
        return _built(Window, _mapping(value, where), where)
    if name == "claims":
        return tuple((str(claim), str(said)) for claim, said in _mapping(value, where).items())
    return value


def _one_of(kinds: Mapping[str, Any], value: Json, where: str) -> Any:
    """{"header": "X-Id"} as InHeader("X-Id")."""
    if not isinstance(value, Mapping) or len(value) != 1 or next(iter(value)) not in kinds:
        raise ContractError(f"option {where}: {value!r} is none of {_listed(f'{{{kind}: ...}}' for kind in kinds)}")
    ((kind, said),) = value.items()
    return kinds[kind](tuple(said) if isinstance(said, list) else said)


def _mapping(value: Json, where: str) -> Mapping[str, Json]:
    if not isinstance(value, Mapping):
        raise ContractError(f"option {where}: {value!r} is no mapping")
    return value


def _places(value: Json, where: str) -> tuple[Place, ...]:
    several = value if isinstance(value, list) else [value]
    return tuple(_one_of(PLACES, one, where) for one in several)


def _handshakes(value: Json) -> Iterator[Any]:
    """{"echo": "challenge", "when": {"type": "url_verification"}}, {"ping": {"header": "X-Event"}, "equals": "ping"},
    {"challenge": "hub.challenge", "token": "hub.verify_token", "secret": "verify_token"}, {"capture": "token"}"""
    for place, one in enumerate(value if isinstance(value, list) else [value]):
        where = f"handshakes.{place}"
        kind = next((name for name in HANDSHAKES if name in _mapping(one, where)), None)
        rest = {name: said for name, said in one.items() if name != kind}
        if kind == "echo":
            yield Echo(one["echo"], next(iter(_mapping(rest.get("when") or {}, where).items()), None))
        elif kind == "ping":
            yield Ping(_one_of(PLACES, one["ping"], where), str(rest.get("equals", "")))
        elif kind == "challenge":
            yield _built(Challenge, {"echo": one["challenge"], **rest}, where)
        elif kind == "capture":
            yield Capture(one["capture"])
        else:
            raise ContractError(f"option {where}: {one!r} is none of {', '.join(HANDSHAKES)}")


# --- what is in a delivery


def sources(config: Mapping[str, Json]) -> dict[str, Source]:
    """What the option `streams` describes."""
    described = config.get("streams")
    if not isinstance(described, Mapping) or not described:
        raise ContractError("option streams: name what is delivered, as in {orders: {events: [order.*], key: id}}")
    return {name: _source(name, _mapping(one, f"streams.{name}")) for name, one in described.items()}


def _source(name: str, settings: Mapping[str, Json]) -> Source:
    known = {one.name for one in fields(Source)}
    for setting, value in settings.items():
        where = f"streams.{name}.{setting}"
        if setting not in known:
            raise ContractError(f"option {where}: there is no such setting, only {_listed(known)}")
        wish, holds = _WISHES[setting]
        if not holds(value):
            raise ContractError(f"option {where}: {value!r} is not {wish}")
    tuples = {one: tuple(_names(settings[one])) for one in ("events", "deleted", "key") if one in settings}
    return Source(**{**settings, **tuples})


def _names(value: Json) -> list[Any]:
    return [value] if isinstance(value, str) else list(value)


def _are_names(value: Any) -> bool:
    return bool(value) and isinstance(value, str | list) and all(isinstance(one, str) and one for one in _names(value))


def _is_kinds(value: Any) -> bool:
    return isinstance(value, Mapping) and all(kind in set(Kind) for kind in value.values())


def _is_moment(value: Any) -> bool:
    return _is_kinds(value) and len(value) == 1 and next(iter(value.values())) in _MOMENTS


_MOMENTS = (Kind.ISO, Kind.EPOCH, Kind.EPOCH_MS, Kind.INTEGER)
_WISHES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "events": ("a name of events or a list of them", _are_names),
    "deleted": ("a name of events or a list of them", _are_names),
    "record": ("a path such as data.object", lambda value: isinstance(value, str)),
    "key": ("a path or a list of them", _are_names),
    "version": (f"a path and one of {', '.join(_MOMENTS)}, as in {{updated_at: iso}}", _is_moment),
    "flag": ("a path and a value, as in {status: deleted}", lambda it: isinstance(it, Mapping) and len(it) == 1),
    "columns": (f"a mapping of paths to {', '.join(Kind)}", _is_kinds),
}


def _moment(kinds: Mapping[str, str] | None) -> Field | None:
    return next((Field(path, Kind(kind)) for path, kind in (kinds or {}).items()), None)


def _column(path: str, kind: str) -> Field:
    return Field(path, Kind(kind), name=re.sub(r"\W+", "_", path).strip("_").lower())


def streams(config: Mapping[str, Json]) -> tuple[Stream, ...]:
    """The streams that the configuration names; they are delivered, never pulled."""
    return tuple(
        Stream(
            name,
            key=one.key if len(one.key) > 1 else one.key[0],
            version=_moment(one.version),
            deletes=tuple(Flag(path, value) for path, value in (one.flag or {}).items()),
            columns=tuple(_column(path, kind) for path, kind in one.columns.items()),
        )
        for name, one in sources(config).items()
    )


def effects_of(config: Mapping[str, Json]) -> Callable[[Event], Iterable[Effect]]:
    """What events mean to these streams."""
    wanted, at = sources(config), _clock(config)

    def effects(event: Event) -> Iterator[Effect]:
        for name, one in wanted.items():
            gone = _matches(event.name, one.deleted)
            if not gone and not _matches(event.name, one.events):
                continue
            row = _record(event, one.record)
            if gone:
                yield Delete(name, _key(row, one), _gone_at(event, row, one, at))
            else:
                yield Upsert(name, row, _when(event, at))

    return effects


def _clock(config: Mapping[str, Json]) -> Field | None:
    """Where an event says when it happened."""
    settings = config.get("at")
    if settings and (not _is_moment(settings) or Kind.INTEGER in settings.values()):
        raise ContractError(f"option at: {settings!r} is no path with a kind of time, as in {{created: epoch}}")
    return _moment(settings)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(name.startswith(one[:-1]) if one.endswith("*") else name == one for one in patterns)


def _record(event: Event, path: str) -> Mapping[str, Json]:
    found = Field(path, Kind.JSON).value(dict(event)) if path else dict(event)
    if not isinstance(found, Mapping):
        raise ContractError(f"there is no record at $.{path} of the event")
    return found


def _key(row: Mapping[str, Json], one: Source) -> str:
    """As the reader makes it: the texts of its parts, one behind the other."""
    parts = [Field(path, Kind.JSON).value(dict(row)) for path in one.key]
    if any(not isinstance(part, str | int) or part == "" for part in parts):
        raise ContractError(f"there is no key at $.{', $.'.join(one.key)} of the record")
    texts = [str(part) for part in parts]
    return texts[0] if len(texts) == 1 else "/".join(one.replace("%", "%25").replace("/", "%2F") for one in texts)


def _when(event: Event, at: Field | None) -> int:
    """When it happened, on the vendor's clock; 0 where it doesn't say."""
    value = at.value(dict(event)) if at else None
    if at is None:
        return 0
    if value is None:
        raise ContractError(f"the event has no time at $.{at.path}")
    return at.instant(value)


def _gone_at(event: Event, row: Mapping[str, Json], one: Source, at: Field | None) -> int:
    """The version of its end: its last one, or the time of the event where versions are times and that is later."""
    version = _moment(one.version)
    if version is None:
        return _when(event, at)
    numbered, last = version.kind is Kind.INTEGER, version.value(dict(row))
    told = [] if last is None else [version.instant(last)]
    told += [_when(event, at)] if at and not numbered else []
    if not told:
        raise ContractError(f"the event tells no version at $.{version.path}, so nobody knows what it is newer than")
    return max(told)


def webhook(config: Mapping[str, Json]) -> Webhook:
    """As the configuration says."""
    wanted = sources(config).values()
    (name,) = _places(config.get("name") or {"body": "type"}, "name")
    return Webhook(
        verify=verifier(config.get("verify")),
        effects=effects_of(config),
        name=name,
        events=tuple(dict.fromkeys(event for one in wanted for event in (*one.events, *one.deleted))),
        ignore=tuple(config.get("ignore") or ()),
        delivery=_places(config.get("delivery") or [], "delivery"),
        each=config.get("each"),
        handshakes=tuple(_handshakes(config.get("handshakes") or [])),
    )


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names))


connector = Connector(
    base_url="webhook:",  # nobody is asked for anything
    owner="integrations",
    options={
        "verify": Option("how deliveries are believed: standard_webhooks, svix, or a kind with its settings",
                         required=True),
        "streams": Option("what is delivered: name → events, deleted, record, key, version, flag, columns",
                          required=True),
        "name": Option("where an event's name stands, {body: type} or {header: X-Event}", default={"body": "type"}),
        "delivery": Option("where a delivery's id stands, or the several that make it; none = its digest"),
        "each": Option("where the list is of a delivery that carries several events; an empty text = it is the list"),
        "at": Option("where an event says when it happened, and its kind: {created: epoch}"),
        "ignore": Option("names of events that are of no concern", default=[]),
        "handshakes": Option("what is asked beside deliveries: echo, challenge, capture, ping", default=[]),
    },
    streams=streams,
    webhook=webhook,
)  # fmt: skip
