"""The common paginations as ready-made pull functions.

Each function here returns a pull function: `pull(api, stream, ask) -> Page`. The position is JSON in the ask,
so every page can be retried, resumed and moved to another worker. The end is what the vendor says it is,
never a short page. `since` and `until` name the query parameters that carry the ask's bounds; `size` is the
page size as a parameter: `size=("limit", 100)`.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias
from urllib.parse import quote

from connectors._ask import Ask, Json, Page
from connectors._errors import ContractError
from connectors._fields import text
from connectors._reply import Reply, Rows

if TYPE_CHECKING:
    from connectors._stream import Stream


class Api(Protocol):
    """The door to the vendor as connectors see it: signed, limited, capped, classified.

    Parameters that are None are left out. An answer that is not OK never returns: the engine acts on it.
    """

    def get(self, path: str, params: Mapping[str, Json] | None = None) -> Reply:
        """GET a path below the base URL, or an absolute URL on the same host."""

    def post(self, path: str, json: Json, params: Mapping[str, Json] | None = None) -> Reply:
        """POST a JSON body for reading (GraphQL, search); it is repeated like a GET."""

    def send(
        self,
        method: str,
        path: str,
        *,
        json: Json = None,
        form: Mapping[str, Json] | None = None,
        params: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """A request that changes something, sent once: POST, PUT, PATCH or DELETE with a JSON body, or with a form,
        whose names nest as Stripe's do: {"a": {"b": 1}, "c": [2]} is a[b]=1&c[0]=2."""


PullFunction: TypeAlias = Callable[[Any, "Stream", Ask], Page]
GetFunction: TypeAlias = Callable[[Any, "Stream", str], Any]


def delivered(api: Any, stream: "Stream", ask: Ask) -> Page:
    """The pull of a stream that can't be read: the connector's webhook brings all that it has."""
    raise ContractError(f"stream {stream.name!r} can't be pulled: it has what the webhook brings")


Size: TypeAlias = tuple[str, int] | None


def _params(stream: "Stream", ask: Ask, size: Size, since: str | None, until: str | None) -> dict[str, Json]:
    params = dict(stream.params)
    if size:
        params[size[0]] = size[1]
    if since:
        params[since] = ask.since
    if until:
        params[until] = ask.until
    return params


def cursor(
    rows: str,
    next: str,
    *,
    param: str = "cursor",
    size: Size = None,
    more: str | None = None,
    since: str | None = None,
    until: str | None = None,
    sync_token: str | None = None,
) -> PullFunction:
    """A token in the body says how to go on: `{"data": [...], "next_cursor": "..."}`.

    rows, next   dotted paths of the records and of the token; an absent, null or empty token ends the list
    more         a dotted path that must be true for the list to go on, where the token alone doesn't end it
    sync_token   a dotted path of the token for the next run, sent back as `since`
    """

    def pull(api: Api, stream: "Stream", ask: Ask) -> Page:
        reply = api.get(stream.url(ask), {**_params(stream, ask, size, since, until), param: ask.page})
        goes_on = more is None or reply[more]
        token = reply[sync_token] if sync_token else None
        return Page(reply.rows(rows), reply[next] or None if goes_on else None, token)

    return pull


def last_id(
    param: str,
    *,
    rows: str = "data",
    more: str = "has_more",
    id: str = "id",
    size: Size = None,
    since: str | None = None,
    until: str | None = None,
) -> PullFunction:
    """The last record's id asks for what follows it: Stripe's `starting_after` and `has_more`."""

    def pull(api: Api, stream: "Stream", ask: Ask) -> Page:
        reply = api.get(stream.url(ask), {**_params(stream, ask, size, since, until), param: ask.page})
        found = reply.rows(rows)
        if not reply.demand(more):
            return Page(found)
        if not found:
            raise ContractError(f"{reply.url} says that there is more, and shows no record to go on from")
        return Page(found, found[-1][id])

    return pull


def link_header(
    *,
    rows: str = "",
    rel: str = "next",
    size: Size = None,
    since: str | None = None,
    until: str | None = None,
) -> PullFunction:
    """The `Link` header holds the next page's URL (RFC 8288): GitHub."""

    def pull(api: Api, stream: "Stream", ask: Ask) -> Page:
        reply = _follow(api, stream, ask, _params(stream, ask, size, since, until))
        return Page(reply.rows(rows), reply.link.get(rel))

    return pull


def keyset(field: str, *, since: str = "since", rows: str = "", rel: str = "next", size: Size = None) -> PullFunction:
    """The list rises by `field`, `since` means "at or after", and the `Link` header tells whether it goes on.

    Its numbered pages shift when a row that was read is edited under way, and hide another. So the next page
    is asked for by the last row's value; the vendor's own link is followed only while a page holds one single
    value, so only a tie larger than a page can still shift.
    """

    def pull(api: Api, stream: "Stream", ask: Ask) -> Page:
        at = ask.page or {"since": ask.since}
        params = {**_params(stream, ask, size, None, None), since: at["since"]}
        reply = api.get(at["link"]) if "link" in at else api.get(stream.url(ask), params)
        found, link = reply.rows(rows), reply.link.get(rel)
        if not link:
            return Page(found)
        last = found[-1][field] if found else at["since"]
        return Page(found, {"since": at["since"], "link": link} if last == at["since"] else {"since": last})

    return pull


def next_url(
    rows: str, next: str, *, size: Size = None, since: str | None = None, until: str | None = None
) -> PullFunction:
    """The body holds the next page's URL, absolute or a path; an absent or null one ends the list:
    Salesforce."""

    def pull(api: Api, stream: "Stream", ask: Ask) -> Page:
        reply = _follow(api, stream, ask, _params(stream, ask, size, since, until))
        return Page(reply.rows(rows), reply[next] or None)

    return pull


