"""Which rows a list request asks for."""

from collections.abc import Callable
from dataclasses import dataclass, field

from sync.kit.vendor.collection import Collection, Since, SyncToken
from sync.kit.vendor.exchange import Refusal, Request
from sync.kit.vendor.table import SORTS, Row
from sync.kit.vendor.times import SECOND, floor, parse
from sync.kit.vendor.tokens import InvalidToken, decode

Test = Callable[[Row], bool]


@dataclass(frozen=True, kw_only=True)
class Filter:
    """Tests that a row must all pass, and the bound of the list's own sort number, if there is one."""

    tests: tuple[Test, ...] = ()
    bound: int | None = field(default=None)

    def passes(self, row: Row) -> bool:
        """Whether the request asks for this row."""
        return all(test(row) for test in self.tests)


def filter_of(collection: Collection, request: Request, now: int) -> Filter:
    """Read the filters of a request; raises Refusal for one that can't be understood."""
    tests = [*_where(collection, request), *_flagged(collection, request)]
    lower = _lower_bound(collection, request, now)
    if lower is not None:
        number = SORTS[collection.since.on if collection.since and not collection.sync_token else "updated"]
        tests.append(lambda row: number(row) >= lower)
    tests += _upper(collection, request)
    on = collection.since.on if collection.since else "updated"
    return Filter(tests=tuple(tests), bound=lower if on == collection.order else None)


def _where(collection: Collection, request: Request) -> list[Test]:
    asked = [(name, request.query[name]) for name in collection.where if name in request.query]
    return [lambda row, name=name, value=value: str(row.fields.get(name)) == value for name, value in asked]  # type: ignore[misc]  # mypy can't type defaults of a lambda


def _flagged(collection: Collection, request: Request) -> list[Test]:
    asked = request.query.get(collection.flag_param, "").lower() in {"true", "1"}
    return [] if asked or not collection.flag_param else [lambda row: row.deleted is None]


def _lower_bound(collection: Collection, request: Request, now: int) -> int | None:
    token = collection.sync_token
    if token and token.param in request.query:
        return _synced(token, request.query[token.param], now)
    since = collection.since
    if since is None or not request.query.get(since.param):
        return None
    return _bucket(since, since.param, request)


def _bucket(since: Since, param: str, request: Request) -> int:
    """The first moment that passes: of the asked bucket, or of the next when it is exclusive."""
    start = floor(_moment(request, param, since.zone), since.granularity_s, since.zone)
    return start if since.inclusive else start + (round(since.granularity_s * SECOND) or 1)


def _upper(collection: Collection, request: Request) -> list[Test]:
    since = collection.since
    if since is None or not since.until or not request.query.get(since.until):
        return []
    until = _moment(request, since.until, since.zone)
    number = SORTS[since.on]
    return [lambda row: number(row) < until]


def _moment(request: Request, param: str, zone: str) -> int:
    try:
        return parse(request.query[param], zone)
    except ValueError:
        message = f"{param} must be an ISO 8601 time or epoch seconds, not {request.query[param]!r}"
        raise Refusal(400, "invalid_parameter", message) from None


def _synced(token: SyncToken, text: str, now: int) -> int:
    try:
        (at,) = decode(text)
    except (InvalidToken, ValueError):
        raise Refusal(400, "invalid_sync_token", f"{token.param} was not made by this server") from None
    if token.expires_s is not None and now - at > token.expires_s * SECOND:
        raise Refusal(token.expired_status, "sync_token_expired", f"{token.param} is too old: do a full sync")
    return int(at)
