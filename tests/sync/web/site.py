"""The web process in this one, on a real port, with connections whose vendors sign what they deliver."""

import hashlib
import hmac
import http.client
import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn
from sqlalchemy import select

from connectors import Connector, Hmac, InHeader, Prefix, Verifier, Webhook
from models import Inbox
from sync.store import inboxes, notices
from sync.store.database import read, write
from sync.web import app, reception
from sync.web.bell import Bell
from sync.web.protocol import Protocol
from tests.processes import until
from tests.world import World, planted

SECRET = "geheim"
BODY = b'{"id": 7}'
SIGNED = Hmac(signature=InHeader("X-Signature"), form=Prefix("sha256="))
EVENT, DELIVERY = InHeader("X-Event"), InHeader("X-Delivery")


def webhook(verify: Verifier = SIGNED, **changes: Any) -> Webhook:
    told = {"effects": lambda event: (), "name": EVENT, "events": ("*",), "delivery": DELIVERY, **changes}
    return Webhook(verify=verify, **told)


def connected(
    world: World,
    patch: pytest.MonkeyPatch,
    hook: Webhook | None,
    secret: str = SECRET,
    name: str = "acme",
    **values: Any,
) -> int:
    """A connection of this name with this webhook, on a connector of its own; its id."""
    planted(patch, name, Connector(base_url="https://api.example.com", streams=(), webhook=hook))
    account = world.connect(name, {}, **values)
    if secret and hook:
        with write() as connection:
            for held in hook.secrets:
                inboxes.set_secret(connection, account, held, secret)
    return account


def signature(body: bytes, secret: str = SECRET) -> str:
    return f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}"


def headers(body: bytes = BODY, secret: str = SECRET, *, id: str = "1", **more: str) -> dict[str, str]:
    """Those of a delivery whose signature is right."""
    own = {"X-Signature": signature(body, secret), "X-Event": "changed", "X-Delivery": id}
    return {**own, **{name.replace("_", "-"): value for name, value in more.items()}}


def digest(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


class Site:
    """A running server: `port`, its `reception`, and the connections that were rung for."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.rung: list[int] = []
        self.reception: Any = None
        self.port = 0

    def ask(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> tuple[int, bytes, http.client.HTTPMessage]:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            line.request(method, path, body, headers or {})
            answer = line.getresponse()
            return answer.status, answer.read(), answer.headers
        finally:
            line.close()

    def post(self, body: bytes = BODY, sent: dict[str, str] | None = None, name: str = "acme") -> int:
        return self.ask("POST", f"/webhooks/{name}", body, headers(body) if sent is None else sent)[0]

    def raw(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def stored(self) -> list[Any]:
        return self.world.rows("deliveries")

    def sealed(self) -> list[Any]:
        with read() as connection:
            return list(connection.execute(select(Inbox.sealed)).scalars())

    def notices(self) -> list[Any]:
        with read() as connection:
            return [row._mapping for row in notices.listed(connection)]


@contextmanager
def serving(
    world: World, patch: pytest.MonkeyPatch, change: Callable[[Any], None] = lambda made: None
) -> Iterator[Site]:
    """The web process; `change` may make its reception another before it starts."""
    site = Site(world)

    class Remembered(reception.Reception):
        def __init__(self) -> None:
            patch.setattr(reception, "Bell", lambda: Bell(site.rung.append))
            super().__init__()
            change(self)
            site.reception = self

    patch.setattr(reception, "Reception", Remembered)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        site.port = listening.getsockname()[1]
        config = uvicorn.Config(
            app, http=Protocol, ws="none", lifespan="on", log_level="critical", timeout_graceful_shutdown=5
        )
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            until(lambda: server.started, "the server")
            yield site
        finally:
            server.should_exit = True
            thread.join()


def request(body: bytes = BODY, path: str = "/webhooks/acme", **sent: str) -> bytes:
    """A signed POST as it stands on the wire."""
    own = {"Host": "x", "Content-Length": str(len(body)), **headers(body, **sent)}
    lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in own.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def answer(line: socket.socket) -> tuple[int, bytes]:
    """The next answer on this connection: status and body; (0, b"") = it was closed."""
    got = b""
    while b"\r\n\r\n" not in got:
        part = line.recv(65536)
        if not part:
            return 0, got
        got += part
    head, _, body = got.partition(b"\r\n\r\n")
    length = int(next(name for name in head.lower().split(b"\r\n") if name.startswith(b"content-length"))[15:])
    while len(body) < length:
        body += line.recv(65536)
    return int(head.split(b" ")[1]), body


def closed(line: socket.socket) -> bool:
    """Waits for the other side to end the connection."""
    try:
        while line.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


def cut_off(site: Site, head: bytes, more: bytes, most: int = 256 * 1024 * 1024) -> bool:
    """Whether somebody who goes on and on is stopped."""
    with site.raw() as line:
        try:
            line.sendall(head)
            for _ in range(most // len(more)):
                line.sendall(more)
        except OSError:
            return True
    return False


def told(body: bytes) -> Any:
    return json.loads(body)
