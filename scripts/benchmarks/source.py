"""The bench's source: an HTTP/1.1 keep-alive server of deterministic records, as fast as one process goes.

    python -m benchmarks.source --records 100000 [--port 0] [--phase a|b|c] [--latency MS] [--partitions N]

It prints one JSON line {"url": ...} when it serves, and ends on SIGTERM or SIGINT.

    GET /records?cursor=K&limit=100[&updated_since=ISO]  {"data": [...], "next_cursor": "..." | null}
    GET /p/<n>/records?...                               the same over the n-th of `partitions` shares
    GET /parents                                         the partitions: {"data": [{"id": "0", ...}], ...}
    GET /control[?phase=c&latency=20&records=N&partitions=N]   change the mode; answers mode and request count

Records ascend by (updated_at, id). Up to KEPT_RECORDS are rendered before the server says that it is ready;
above that each page is made when asked for, so memory does not grow with the number of records.
"""

import argparse
import asyncio
import json
import signal
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from email.utils import formatdate
from typing import Any, cast
from urllib.parse import parse_qsl, urlsplit

from benchmarks.records import FIRST_UPDATE, is_changed, record, timestamp, updated_at

KEPT_RECORDS = 200_000
PAGE = 100
LARGEST_PAGE = 1000
MODE_TYPES: dict[str, Callable[[str], Any]] = {
    "records": int,
    "phase": str,
    "latency": float,
    "partitions": int,
}


@dataclass(frozen=True, kw_only=True)
class Mode:
    """What the source serves: phase a and b are the same data, c has one record in a hundred changed."""

    records: int = 100_000
    phase: str = "a"
    latency: float = 0.0
    partitions: int = 1


class NotFound(Exception):
    """The path or a parameter names nothing that the source serves."""


class Pages:
    """Response bodies by request target, kept while the data set is small enough to keep."""

    def __init__(self, mode: Mode) -> None:
        self.change(mode)

    def change(self, mode: Mode) -> None:
        """Serve `mode` from now on, with the pages that bench candidates ask for rendered ahead."""
        self.mode = mode
        self.bodies: dict[str, bytes] = {}
        if mode.records <= KEPT_RECORDS:
            self._render_ahead()

    def _render_ahead(self) -> None:
        shares = [f"/p/{n}/records" for n in range(self.mode.partitions)]
        for base in shares if len(shares) > 1 else ["/records"]:
            position: str | None = "0"
            while position is not None:
                body = self.body(f"{base}?cursor={position}&limit={PAGE}")
                position = json.loads(body[body.rindex(b'"next_cursor":') + 14 : -1])

    def body(self, target: str) -> bytes:
        """The body for a request target. Raises NotFound for what is not served."""
        kept = self.bodies.get(target)
        if kept is None:
            kept = self._render(target)
            if self.mode.records <= KEPT_RECORDS:
                self.bodies[target] = kept
        return kept

    def _render(self, target: str) -> bytes:
        split = urlsplit(target)
        params = dict(parse_qsl(split.query))
        match split.path.strip("/").split("/"):
            case ["parents"]:
                return self._parents()
            case ["records"]:
                return self._records(0, 1, params)
            case ["p", share, "records"] if share.isdigit() and int(share) < self.mode.partitions:
                return self._records(int(share), self.mode.partitions, params)
        raise NotFound(target)

    def _parents(self) -> bytes:
        rows = [{"id": str(n), "updated_at": timestamp(n)} for n in range(self.mode.partitions)]
        return json.dumps({"data": rows, "next_cursor": None}).encode()

    def _records(self, first: int, step: int, params: dict[str, str]) -> bytes:
        indices = range(first, self.mode.records, step)
        start = int(params.get("cursor") or self._since(indices, params.get("updated_since")))
        stop = start + min(int(params.get("limit", PAGE)), LARGEST_PAGE)
        rows = [record(index, changed=is_changed(index, self.mode.phase)) for index in indices[start:stop]]
        following = b'"%d"' % stop if stop < len(indices) else b"null"
        return b'{"data":[' + b",".join(rows) + b'],"next_cursor":' + following + b"}"

    def _since(self, indices: range, since: str | None) -> int:
        if not since:
            return 0
        wanted = (datetime.fromisoformat(since) - FIRST_UPDATE).total_seconds() * 1e6
        low, high = 0, len(indices)
        while low < high:
            middle = (low + high) // 2
            index = indices[middle]
            if updated_at(index, changed=is_changed(index, self.mode.phase)) < wanted:
                low = middle + 1
            else:
                high = middle
        return low


class Clock:
    """The Date header, rendered once a second."""

    def __init__(self) -> None:
        self.second = 0
        self.line = b""

    def date(self) -> bytes:
        now = int(time.time())
        if now != self.second:
            self.second = now
            self.line = b"Date: " + formatdate(now, usegmt=True).encode() + b"\r\n"
        return self.line


class Connection(asyncio.Protocol):
    """One client connection; requests have no body, are answered in order and may be pipelined."""

    requests = 0

    def __init__(self, pages: Pages, clock: Clock, loop: asyncio.AbstractEventLoop) -> None:
        self.pages = pages
        self.clock = clock
        self.loop = loop
        self.received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.transport.set_write_buffer_limits(high=4 << 20)

    def data_received(self, data: bytes) -> None:
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            line = self.received[: self.received.index(b"\r\n")]
            self.received = self.received[end + 4 :]
            Connection.requests += 1
            self._answer(line.split(b" ")[1].decode("ascii"))

    def _answer(self, target: str) -> None:
        try:
            body, status = self._body(target), b"200 OK"
        except (NotFound, ValueError, KeyError) as error:
            body, status = json.dumps({"error": str(error)}).encode(), b"404 Not Found"
        head = b"HTTP/1.1 %b\r\n%bContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        reply = head % (status, self.clock.date(), len(body)) + body
        if self.pages.mode.latency and not target.startswith("/control"):
            self.loop.call_later(self.pages.mode.latency / 1000, self._write, reply)
        else:
            self.transport.write(reply)

    def _write(self, reply: bytes) -> None:
        if not self.transport.is_closing():
            self.transport.write(reply)

    def _body(self, target: str) -> bytes:
        return self._control(target) if target.startswith("/control") else self.pages.body(target)

    def _control(self, target: str) -> bytes:
        asked = dict(parse_qsl(urlsplit(target).query))
        if asked:
            self.pages.change(replace(self.pages.mode, **{name: MODE_TYPES[name](asked[name]) for name in asked}))
        return json.dumps({**asdict(self.pages.mode), "requests": Connection.requests}).encode()


async def serve(mode: Mode, port: int) -> None:
    """Serve until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    pages, clock, ended = Pages(mode), Clock(), asyncio.Event()
    server = await loop.create_server(lambda: Connection(pages, clock, loop), "127.0.0.1", port)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await ended.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="serve the bench's records")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--phase", choices=("a", "b", "c"), default="a")
    parser.add_argument("--latency", type=float, default=0.0, help="milliseconds a page")
    parser.add_argument("--partitions", type=int, default=1)
    asked = parser.parse_args()
    mode = Mode(records=asked.records, phase=asked.phase, latency=asked.latency, partitions=asked.partitions)
    asyncio.run(serve(mode, asked.port))


if __name__ == "__main__":
    main()
