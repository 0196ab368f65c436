"""A Redis of the bench's own: a private server on a free port, gone at the end."""

import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import redis

from sync.embedded import program

BOOT_SECONDS = 20


@dataclass(frozen=True, kw_only=True)
class Broker:
    """A running Redis-protocol server."""

    url: str
    pid: int


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def private() -> Iterator[Broker]:
    """A server with a service's settings: an append-only file, synced every second."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder:
        settings = {"port": str(port), "bind": "127.0.0.1", "dir": folder, "appendonly": "yes", "save": ""}
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        with subprocess.Popen([program(), *options], stdout=subprocess.DEVNULL) as process:
            try:
                url = f"redis://127.0.0.1:{port}/0"
                _await(url, process)
                yield Broker(url=url, pid=process.pid)
            finally:
                process.terminate()


def _await(url: str, process: subprocess.Popen[bytes]) -> None:
    """Raises RuntimeError where it does not answer in time."""
    deadline = time.monotonic() + BOOT_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        try:
            redis.Redis.from_url(url).ping()
        except redis.ConnectionError:
            time.sleep(0.05)  # a server tells nobody when it is ready
        else:
            return
    raise RuntimeError(f"the bench's Redis at {url} did not answer in {BOOT_SECONDS} s")
