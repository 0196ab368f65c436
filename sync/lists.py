"""The lists of a connector: every one is read by the same journey, as a stream.

A stream has its rows; where it declares them, a list of tombstones; and a connector may have an event feed over
all of its streams. A list of tombstones and a feed are streams too, whose records are not kept but acted on.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from connectors import Connector, ContractError, Feed, Json, Stream, Timestamp, Tombstones

T = TypeVar("T")

ROWS = "rows"
DELETES = "deletes"
FEED = "feed"


def streams(connector: Connector, config: Mapping[str, Json], selected: object = None) -> tuple[Stream, ...]:
    """The selected streams in the connector's order (parents before children)."""
    every = connector.streams_for(config)
    if selected is None:
        return every
    chosen = [str(name) for name in selected] if isinstance(selected, list | tuple | set) else [str(selected)]
    known = {stream.name for stream in every}
    for name in chosen:
        if name not in known:
            raise ContractError(f"there is no stream {name!r}; there are {', '.join(sorted(known))}")
    return tuple(stream for stream in every if stream.name in chosen)


def selection(connector: Connector, config: Mapping[str, Json], selected: object = None) -> tuple[Stream, ...]:
    """The streams that a connection selects for good; ContractError where a child is without its parent."""
    chosen = streams(connector, config, selected)
    names = {stream.name for stream in chosen}
    for stream in chosen:
        if stream.parent and stream.parent not in names:
            raise ContractError(
                f"stream {stream.name!r} is read by the records of {stream.parent!r}: select {stream.parent!r} too"
            )
    return chosen


def list_of(connector: Connector, config: Mapping[str, Json], name: str, kind: str) -> Stream:
    """What a slice reads: the stream itself, its tombstones, or the connector's feed."""
    if kind == FEED:
        return _feed(_declared(connector.feed, "the connector has no feed"))
    stream = next((one for one in connector.streams_for(config) if one.name == name), None)
    stream = _declared(stream, f"the connector has no stream {name!r} any more")
    if kind == DELETES:
        return _tombstones(stream, _declared(stream.tombstones, f"stream {name!r} lists no deletions any more"))
    return stream


def _declared(thing: T | None, otherwise: str) -> T:
    if thing is None:
        raise ContractError(otherwise)
    return thing


def _tombstones(stream: Stream, rule: Tombstones) -> Stream:
    cursor = Timestamp(field=rule.at, lookback=rule.lookback, wire_format=rule.wire_format)
    return replace(
        stream,
        path=rule.path,
        pull=rule.pull,
        key=rule.key,
        version=rule.at,
        cursor=cursor,
        parent=None,
        when=None,
        where=None,
        keep=None,
        deletes=(),
        columns=(),
        params={},
        etag=False,
        exempt={},
    )


def _feed(feed: Feed) -> Stream:
    cursor = Timestamp(field=feed.at, lookback=feed.lookback, wire_format=feed.wire_format)
    return Stream(
        FEED,
        feed.path,
        feed.pull,
        key=feed.id,
        version=feed.at,
        cursor=cursor,
        order=feed.order,
        params=feed.params,
        limit=feed.limit,
    )
