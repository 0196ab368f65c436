"""A door straight into a pretended vendor, without a socket: what pull functions are tested through."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode, urlsplit

import msgspec

from connectors import Ask, Connector, Json, Reply, Rows, Stream, Subscriptions, Webhook
from sync.kit.vendor import Collection, Latency, Limit, Vendor
from sync.kit.vendor.exchange import Answer, Request

Between = Callable[[int], None]


class Door:
    """An `Api` over a vendor; a refusal is a RuntimeError, since these tests ask for none."""

    def __init__(self, vendor: Vendor) -> None:
        self.vendor = vendor
        self.asked: list[str] = []

    def get(self, path: str, params: Mapping[str, Json] | None = None) -> Reply:
        parts = urlsplit(path)
        given = {name: str(value) for name, value in (params or {}).items() if value is not None}
        query = "&".join(filter(None, (parts.query, urlencode(given))))
        target = f"{parts.path}?{query}" if query else parts.path
        return self._answered(target, Request(method="GET", target=target, headers={"host": "v.test"}))

    def post(self, path: str, json: Json, params: Mapping[str, Json] | None = None) -> Reply:
        return self._answered(path, Request(method="POST", target=path, body=msgspec.json.encode(json)))

    def send(self, method: str, path: str, *, json: Json = None, form: Any = None, params: Any = None,
             headers: Mapping[str, str] | None = None) -> Reply:  # fmt: skip
        body = b"" if json is None else msgspec.json.encode(json)
        return self._answered(path, Request(method=method, target=path, body=body))

    def _answered(self, target: str, request: Request) -> Reply:
        self.asked.append(target)
        answer: Answer = self.vendor.answer(request)
        if answer.status >= 400:
            raise RuntimeError(f"{answer.status} at {target}: {answer.body.decode()}")
        headers = {name.lower(): value for name, value in answer.headers.items()}
        return Reply(answer.status, headers, answer.body, target, 0)


def hook_of(connector: Connector) -> tuple[Webhook, Subscriptions]:
    """A connector's webhook and how it is subscribed to, both of which are there."""
    found = connector.webhook_for({})
    assert found
    assert found.subscriptions
    return found, found.subscriptions


def vendor(*collections: Collection) -> Vendor:
    """A vendor of these collections, without auth, limit or latency."""
    return Vendor(collections, limit=Limit(rate=None), latency=Latency())


def walk(
    door: Any, stream: Stream, ask: Ask | None = None, between: Between | None = None, most: int = 100
) -> list[list[Any]]:
    """The records of every page; `between(n)` is called after the n-th. More than `most` pages fail."""
    ask, pages = ask or Ask(), []
    for number in range(1, most + 1):
        page = stream.pull(door, stream, ask)
        pages.append(list(Rows.of(page.rows)))
        if page.next is None:
            return pages
        if between:
            between(number)
        ask = replace(ask, page=msgspec.json.decode(msgspec.json.encode(page.next)))
    raise AssertionError(f"the list doesn't end within {most} pages")


def keys(pages: Iterable[Iterable[Any]]) -> list[Any]:
    """The ids on the pages, in order."""
    return [row["id"] for page in pages for row in page]