def _follow(api: Api, stream: "Stream", ask: Ask, params: Mapping[str, Json]) -> Reply:
    """The first page by path and parameters, the others by the URL that the vendor gave."""
    return api.get(ask.page) if ask.page else api.get(stream.url(ask), params)


def page_number(
    rows: str,
    *,
    param: str = "page",
    start: int = 1,
    last: str | None = None,
    more: str | None = None,
    size: Size = None,
    since: str | None = None,
    until: str | None = None,
) -> PullFunction:
    """Pages are numbered. `last` is the path of the last page's number, `more` of a flag that says whether
    the list goes on; where the vendor says neither, an empty page is the end. Numbered pages shift when rows
    are deleted under way: give the stream a `Sweep`."""

    def pull(api: Api, stream: "Stream", ask: Ask) -> Page:
        number = ask.page or start
        reply = api.get(stream.url(ask), {**_params(stream, ask, size, since, until), param: number})
        found = reply.rows(rows)
        if more:
            goes_on = bool(reply.demand(more))
        elif last:
            goes_on = number < reply.demand(last)
        else:
            goes_on = len(found) > 0
        return Page(found, number + 1 if goes_on else None)

    return pull


def offset(
    rows: str,
    *,
    param: str = "offset",
    size: tuple[str, int] = ("limit", 100),
    total: str | None = None,
    cap: int | None = None,
    since: str | None = None,
    until: str | None = None,
) -> PullFunction:
    """Rows are counted. The next page begins with this one's last row: where that has moved away, rows before it
    were deleted or made under way, and the list is read again from further up, so that no row hides in the shift.
    `total` is the path of the row count; without it a page with nothing new is the end. `cap` is the offset beyond
    which the vendor stops answering: reaching it fails instead of ending silently, as does a list that stops
    before its total.
    """

    def pull(api: Api, stream: "Stream", ask: Ask) -> Page:
        at, overlap, turns = ask.page or (0, None, 0)
        reply = api.get(stream.url(ask), {**_params(stream, ask, size, since, until), param: at})
        found = reply.rows(rows)
        if at and overlap is not None and not any(_name(stream, row) == overlap for row in found):
            return Page(found, [max(at - (size[1] << turns), 0), overlap, turns + 1])
        end, fresh = at + len(found), len(found) - (overlap is not None)
        goes_on = end < reply.demand(total) if total else fresh > 0
        if goes_on and cap is not None and end >= cap:
            raise ContractError(f"{stream.name} has more than the {cap} rows that the vendor lists: narrow it")
        if goes_on and fresh < 1:
            counted = f"the vendor counts {reply[total or '']} rows of {stream.name}"
            raise ContractError(f"{counted} and lists no more than {end}: narrow the list")
        last = _name(stream, found[-1]) if len(found) > 1 else None
        return Page(found, [end - (last is not None), last, turns] if goes_on else None)

    return pull


def _name(stream: "Stream", row: Json) -> list[Json]:
    """What tells a row from the others."""
    return [text(path).value(row) for path in stream.keys]


def sequence(rows: str, *, param: str, more: str, last: str, size: Size = None) -> PullFunction:
    """A log with rising numbers: ask for what follows one; `last` is the path of the highest number in the
    page, `more` of the flag that says whether the log goes on. It also ends for now where there might be more, but
    no row came and the number did not rise."""

    def pull(api: Api, stream: "Stream", ask: Ask) -> Page:
        after = ask.page if ask.page is not None else ask.since
        reply = api.get(stream.url(ask), {**_params(stream, ask, size, None, None), param: after})
        found, goes_on = reply.rows(rows), reply.demand(more)
        reached = reply.demand(last) if goes_on else None
        return Page(found, None if not found and reached == after else reached)

    return pull


def graphql(
    query: str,
    connection: str,
    *,
    first: int = 100,
    variables: Mapping[str, Json] | None = None,
    since: str | None = None,
    path: str = "/graphql",
) -> PullFunction:
    """A GraphQL connection: `connection` is the dotted path of `{nodes, pageInfo {hasNextPage endCursor}}`
    below `data`; the query takes the variables `$first` and `$after`, and `since` names one for the lower
    bound."""

    def pull(api: Api, stream: "Stream", ask: Ask) -> Page:
        asked = {**(variables or {}), "first": first, "after": ask.page}
        if since:
            asked[since] = ask.since
        reply = api.post(path, {"query": query, "variables": {**asked, **(ask.parent or {})}})
        info = reply[f"data.{connection}.pageInfo"]
        if info is None:
            raise ContractError(f"no pageInfo at $.data.{connection} of {reply.url}: {reply['errors']}")
        nodes = reply.rows(f"data.{connection}.nodes")
        return Page(nodes, info["endCursor"] if info["hasNextPage"] else None)

    return pull


def whole(rows: str = "") -> PullFunction:
    """One answer holds everything."""

    def pull(api: Api, stream: "Stream", ask: Ask) -> Page:
        return Page(api.get(stream.url(ask), _params(stream, ask, None, None, None)).rows(rows))

    return pull


def get_one(path: str = "{path}/{key}", row: str = "") -> GetFunction:
    """Get one record by key; `row` is the dotted path of the record in the answer."""

    def get(api: Api, stream: "Stream", key: str) -> Any:
        return api.get(path.format(path=stream.path, key=quote(key, safe=""))).row(row)

    return get


__all__ = [
    "Api",
    "GetFunction",
    "PullFunction",
    "Rows",
    "cursor",
    "get_one",
    "graphql",
    "keyset",
    "last_id",
    "link_header",
    "next_url",
    "offset",
    "page_number",
    "sequence",
    "whole",
]
