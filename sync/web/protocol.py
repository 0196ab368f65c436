"""The server's protocol for one connection, with an end to its patience.

uvicorn waits for ever for a request that was begun, or never begun, and takes any amount of headers. `--http
sync.web.protocol:Protocol` ends such connections: whoever opens many and sends nothing keeps nobody out for long.
"""

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

PATIENCE = 10.0  # seconds from the first byte of a request, or the opening, to the end of its headers
MOST_HEAD = 64 * 1024  # bytes of it


class Protocol(AutoHTTPProtocol):  # type: ignore[misc, valid-type]  # the parser that is installed
    """As uvicorn's own, beside that."""

    _timer: asyncio.TimerHandle | None = None
    _head = 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.cycle is not None and not self.cycle.response_complete:
            self._begun()
            return
        self._head += len(data)
        if self._head > MOST_HEAD:
            self.transport.close()
        elif self._timer is None:
            self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        self._begun()
        super().connection_lost(exc)

    def _wait(self) -> None:
        self._timer = self.loop.call_later(PATIENCE, self.transport.close)

    def _begun(self) -> None:
        """The headers are whole, or nobody is there any more."""
        self._head = 0
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
