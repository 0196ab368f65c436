"""Real processes of an installation: workers and beat, started, watched and killed."""

import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).parent.parent
CELERY = [sys.executable, "-m", "celery", "-A", "sync.app"]


class Process:
    """One process group of ours, with its log."""

    def __init__(self, command: list[str], environ: Mapping[str, str], log: Path) -> None:
        self.log = log
        with log.open("ab") as stream:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env={**os.environ, **environ}, stdout=stream, stderr=stream, start_new_session=True
            )

    def kill(self) -> None:
        """SIGKILL for the whole group."""
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self.process.wait()

    def kill_child(self) -> bool:
        """SIGKILL for the process that does the work; False = there is none just now."""
        found = children(self.process.pid)
        for child in found:
            os.kill(child, signal.SIGKILL)
        return bool(found)


def worker(
    environ: Mapping[str, str], log: Path, queues: str = "interactive,schedule,backfill", slots: int = 1
) -> Process:
    """A worker with so many slots."""
    options = ["worker", "-Q", queues, "-c", str(slots), "--without-gossip", "--without-mingle"]
    return Process([*CELERY, *options], environ, log)


def web(environ: Mapping[str, str], log: Path, port: int) -> Process:
    """The web process, as the Procfile starts it."""
    procfile = dict(line.split(": ", 1) for line in (ROOT / "Procfile").read_text().splitlines())
    command = shlex.split(procfile["web"].replace("${PORT:-8700}", str(port)))
    return Process([sys.executable, "-m", *command], environ, log)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def beat(environ: Mapping[str, str], log: Path) -> Process:
    """The clock."""
    return Process([*CELERY, "beat", "-S", "sync.schedule:Scheduler"], environ, log)


def children(pid: int) -> list[int]:
    """The processes that this one has started."""
    listed = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in listed.read_text().split()] if listed.exists() else []


def until(condition: Callable[[], object], what: str, seconds: float = 90) -> None:
    """Wait until something is so; the bound only ends a test that hangs."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"still waiting for: {what}"
        time.sleep(0.05)
