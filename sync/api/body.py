"""Bodies: what a request carries, as JSON or as the fields of a form."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlencode

import msgspec

from connectors import ContractError, Json
from sync.api.origin import text


def encoded(json: Json, form: Mapping[str, Json] | None) -> tuple[bytes | None, dict[str, str]]:
    """The body and the headers that speak of it; None for a request without one."""
    if json is not None and form is not None:
        raise ContractError("a request has one body: json or form")
    if form is not None:
        kind, body = "application/x-www-form-urlencoded", urlencode(list(_fields(form))).encode()
    elif json is not None:
        kind, body = "application/json", msgspec.json.encode(json)
    else:
        return None, {}
    return body, {"Content-Type": kind, "Content-Length": str(len(body))}


def _fields(form: Mapping[str, Json]) -> Iterator[tuple[str, str]]:
    for name, value in form.items():
        yield from _field(name, value)


def _field(name: str, value: Json) -> Iterator[tuple[str, str]]:
    """One field, or those inside it: a[b]=c for a mapping, a[0]=c for a list; None is left out."""
    inside: Mapping[object, Json] = {}
    if isinstance(value, Mapping):
        inside = value
    elif isinstance(value, list | tuple):
        inside = dict(enumerate(value))
    elif value is not None:
        yield name, text(value)
    for key, one in inside.items():
        yield from _field(f"{name}[{key}]", one)
