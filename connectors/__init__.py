"""The vocabulary in which a third-party API is described.

Nouns are data, verbs are functions: data until data runs out, then a function, never a string that means
code. A connector is one module in this folder (or an entry point of the group `tidelock.connectors`) with a
`connector = Connector(...)` in it. Its functions never retry, sleep, log or touch the database.
"""

from connectors._ask import Ask, Delete, Effect, Json, Page, Pull, Refetch, Upsert
from connectors._auth import Auth, Basic, Bearer, Header, NoAuth, OAuth2, Query
from connectors._cursors import Cursor, Opaque, Sequence, Timestamp
from connectors._deletes import Deletes, Flag, Sweep, Tombstones, WithParent
from connectors._durations import seconds
from connectors._errors import ContractError, TidelockError
from connectors._fields import Field, Kind, boolean, epoch, epoch_ms, integer, iso, json, number, text
from connectors._limits import Concurrency, Cost, FixedWindow, Headers, Limit, MinInterval, TokenBucket, limit
from connectors._outcomes import Body, Outcome, Rule, Wait
from connectors._pulls import (
    Api,
    cursor,
    get_one,
    graphql,
    keyset,
    last_id,
    link_header,
    next_url,
    offset,
    page_number,
    sequence,
    whole,
)
from connectors._reply import Reply, Rows
from connectors._stream import Connector, Feed, Option, Stream

__all__ = [
    "Api",
    "Ask",
    "Auth",
    "Basic",
    "Bearer",
    "Body",
    "Concurrency",
    "Connector",
    "ContractError",
    "Cost",
    "Cursor",
    "Delete",
    "Deletes",
    "Effect",
    "Feed",
    "Field",
    "FixedWindow",
    "Flag",
    "Header",
    "Headers",
    "Json",
    "Kind",
    "Limit",
    "MinInterval",
    "NoAuth",
    "OAuth2",
    "Opaque",
    "Option",
    "Outcome",
    "Page",
    "Pull",
    "Query",
    "Refetch",
    "Reply",
    "Rows",
    "Rule",
    "Sequence",
    "Stream",
    "Sweep",
    "TidelockError",
    "Timestamp",
    "TokenBucket",
    "Tombstones",
    "Upsert",
    "Wait",
    "WithParent",
    "boolean",
    "cursor",
    "epoch",
    "epoch_ms",
    "get_one",
    "graphql",
    "integer",
    "iso",
    "json",
    "keyset",
    "last_id",
    "limit",
    "link_header",
    "next_url",
    "number",
    "offset",
    "page_number",
    "seconds",
    "sequence",
    "text",
    "whole",
]
