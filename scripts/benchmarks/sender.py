"""The vendor that delivers: keep-alive connections over raw sockets, as lean as one process goes.

    python -m benchmarks.sender --url URL --secret TEXT --name TEXT [--connections 64] [--seconds 5] [--rate 0]
        [--kind fat] [--first 0]

Without a rate the loop is closed: each connection sends the next delivery when the last one is answered. With one it
is open: so many deliveries a second are due whether or not earlier ones were answered, and what a delivery waits for a
free connection counts as its latency. It prints one JSON line: how many were answered with 2xx, the others by status,
those whose connection was closed, seconds from the first request to the last answer, milliseconds, CPU seconds.
"""

import argparse
import json
import select
import socket
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from benchmarks import deliveries

LINGER = 30.0  # seconds that the last answers may take
POOL = 64  # bodies of a closed loop
PIECE = 65536


class Wire:
    """One connection, with one request under way at most."""

    __slots__ = ("address", "answer", "due", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.address = address
        self.due = 0.0
        self.open()

    def open(self) -> None:
        self.answer = b""
        try:
            self.socket = socket.create_connection(self.address)
        except ConnectionError as error:
            raise SystemExit(f"nobody listens at {self.address}: {error}") from error
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def send(self, request: bytes, due: float) -> None:
        """A connection that was closed meanwhile says so when its answer is read."""
        self.due = due
        with suppress(ConnectionError):
            self.socket.sendall(request)

    def status(self) -> int | None:
        """The answer's status once all of it is there; 0 where the connection was closed instead."""
        try:
            piece = self.socket.recv(PIECE)
        except ConnectionError:
            return 0
        if not piece:
            return 0
        self.answer += piece
        end = self.answer.find(b"\r\n\r\n")
        if end < 0:
            return None
        _, _, length = self.answer[:end].lower().partition(b"content-length: ")
        if len(self.answer) - end - 4 < int(length.partition(b"\r")[0] or 0):
            return None
        status, self.answer = int(self.answer[9:12]), b""
        return status


class Load:
    """All connections, and what came of their requests."""

    def __init__(self, address: tuple[str, int], connections: int, requests: Iterator[bytes]) -> None:
        self.requests = requests
        self.poll = select.epoll()
        self.free = deque(Wire(address) for _ in range(connections))
        self.wires = {wire.socket.fileno(): wire for wire in self.free}
        self.latencies: list[float] = []
        self.refused: Counter[int] = Counter()
        self.lost = 0
        for descriptor in self.wires:
            self.poll.register(descriptor, select.EPOLLIN)

    def send(self, due: float) -> None:
        self.free.popleft().send(next(self.requests), due)

    def wait(self, seconds: float) -> None:
        """Take the answers that come within so many seconds, at most until there are some."""
        for descriptor, _ in self.poll.poll(max(0.0, seconds)):
            self._take(self.wires[descriptor])

    def _take(self, wire: Wire) -> None:
        status = wire.status()
        if status is None:
            return
        if 200 <= status < 300:
            self.latencies.append(time.perf_counter() - wire.due)
        elif status:
            self.refused[status] += 1
        if not status:
            self._open_again(wire)
        elif wire.due:
            self.free.append(wire)
        wire.due = 0.0

    def _open_again(self, wire: Wire) -> None:
        """A connection that was closed while it was at rest is no loss."""
        if wire.due:
            self.lost += 1
            self.free.append(wire)
        del self.wires[wire.socket.fileno()]
        wire.socket.close()
        wire.open()
        self.wires[wire.socket.fileno()] = wire
        self.poll.register(wire.socket.fileno(), select.EPOLLIN)

    def closed(self, seconds: float) -> None:
        """As fast as the answers come."""
        ends = time.perf_counter() + seconds
        while (now := time.perf_counter()) < ends:
            while self.free:
                self.send(now)
            self.wait(ends - now)

    def open(self, seconds: float, rate: float) -> None:
        """So many a second."""
        begun, sent, wanted = time.perf_counter(), 0, round(seconds * rate)
        while sent < wanted:
            due = begun + sent / rate
            pause = due - time.perf_counter()
            if pause <= 0 and self.free:
                self.send(due)
                sent += 1
            else:
                self.wait(pause if pause > 0 else LINGER)

    def finish(self) -> None:
        """Wait for the answers that are still to come."""
        ends = time.perf_counter() + LINGER
        while len(self.free) < len(self.wires) and (left := ends - time.perf_counter()) > 0:
            self.wait(left)
        self.lost += len(self.wires) - len(self.free)


def sent(asked: argparse.Namespace) -> dict[str, Any]:
    """Deliver, and tell what came of it."""
    split = urlsplit(asked.url)
    different = round(asked.seconds * asked.rate) or POOL
    bodies = [deliveries.body(asked.kind, asked.first + number) for number in range(different)]
    requests = deliveries.requests(asked.url, asked.secret, bodies, asked.kind, asked.name)
    load = Load((split.hostname or "", split.port or 80), asked.connections, requests)
    cpu, begun = time.process_time(), time.perf_counter()
    if asked.rate:
        load.open(asked.seconds, asked.rate)
    else:
        load.closed(asked.seconds)
    load.finish()
    seconds, used = time.perf_counter() - begun, time.process_time() - cpu
    refused = {str(status): number for status, number in load.refused.items()}
    counted = {"answered": len(load.latencies), "refused": refused, "lost": load.lost}
    return {**counted, "seconds": seconds, "cpu_seconds": used, **spread(sorted(load.latencies))}


def spread(latencies: list[float]) -> dict[str, float]:
    """Of sorted seconds, in milliseconds."""
    parts = {"p50": 0.50, "p95": 0.95, "p99": 0.99}
    last = len(latencies) - 1
    return {name: 1000 * latencies[round(part * last)] if latencies else 0.0 for name, part in parts.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="deliver webhooks")
    parser.add_argument("--url", required=True)
    parser.add_argument("--secret", required=True)
    parser.add_argument("--name", required=True, help="what the deliveries' ids begin with")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rate", type=float, default=0.0, help="deliveries a second; 0 = as fast as they are answered")
    parser.add_argument("--kind", choices=deliveries.KINDS, default="fat")
    parser.add_argument("--first", type=int, default=0, help="the number of the first event")
    print(json.dumps(sent(parser.parse_args())))


if __name__ == "__main__":
    main()
