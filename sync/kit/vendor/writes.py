"""Writing through the vendor's public API, with its ways to make a write safe to repeat."""

import hashlib
import threading
from collections.abc import Callable

from sync.kit.vendor.account import Account, KeyTaken
from sync.kit.vendor.collection import Fields, Writing
from sync.kit.vendor.exchange import JSON, Answer, Refusal, Request
from sync.kit.vendor.routes import Route, parent_key, row_of
from sync.kit.vendor.table import Row, Table


class KeptAnswers:
    """Answers by idempotency key: a repeated write gets the first one's again."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._kept: dict[tuple[str, str], tuple[str, Answer]] = {}

    def once(self, request: Request, key: str, act: Callable[[], Answer]) -> Answer:
        """Act, unless this key was seen; raises a 409 Refusal when it was seen with another request."""
        print_ = hashlib.sha256(f"{request.method} {request.target} ".encode() + request.body).hexdigest()
        with self.lock:
            known = self._kept.get((request.account, key))
            if known is None:
                answer = act()
                self._kept[request.account, key] = (print_, answer)
                return answer
        if known[0] != print_:
            raise Refusal(409, "idempotency_key_reused", "this key was used with another request")
        first = known[1]
        headers = {**first.headers, "Idempotent-Replay": "true"}
        return Answer(status=first.status, body=first.body, headers=headers)


def write(account: Account, route: Route, request: Request, kept: KeptAnswers) -> Answer:
    """Answer a POST, PATCH, PUT or DELETE; raises Refusal."""
    writing = account.table(route.collection).collection.writing
    verb = VERBS.get((request.method, route.key is not None))
    if writing is None or verb is None:
        raise Refusal(405, "method_not_allowed", f"{request.method} is not possible here")
    key = request.headers.get(writing.idempotency.lower(), "") if writing.idempotency else ""
    if not key:
        return verb(account, route, request, writing)
    return kept.once(request, key, lambda: verb(account, route, request, writing))


def _create(account: Account, route: Route, request: Request, writing: Writing) -> Answer:
    table = account.table(route.collection)
    body = request.json()
    lacking = [name for name in writing.required if body.get(name) in (None, "")]
    if lacking:
        raise Refusal(422, "validation_failed", f"missing: {', '.join(lacking)}")
    key = body.get(table.collection.key) if writing.client_ids else None
    fields = _writable(table, body)
    if route.parent is not None:
        fields[table.collection.parent_field] = parent_key(account, table, route)
    try:
        return _shown(account.create(route.collection, key, fields), 201)
    except KeyTaken as error:
        raise Refusal(409, "already_exists", str(error)) from error
    except ValueError as error:
        raise Refusal(422, "validation_failed", str(error)) from error


def _update(account: Account, route: Route, request: Request, writing: Writing) -> Answer:
    row = _live(account, route)
    _check_etag(row, request, writing)
    fields = _writable(account.table(route.collection), request.json())
    return _shown(account.update(route.collection, row.key, fields), 200)


def _upsert(account: Account, route: Route, request: Request, writing: Writing) -> Answer:
    """`PUT /v1/customers?email=x`: one match is updated, none makes a row, several are a 300."""
    name = writing.upsert
    if not name or name not in request.query:
        raise Refusal(405, "method_not_allowed", "this collection knows no upsert by that field")
    value = request.query[name]
    table = account.table(route.collection)
    found = [row for row in table.rows.values() if row.deleted is None and str(row.fields.get(name)) == value]
    fields = {name: value, **_writable(table, request.json())}
    if len(found) > 1:
        raise Refusal(300, "multiple_choices", f"{len(found)} rows have {name} {value!r}")
    if found:
        return _shown(account.update(route.collection, found[0].key, fields), 200)
    return _shown(account.create(route.collection, None, fields), 201)


def _delete(account: Account, route: Route, request: Request, writing: Writing) -> Answer:
    row = _live(account, route)
    _check_etag(row, request, writing)
    account.delete(route.collection, row.key)
    return Answer(status=204, keys=(row.key,))


def _live(account: Account, route: Route) -> Row:
    """The row to write to; a deleted one can be looked at, perhaps, but not written."""
    row = row_of(account, route)
    if row.deleted is not None:
        raise Refusal(404, "not_found", f"{row.key!r} has been deleted")
    return row


def _check_etag(row: Row, request: Request, writing: Writing) -> None:
    held = request.headers.get("if-match")
    if held is None and writing.if_match:
        raise Refusal(428, "precondition_required", "send If-Match with the ETag that you read")
    if held is not None and held not in ("*", row.etag):
        raise Refusal(412, "precondition_failed", "the row has changed since you read it")


def _writable(table: Table, body: Fields) -> Fields:
    """What a caller may set: not the key, nor what the vendor stamps."""
    names = table.collection
    own = {names.key, names.created, names.updated, names.moved, names.sequence, names.parent_field}
    return {name: value for name, value in body.items() if name not in own}


def _shown(row: Row, status: int) -> Answer:
    return Answer(status=status, body=row.body, headers={"Content-Type": JSON, "ETag": row.etag}, keys=(row.key,))


VERBS: dict[tuple[str, bool], Callable[[Account, Route, Request, Writing], Answer]] = {
    ("POST", False): _create,
    ("PUT", False): _upsert,
    ("PATCH", True): _update,
    ("PUT", True): _update,
    ("POST", True): _update,
    ("DELETE", True): _delete,
}
