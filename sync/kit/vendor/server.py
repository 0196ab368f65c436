"""The vendor on a real socket: HTTP/1.1 with keep-alive, one thread a connection."""

import socket
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import ThreadingHTTPServer

from sync.kit.vendor import control
from sync.kit.vendor.exchange import Answer, Refusal, Request
from sync.kit.vendor.vendor import Vendor

LINE_LIMIT = 65_536
BODY_LIMIT = 32 << 20
REASONS = {status.value: status.phrase for status in HTTPStatus}
RESET = struct.pack("ii", 1, 0)  # SO_LINGER on, zero seconds: closing sends RST


class Unreadable(ValueError):
    """The bytes on this connection are no HTTP request of a kind we take."""


class Conversation(socketserver.StreamRequestHandler):
    """One connection: requests are answered one after the other until either side ends it.

    The lines are parsed here, as http.server's mail parser takes longer than a page of rows.
    """

    server: "VendorServer"
    disable_nagle_algorithm = True

    def handle(self) -> None:
        """Answer until the caller hangs up, says close, or an answer ends the connection."""
        try:
            while self._exchange():
                pass
        except (ConnectionError, TimeoutError):
            return  # the caller hung up: nobody is left to be told
        except Unreadable as error:
            self._send(Refusal(400, "bad_request", str(error)).answer, keep=False)

    def _exchange(self) -> bool:
        request = self._read()
        if request is None:
            return False
        answer = self.server.answer(request)
        keep = request.headers.get("connection", "").lower() != "close"
        return self._send(answer, keep=keep, bare=request.method == "HEAD") and keep

    def _read(self) -> Request | None:
        line = self._line()
        if not line:
            return None
        words = line.decode("latin-1").split()
        if len(words) != 3 or words[2] != "HTTP/1.1":
            raise Unreadable("the request line must be METHOD target HTTP/1.1")
        headers = self._headers()
        return Request(method=words[0], target=words[1], headers=headers, body=self._body(headers))

    def _headers(self) -> dict[str, str]:
        headers = {}
        while line := self._line().decode("latin-1").rstrip("\r\n"):
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return headers

    def _line(self) -> bytes:
        line = self.rfile.readline(LINE_LIMIT)
        if len(line) == LINE_LIMIT:
            raise Unreadable(f"a line may not be longer than {LINE_LIMIT} bytes")
        return line

    def _body(self, headers: dict[str, str]) -> bytes:
        if "transfer-encoding" in headers:
            raise Unreadable("send a Content-Length, not chunks")
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > BODY_LIMIT:
            raise Unreadable(f"Content-Length must be a number up to {BODY_LIMIT}")
        return self.rfile.read(int(length))

    def _send(self, answer: Answer, *, keep: bool, bare: bool = False) -> bool:
        """Put an answer on the wire; gives whether the connection can go on."""
        if answer.wire == "reset":
            return self._reset()
        head = _head(answer, keep=keep)
        body = b"" if bare else answer.body
        if answer.wire == "cut":
            self.connection.sendall(head + body[: len(body) // 2])
            return False
        if answer.wire == "drip":
            self._drip(head + body, answer.seconds)
        else:
            self.connection.sendall(head + body)
        return True

    def _reset(self) -> bool:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.rfile.close()
        self.connection.close()
        return False

    def _drip(self, data: bytes, seconds: float, steps: int = 20) -> None:
        size = -(-len(data) // steps)
        for start in range(0, len(data), size):
            self.connection.sendall(data[start : start + size])
            time.sleep(seconds / steps)  # being slow is the point


def _head(answer: Answer, *, keep: bool) -> bytes:
    length = len(answer.body) if answer.claims is None else answer.claims
    lines = [f"HTTP/1.1 {answer.status} {REASONS.get(answer.status, '')}"]
    lines += [f"{name}: {value}" for name, value in answer.headers.items()]
    if answer.status not in (204, 304):
        lines.append(f"Content-Length: {length}")
    if not keep or answer.wire == "cut":
        lines.append("Connection: close")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


class VendorServer(ThreadingHTTPServer):
    """Listens at once; `url` is where."""

    request_queue_size = 1024
    daemon_threads = True

    def __init__(self, vendor: Vendor, port: int = 0, host: str = "127.0.0.1") -> None:
        self.vendor = vendor
        self._open: set[socket.socket] = set()
        self._guard = threading.Lock()
        super().__init__((host, port), Conversation)

    @property
    def url(self) -> str:
        """Without a slash at the end."""
        return f"http://{self.server_address[0]!s}:{self.server_address[1]}"

    def answer(self, request: Request) -> Answer:
        """The vendor's answer, or that of its control."""
        if request.path.startswith(control.PREFIX):
            return control.answer(self.vendor, request)
        return self.vendor.answer(request)

    def server_bind(self) -> None:
        """Bind without the parent's look-up of the host's name, which can take seconds."""
        socketserver.TCPServer.server_bind(self)

    def process_request(self, request: socket.socket, client_address: object) -> None:  # type: ignore[override]  # narrower: TCP only
        """Remember the connection, so that stopping can end it."""
        with self._guard:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: socket.socket) -> None:  # type: ignore[override]  # narrower: TCP only
        """The connection has ended."""
        with self._guard:
            self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self) -> None:
        """Stop listening, delivering and hang up on everyone, as a vendor that goes down does."""
        super().server_close()
        self.vendor.close()
        with self._guard:
            live = list(self._open)
        for connection in live:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # it ended meanwhile


@contextmanager
def serve(vendor: Vendor, port: int = 0, host: str = "127.0.0.1") -> Iterator[VendorServer]:
    """Serve a vendor from a thread of this process for as long as the block lasts."""
    server = VendorServer(vendor, port, host)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), name="vendor", daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
