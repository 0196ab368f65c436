"""Tidelock as a whole service: its real processes, on a database, a Redis and a folder of the bench's.

The bench's connector comes to them as any package's does: by an entry point, here of a distribution that only the
bench's folder holds. The commands are those of the Procfile.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from benchmarks.measure import SCRIPTS

ROOT = SCRIPTS.parent
CELERY = (sys.executable, "-m", "celery", "-A", "sync.app")
WEB = (sys.executable, "-m", "uvicorn", "sync.web:app", "--host", "127.0.0.1", "--log-level", "warning")
LANES = "interactive,schedule,backfill"
PATIENCE = 60.0
Found = TypeVar("Found")


@dataclass(kw_only=True)
class Stack:
    """One installation and its processes; `environ` is what they all run in."""

    environ: Mapping[str, str]
    folder: Path
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, command: Sequence[str]) -> subprocess.Popen[bytes]:
        """Start a process, with its output in a file of its name."""
        with (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                list(command), cwd=ROOT, env=dict(self.environ), stdout=log, stderr=log, start_new_session=True
            )
        self.processes[name] = process
        return process

    def worker(self, name: str = "worker", lanes: str = LANES, slots: int = 1) -> subprocess.Popen[bytes]:
        """Start a worker with so many processes; it is ready when it says so in its log."""
        options = ("worker", "-n", f"{name}@%h", "-Q", lanes, "-c", str(slots), "--without-gossip", "--without-mingle")
        process = self.start(name, [*CELERY, *options])
        until(lambda: "ready." in self.log(name) or process.poll() is not None, f"{name} to be ready")
        if process.poll() is not None:
            raise RuntimeError(f"{name} did not start:\n{self.log(name)[-3000:]}")
        return process

    def beat(self) -> subprocess.Popen[bytes]:
        """Start the clock; it is ready when it has ticked."""
        ticked = Path(self.environ["TIDELOCK_HOME"]) / "tick"
        ticked.unlink(missing_ok=True)
        process = self.start("beat", [*CELERY, "beat", "-S", "sync.schedule:Scheduler"])
        until(ticked.exists, "beat to tick")
        return process

    def log(self, name: str) -> str:
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        """End them all, kindly at first."""
        for process in self.processes.values():
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(25)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        self.processes.clear()


def until(look: Callable[[], Found], what: str, seconds: float = PATIENCE, pause: float = 0.05) -> Found:
    """What `look` finds, as soon as that is true. Raises RuntimeError when it takes too long."""
    deadline = time.monotonic() + seconds
    while not (found := look()):
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited {seconds:g} s for {what}")
        time.sleep(pause)  # what other processes do is only to be seen by looking
    return found


def distribution(folder: Path) -> Path:
    """A folder for the import path in which the bench's connector is an installed package's."""
    info = folder / "packages" / "tidelock_bench-0.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tidelock-bench\nVersion: 0\n")
    (info / "entry_points.txt").write_text("[tidelock.connectors]\nbench = benchmarks.connector:connector\n")
    return info.parent


def environment(folder: Path, *, database: str, redis: str) -> dict[str, str]:
    """The environment of an installation in this folder."""
    paths = (str(SCRIPTS), str(distribution(folder)), str(ROOT))
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "DATABASE_URL": database,
        "REDIS_URL": redis,
        "BROKER_URL": redis,
        "TIDELOCK_HOME": str(folder / "home"),
        "TIDELOCK_ALLOW_PRIVATE": "127.0.0.0/8",
    }


@contextmanager
def running(environ: Mapping[str, str], folder: Path) -> Iterator[Stack]:
    """A stack without processes yet; all that were started end with the block."""
    stack = Stack(environ=environ, folder=folder)
    try:
        yield stack
    finally:
        stack.stop()
