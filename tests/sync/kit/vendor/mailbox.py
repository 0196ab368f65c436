"""A server that takes webhooks: what came, in order, answered as a test wants it."""

import json
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclass(frozen=True)
class Came:
    """One delivery as it came; header names in lower case."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Mailbox:
    """Listens on 127.0.0.1 and answers with `status`, or with what `statuses` holds first."""

    def __init__(self, status: int = 202) -> None:
        self.came: list[Came] = []
        self.status = status
        self.statuses: list[int] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._door())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/hook"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, count: int, seconds: float = 10.0) -> list[Came]:
        """What came, once there is so much of it."""
        ends = time.monotonic() + seconds
        while len(self.came) < count:
            assert time.monotonic() < ends, f"{len(self.came)} of {count} deliveries came"
            time.sleep(0.005)
        return list(self.came)

    def _door(mailbox: "Mailbox") -> type[BaseHTTPRequestHandler]:  # noqa: N805 - `self` is the door's below
        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                mailbox.came.append(Came(self.path, headers, body))
                self.send_response(mailbox.statuses.pop(0) if mailbox.statuses else mailbox.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                """Nobody reads it."""

        return Door
