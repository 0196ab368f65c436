"""A server that says exactly what a test wants it to say, byte by byte."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Self

DATE = "Sun, 22 Nov 2026 10:00:00 GMT"
DATED = 1_795_341_600  # the same as epoch seconds


@dataclass(frozen=True)
class Heard:
    """A request as it came."""

    line: str
    headers: dict[str, str]
    body: bytes
    connection: int

    @property
    def target(self) -> str:
        return self.line.split()[1]


Say = Callable[[Heard, socket.socket], bytes | None]


def answer(body: bytes = b"{}", status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer; header names with _ for -."""
    named = {"Date": DATE, "Content-Length": str(len(body))}
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items() if value)
    return f"HTTP/1.1 {status}\r\n{head}\r\n".encode() + body


def drip(connection: socket.socket, data: bytes, pause: float = 0.05) -> None:
    """One byte after the other, until nobody listens."""
    for byte in data:
        time.sleep(pause)
        connection.sendall(bytes([byte]))


def silence() -> None:
    """Says nothing for longer than a test waits."""
    time.sleep(3)


class Talker:
    """Listens on 127.0.0.1; answers each request with what `say` returns, or lets it talk to the socket itself.

    A `say` that returns None ends the connection.
    """

    def __init__(self, say: Say, context: ssl.SSLContext | None = None) -> None:
        self.heard: list[Heard] = []
        self._say = say
        self._context = context
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._connections: list[socket.socket] = []
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._listen, daemon=True)]

    @property
    def port(self) -> int:
        return int(self._listener.getsockname()[1])

    @property
    def url(self) -> str:
        return f"{'https' if self._context else 'http'}://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._connections:
            with suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(5)

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._converse, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _converse(self, connection: socket.socket) -> None:
        with suppress(OSError, ssl.SSLError):
            if self._context:
                connection = self._context.wrap_socket(connection, server_side=True)
            self._connections.append(connection)
            number = len(self._connections)
            with connection, connection.makefile("rb") as stream:
                while heard := _hear(stream, number):
                    self.heard.append(heard)
                    said = self._say(heard, connection)
                    if said is None:
                        return
                    connection.sendall(said)


def _hear(stream: object, connection: int) -> Heard | None:
    line = stream.readline().decode("latin-1").strip()  # type: ignore[attr-defined]  # a file
    if not line:
        return None
    headers = {}
    while head := stream.readline().decode("latin-1").strip():  # type: ignore[attr-defined]  # a file
        name, _, value = head.partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", 0)))  # type: ignore[attr-defined]  # a file
    return Heard(line, headers, body, connection)
