"""The wire: one HTTP exchange with one origin, over kept connections.

`requests` prepares, merges and stores cookies anew for every request; a page costs more there than on the
wire. So a request is handed to the adapter ready made, and the adapter does only what reaches urllib3.
Nothing is taken from the environment: no proxy, no netrc, no certificate bundle.
"""

import io
import logging
import os
import socket
import ssl
import time
from collections.abc import Mapping
from functools import lru_cache
from http.client import HTTPResponse, IncompleteRead
from typing import Any

from certifi import where
from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ReadTimeoutError

from sync.api.guard import Networks, connect
from sync.api.origin import Origin

CONNECT_SECONDS = 10.0
UNSENT = "nothing was sent"  # a note on every error that came before the request went out
KEPT = 8  # idle connections that a process keeps for one origin: its threads, not its requests
_BUFFER = 64 * 1024  # bytes read from the socket at once

# urllib3 logs request lines, whose query may hold a key, and at WARNING too.
logging.getLogger("urllib3").addFilter(lambda record: False)
logging.getLogger("urllib3.connectionpool").addFilter(lambda record: False)
logging.getLogger("urllib3.connection").addFilter(lambda record: False)


class _Timed(io.RawIOBase):
    """A socket's bytes, all of them before one deadline: each read is given only the time that is left."""

    def __init__(self, sock: socket.socket, seconds: float) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._ends = time.monotonic() + seconds
        self.over = False

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What HTTPResponse asks a socket for."""
        return io.BufferedReader(self, _BUFFER)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left = self._ends - time.monotonic()
        if left <= 0:
            raise TimeoutError("the answer's time is up")
        self._sock.settimeout(left)
        read = self._raw.readinto(buffer)
        self.over = read == 0
        return read

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Answer(HTTPResponse):
    """An answer whose status, headers and body must all come within the timeout that the socket has at its
    start."""

    def __init__(self, sock: socket.socket, *rest: Any, **named: Any) -> None:
        self._timed = _Timed(sock, sock.gettimeout() or CONNECT_SECONDS)
        super().__init__(self._timed, *rest, **named)  # type: ignore[arg-type]  # it only asks for `makefile`

    def begin(self) -> None:
        """As HTTPResponse, which takes headers that were cut short for whole ones: no length, so an empty body."""
        super().begin()
        if self._timed.over:
            raise IncompleteRead(b"")


class _Guarded(HTTPConnection):
    """A connection that only goes to addresses that the guard has judged; the Host header and TLS name
    stay."""

    response_class = _Answer
    allowed: Networks = ()

    def connect(self) -> None:
        """The connection and its TLS: what fails here has sent nothing."""
        try:
            super().connect()
        except Exception as error:
            error.add_note(UNSENT)
            raise

    def _new_conn(self) -> socket.socket:
        try:
            return connect(self._dns_host, self.port, self.allowed, float(self.timeout or CONNECT_SECONDS))
        except TimeoutError as error:
            raise ConnectTimeoutError(self, f"{self.host} can't be reached: timed out") from error
        except OSError as error:
            raise NewConnectionError(self, f"{self.host} can't be reached: {error}") from error


class _GuardedTLS(_Guarded, HTTPSConnection):
    pass


@lru_cache(maxsize=1)
def tls() -> ssl.SSLContext:
    """The one TLS context: certificates and host names are always verified."""
    context = ssl.create_default_context(cafile=where())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


class _Asked(PreparedRequest):
    """A request that needs no preparing."""

    def __init__(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None) -> None:
        self.method = method
        self.url = url
        self.headers = headers  # type: ignore[assignment]  # urllib3 takes any mapping
        self.body = body


class _Told(Response):
    """An answer as it came: no cookies, no encoding, no history."""

    def __init__(self, asked: PreparedRequest, raw: Any) -> None:
        self.request = asked
        self.url = str(asked.url)
        self.status_code = raw.status
        self.headers = raw.headers
        self.raw = raw


class Wire(HTTPAdapter):
    """Sends ready-made requests to one origin."""

    def __init__(self, origin: Origin, allowed: Networks) -> None:
        super().__init__()
        secure = origin.scheme == "https"
        base = _GuardedTLS if secure else _Guarded
        connection = type(base.__name__, (base,), {"allowed": allowed})
        pool = HTTPSConnectionPool if secure else HTTPConnectionPool
        extra: dict[str, Any] = {"ssl_context": tls()} if secure else {}
        self.origin = origin
        self._at = str(origin)
        self.pool = pool(origin.host, origin.port, maxsize=KEPT, **extra)
        self.pool.ConnectionCls = connection

    def exchange(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None, seconds: float) -> Any:
        """The answer's head; its body is still to be read. `seconds` is the time for both."""
        request = _Asked(method, f"{self._at}{target}", headers, body)
        timeout: Any = Timeout(connect=min(CONNECT_SECONDS, seconds), total=seconds)
        return self.send(request, stream=True, timeout=timeout)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        return self.pool

    def cert_verify(self, *_: Any, **__: Any) -> None:
        """Nothing to decide: the pool's context verifies."""

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:
        return str(request.url)[len(self._at) :]

    def build_response(self, req: PreparedRequest, resp: Any) -> Response:
        return _Told(req, resp)


@lru_cache(maxsize=256)
def wire(origin: Origin, allowed: tuple[Any, ...]) -> Wire:
    """This process's wire to an origin, with its kept connections."""
    return Wire(origin, allowed)


os.register_at_fork(after_in_child=wire.cache_clear)  # a parent's connections are not ours

__all__ = ["CONNECT_SECONDS", "UNSENT", "ReadTimeoutError", "Wire", "tls", "wire"]
