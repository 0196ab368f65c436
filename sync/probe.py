"""Probing: one page of each stream, looked at and not stored."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Row

from connectors import Ask, Connector, Json, Outcome, Rows, Stream, TidelockError
from sync.door import Account, OutcomeError
from sync.doors import door
from sync.lists import streams
from sync.registry import load
from sync.store.identity import Batch, Rejection, reader

STOPS = (Outcome.FAIL_CONNECTION, Outcome.REFRESH_AUTH)
_SAMPLE = 50  # records that are looked at more closely


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one page of a stream showed.

    records   on the page; more = it was not the last page
    seconds   until the page was there
    keys      of its first records
    rejected  records that could not be stored, with the reason
    first     the first record, decoded
    error     why there is no page
    skipped   the page was not asked for: the reason
    """

    stream: Stream
    records: int = 0
    more: bool = False
    seconds: float = 0.0
    keys: tuple[str, ...] = ()
    rejected: tuple[Rejection, ...] = ()
    first: Mapping[str, Json] | None = None
    rows: Rows | None = field(default=None, repr=False)
    error: TidelockError | None = None
    skipped: str = ""

    @property
    def problem(self) -> str:
        """What is wrong, in a sentence; "" = nothing."""
        if self.error:
            return str(self.error)
        return f"{self.rejected[0].path}: {self.rejected[0].reason}" if self.rejected else ""


def probe(account: Row[Any], selected: object = None) -> Iterator[Finding]:
    """One page of each stream, parents first; nothing more is asked where the vendor refuses the credential."""
    connector = load(account.connector)
    refused = ""
    seen: dict[str, Finding] = {}
    for stream in streams(connector, account.config, selected or account.streams):
        if refused:
            yield Finding(stream=stream, skipped=refused)
            continue
        if not stream.pulled:
            yield Finding(stream=stream, skipped="it is not read: the webhook brings it")
            continue
        found = seen[stream.name] = _one(connector, account, stream, seen.get(stream.parent or ""))
        if isinstance(found.error, OutcomeError) and found.error.outcome in STOPS:
            refused = "not tried, since the credential or the address is wrong"
        yield found


def _one(connector: Connector, account: Row[Any], stream: Stream, parent: Finding | None) -> Finding:
    ask = Ask(config=account.config, since=None)
    if stream.parent:
        fields = _parent(stream, parent)
        if fields is None:
            return Finding(stream=stream, skipped=f"no record of {stream.parent} was seen that has {stream.name}")
        ask = replace(ask, parent=fields)
    begun = time.monotonic()
    try:
        found = _page(connector, account, stream, ask)
    except TidelockError as error:
        return Finding(stream=stream, error=error, seconds=time.monotonic() - begun)
    return replace(found, seconds=time.monotonic() - begun)


def _page(connector: Connector, account: Row[Any], stream: Stream, ask: Ask) -> Finding:
    located = replace(stream, path=stream.url(ask), parent=None, when=None)
    api = door(account.connector, connector, caller(account, stream))
    page = stream.pull(api, located, ask)
    rows = Rows.of(page.rows)
    batch: Batch = reader(stream).read(rows, api.as_of or 0)
    return Finding(
        stream=stream,
        records=len(rows),
        more=page.next is not None,
        keys=tuple(batch.keys[:_SAMPLE]),
        rejected=batch.rejects,
        first=rows[0] if len(rows) else None,
        rows=Rows(batch.raws[:_SAMPLE]),
    )


def caller(account: Row[Any], stream: Stream) -> Account:
    return Account(
        connection_id=account.id,
        connection=account.name,
        config=account.config,
        credential_id=account.credential_id,
        lane="interactive",
        stream=stream.name,
        limit=stream.limit,
    )


def _parent(stream: Stream, parent: Finding | None) -> dict[str, Json] | None:
    """The fields of the first parent on the page that has children in this stream."""
    if parent is None or parent.rows is None:
        return None
    chosen = ((key, row) for key, row in zip(parent.keys, parent.rows, strict=False) if _has(stream, row))
    found = next(chosen, None)
    if found is None:
        return None
    key, row = found
    return {**{name: row.get(name) for name in stream.parent_fields}, "key": key}


def _has(stream: Stream, row: Mapping[str, Json]) -> bool:
    return stream.where is None or stream.where(row)
