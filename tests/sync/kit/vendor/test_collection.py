"""Every paging dialect, walked as its callers walk it, gives exactly the truth."""

from typing import Any

import httpx
import pytest

from sync.kit.vendor import (
    Collection,
    Paging,
    cursor,
    export,
    graphql,
    last_id,
    link,
    next_url,
    offset,
    page_number,
    sequence,
)

Rows = list[dict[str, Any]]


def walk_cursor(client: httpx.Client) -> Rows:
    rows: Rows = []
    given: str | None = ""
    while given is not None:
        body = client.get("/v1/notes", params={"cursor": given, "limit": 7}).json()
        rows += body["data"]
        given = body["next_cursor"]
    return rows


def walk_export(client: httpx.Client) -> Rows:
    rows: Rows = []
    body: dict[str, Any] = {"after_cursor": "", "end_of_stream": False}
    while not body["end_of_stream"]:
        body = client.get("/v1/notes", params={"cursor": body["after_cursor"], "limit": 7}).json()
        rows += body["data"]
    return rows


def walk_last_id(client: httpx.Client) -> Rows:
    rows: Rows = []
    more = True
    while more:
        after = {"starting_after": rows[-1]["id"]} if rows else {}
        body = client.get("/v1/notes", params={**after, "limit": 7}).json()
        rows += body["data"]
        more = body["has_more"]
    return rows


def walk_link(client: httpx.Client) -> Rows:
    rows: Rows = []
    url: str | None = "/v1/notes?per_page=7"
    while url:
        reply = client.get(url)
        rows += reply.json()
        url = reply.links.get("next", {}).get("url")
    return rows


def walk_url(client: httpx.Client) -> Rows:
    rows: Rows = []
    url = "/v1/notes?limit=7"
    while url:
        body = client.get(url).json()
        rows += body["data"]
        url = body["next"]
    return rows


def walk_pages(client: httpx.Client) -> Rows:
    rows: Rows = []
    total, page = 1, 1
    while len(rows) < total:
        body = client.get("/v1/notes", params={"page": page, "per_page": 7}).json()
        rows += body["data"]
        total, page = body["total"], page + 1
    return rows


def walk_offset(client: httpx.Client) -> Rows:
    rows: Rows = []
    total = 1
    while len(rows) < total:
        body = client.get("/v1/notes", params={"offset": len(rows), "limit": 7}).json()
        rows += body["data"]
        total = body["total"]
    return rows


def walk_sequence(client: httpx.Client) -> Rows:
    rows: Rows = []
    body: dict[str, Any] = {"last_seq": 0, "more": True}
    while body["more"]:
        body = client.get("/v1/notes", params={"after_seq": body["last_seq"], "limit": 7}).json()
        rows += body["data"]
    return rows


def walk_graphql(client: httpx.Client) -> Rows:
    query = "query($first: Int, $after: String) { notes(first: $first, after: $after) { nodes { id } } }"
    rows: Rows = []
    info: dict[str, Any] = {"hasNextPage": True, "endCursor": None}
    while info["hasNextPage"]:
        variables = {"first": 7, "after": info["endCursor"]}
        found = client.post("/graphql", json={"query": query, "variables": variables}).json()["data"]["notes"]
        rows += found["nodes"]
        info = found["pageInfo"]
    return rows


DIALECTS = {
    "cursor": (cursor(), walk_cursor),
    "export": (export(), walk_export),
    "last_id": (last_id(), walk_last_id),
    "link": (link(), walk_link),
    "next_url": (next_url(), walk_url),
    "page_number": (page_number(), walk_pages),
    "offset": (offset(), walk_offset),
    "sequence": (sequence(), walk_sequence),
    "graphql": (graphql(), walk_graphql),
}


@pytest.mark.parametrize("count", [0, 1, 7, 23, 28])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_walk_gives_exactly_the_truth_in_order(notes, asker, dialect, count):
    paging, walk = DIALECTS[dialect]
    order = "sequence" if dialect == "sequence" else "updated"
    vendor = notes(count, paging=paging, order=order, rows="" if dialect == "link" else "data")
    rows = walk(asker(vendor))
    assert [row["id"] for row in rows] == list(range(1, count + 1))
    assert {str(row["id"]): row for row in rows} == vendor.truth("notes")


@pytest.mark.parametrize("dialect", [name for name in DIALECTS if name != "sequence"])
def test_a_descending_list_gives_the_truth_backwards(notes, asker, dialect):
    paging, walk = DIALECTS[dialect]
    vendor = notes(23, paging=paging, descending=True, rows="" if dialect == "link" else "data")
    assert [row["id"] for row in walk(asker(vendor))] == list(range(23, 0, -1))


def test_ties_of_one_moment_are_paged_through(notes, asker):
    assert len(walk_cursor(asker(notes(250, tied=True)))) == 250


def test_traps_of_tokens_need_tokens():
    with pytest.raises(ValueError, match="by='token'"):
        offset(loop=True)


def test_a_dialect_that_cannot_work_is_refused():
    with pytest.raises(ValueError, match="one of token"):
        Paging(by="typo", position="x")
    with pytest.raises(ValueError, match="notes: order must be one of"):
        Collection(name="notes", order="typo")
    with pytest.raises(ValueError, match="needs order='sequence'"):
        Collection(name="notes", paging=sequence())
