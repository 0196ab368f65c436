"""Which collection a path means, and reading it."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from sync.kit.vendor import envelope, pages
from sync.kit.vendor.account import Account
from sync.kit.vendor.collection import Collection, Key
from sync.kit.vendor.exchange import JSON, Answer, Refusal, Request
from sync.kit.vendor.table import Row, Table

EMPTY = pages.Cut(rows=[], more=False, next="", total=0)


@dataclass(frozen=True, kw_only=True)
class Route:
    """A collection's list (`key` is None) or one row; `parent` and `key` as the path has them."""

    collection: str
    parent: str | None = None
    key: str | None = None


class Routes:
    """Paths of a set of collections."""

    def __init__(self, collections: Iterable[Collection]) -> None:
        self._lists: dict[str, str] = {}
        self._singles: dict[str, str] = {}
        self._graphql: list[str] = []
        for collection in collections:
            self._add(collection)

    def find(self, request: Request) -> Route:
        """The route of a request; raises a 404 Refusal."""
        if request.local == "/graphql":
            return self._find_graphql(request)
        path = request.local.rstrip("/")
        above, _, last = path.rpartition("/")
        found = self._list(path) or self._single(above, last)
        if found is None:
            raise Refusal(404, "not_found", f"no such path: {request.local}")
        return found

    def _add(self, collection: Collection) -> None:
        if collection.paging.graphql:
            self._graphql.append(collection.name)
        else:
            self._lists[collection.list_path] = collection.name
        self._singles[f"/v1/{collection.name}"] = collection.name
        self._singles[collection.list_path] = collection.name

    def _list(self, path: str) -> Route | None:
        if path in self._lists:
            return Route(collection=self._lists[path])
        shape, parent = _nested(path)
        return Route(collection=self._lists[shape], parent=parent) if shape in self._lists else None

    def _single(self, above: str, key: str) -> Route | None:
        if above in self._singles:
            return Route(collection=self._singles[above], key=key)
        shape, parent = _nested(above)
        found = self._singles.get(shape)
        return None if found is None else Route(collection=found, parent=parent, key=key)

    def _find_graphql(self, request: Request) -> Route:
        """The first known field of the query; its arguments come as variables and are read like a query."""
        body = request.json()
        text = str(body.get("query", ""))
        for name in self._graphql:
            if re.search(rf"\b{name}\b", text):
                variables = (body.get("variables") or {}).items()
                request.query.update({key: str(value) for key, value in variables if value is not None})
                return Route(collection=name)
        raise Refusal(400, "unknown_field", f"the query must name one of: {', '.join(self._graphql)}")


def _nested(path: str) -> tuple[str, str]:
    """Cut "/v1/projects/7/tasks" into its shape "/v1/projects/{parent}/tasks" and the parent "7"."""
    above, _, last = path.rpartition("/")
    root, _, parent = above.rpartition("/")
    return f"{root}/{{parent}}/{last}", parent


def read(account: Account, route: Route, request: Request) -> Answer:
    """Answer a GET; raises Refusal for what isn't there."""
    table = account.table(route.collection)
    parent = parent_key(account, table, route)
    if route.key is not None:
        return _one(row_of(account, route), table, request)
    page = EMPTY if request.emptied else pages.cut(table, parent, request, account.clock.now())
    return envelope.answer(table.collection, page, request)


def parent_key(account: Account, table: Table, route: Route) -> Key | None:
    """The key of the parent that the path names; raises a 404 Refusal when there is none alive."""
    if route.parent is None:
        return None
    parent = account.table(table.collection.parent).find(route.parent)
    if parent is None or parent.deleted is not None:
        raise Refusal(404, "not_found", f"no {table.collection.parent} with id {route.parent!r}")
    return parent.key


def row_of(account: Account, route: Route) -> Row:
    """The row that the path names; raises a Refusal (404, or what the collection says) when it is gone."""
    table = account.table(route.collection)
    row = table.find(route.key or "")
    shown = table.collection.gone_status == 200
    if row is not None and (row.deleted is None or shown) and route.parent in (None, str(row.parent)):
        return row
    deleted = any(str(key) == route.key for key in table.deleted)
    status = table.collection.gone_status if deleted and not shown else 404
    raise Refusal(status, "not_found", f"no {table.collection.singular} with id {route.key!r}")


def _one(row: Row, table: Table, request: Request) -> Answer:
    etag = row.etag
    if request.headers.get("if-none-match") == etag:
        return Answer(status=304, headers={"ETag": etag})
    return Answer(body=row.body, headers={"Content-Type": JSON, "ETag": etag}, keys=(row.key,))
