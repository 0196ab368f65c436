"""A page as the vendor words it: body and headers."""

import hashlib
import json
from typing import Any
from urllib.parse import urlencode

from sync.kit.vendor.collection import Collection, Fields, Paging
from sync.kit.vendor.exchange import JSON, Answer, Request
from sync.kit.vendor.pages import Cut

ROWS = "\x00rows"  # stands in the envelope where the rows' own bytes go
ROWS_JSON = json.dumps(ROWS).encode()


def answer(collection: Collection, page: Cut, request: Request) -> Answer:
    """Word a page; 304 without a body if the caller has it already."""
    body = _body(collection, page, request)
    headers = {"Content-Type": JSON}
    keys = tuple(row.key for row in page.rows)
    if page.next and collection.paging.link:
        headers["Link"] = f'<{_url(request, collection.paging, page.next)}>; rel="next"'
    if not collection.etag:
        return Answer(body=body, headers=headers, keys=keys)
    headers["ETag"] = 'W/"' + hashlib.blake2b(body, digest_size=8).hexdigest() + '"'
    if request.headers.get("if-none-match") == headers["ETag"]:
        return Answer(status=304, headers={"ETag": headers["ETag"]})
    return Answer(body=body, headers=headers, keys=keys)


def _body(collection: Collection, page: Cut, request: Request) -> bytes:
    rows = b"[" + b",".join([row.body for row in page.rows]) + b"]"
    if not collection.rows:
        return rows
    said = _said(collection, page, request)
    head, tail = json.dumps(said, separators=(",", ":")).encode().split(ROWS_JSON)
    return head + rows + tail


def _said(collection: Collection, page: Cut, request: Request) -> Fields:
    """The envelope, with ROWS where the rows go."""
    paging = collection.paging
    following: Any = page.next or paging.end
    values = (
        ("nodes" if paging.graphql else collection.rows, ROWS),
        (paging.next, int(page.next) if paging.by == "sequence" else following),
        (paging.url, _url(request, paging, page.next) if page.next else paging.end),
        (paging.more, page.more),
        (paging.done, not page.more),
        (paging.total, page.total),
        (collection.sync_token.next if collection.sync_token and page.sync_token else "", page.sync_token),
    )
    said: Fields = {}
    for path, value in values:
        if path:
            put(said, path, value)
    return {"data": {collection.name: said}} if paging.graphql else said


def _url(request: Request, paging: Paging, position: str) -> str:
    host = request.headers.get("host", "localhost")
    query = urlencode({**request.query, paging.position: position})
    return f"http://{host}{request.path}?{query}"


def put(body: Fields, path: str, value: Any) -> None:
    """Set a dotted path, making what is missing on the way."""
    *parents, last = path.split(".")
    for name in parents:
        body = body.setdefault(name, {})
    body[last] = value
