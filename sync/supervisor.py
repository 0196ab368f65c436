"""Runs what the Procfile names: restarts what ends, stops all together, leaves nobody behind.

A line of the Procfile is a name and one simple command, which the shell expands (`${PORT:-8700}`).
`release` runs first, to its end. Each child leads a session of its own, so Ctrl-C reaches only us and we
decide the order of the end: SIGTERM to each leader, who knows how to finish; after the grace SIGKILL to
whatever is left of its group. What a dead leader leaves in its group is killed before it is started again.
Where the supervisor itself is killed, the leash kills the leaders (see sync/leash.py): a Celery worker whose
broker dies with us would wait for it for ever, and a killed worker is what the engine is made for.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from connectors import TidelockError
from sync.leash import leashed

RELEASE = "release"
GRACE = 40.0  # seconds between SIGTERM and SIGKILL
LONGEST_PAUSE = 30.0  # seconds before a restart
LONGEST_LOG = 16 * 1024 * 1024  # bytes
STEADY = 60.0  # seconds of life after which earlier ends are forgotten

Say = Callable[[str, str], None]  # (name of the process, line)


class ProcfileError(TidelockError):
    """A line of the Procfile cannot be run; the text names it."""


class ReleaseError(TidelockError):
    """The release command failed, so nothing was started."""


def parse(text: str) -> dict[str, str]:
    """The processes of a Procfile, in its order: name to command. Blank and `#` lines are left out."""
    found: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9_-]+):\s*(.+?)\s*", line)
        if match is None or match[1] in found:
            raise ProcfileError(f"Procfile line {number} is not a new `name: command`: {line!r}")
        if re.search(r"[;&|<>()`]", re.sub(r"'[^']*'|\"[^\"]*\"", "", match[2])):
            raise ProcfileError(f"Procfile line {number} is more than one simple command: {line!r}")
        found[match[1]] = match[2]
    return found


def pause(ends: int) -> float:
    """Seconds before the restart after so many ends in a row: 1, 2, 4, 8, 16, 30, 30, ..."""
    return min(LONGEST_PAUSE, 2.0 ** min(ends - 1, 10))


@dataclass(slots=True, kw_only=True)
class Child:
    """One process of the Procfile: alive while `process` is set, else waiting for `due_at`."""

    name: str
    command: str
    process: subprocess.Popen[bytes] | None = None
    started_at: float = 0.0
    due_at: float = 0.0
    ends: int = 0


@dataclass(slots=True, kw_only=True)
class Supervisor:
    """Keeps `processes` (name to command) running in `folder` with `env`, and nothing else of ours.

    logs     folder for one file a process, and the one before it; None = their lines go to `say`, as ours always do
    say      takes (name, line); called from several threads
    now      seconds of a clock that never jumps

    Use it from one thread that lives as long as the children should: start, then poll once or twice a second,
    then stop. Or `run`, which does all three until SIGINT, SIGTERM or `stopping.set()`.
    """

    processes: Mapping[str, str]
    env: Mapping[str, str]
    logs: Path | None = None
    folder: Path | None = None
    grace: float = GRACE
    say: Say = field(default_factory=lambda: printer(color=sys.stdout.isatty()))
    now: Callable[[], float] = time.monotonic
    stopping: threading.Event = field(init=False, default_factory=threading.Event)
    children: dict[str, Child] = field(init=False, default_factory=dict)
    _readers: list[threading.Thread] = field(init=False, default_factory=list)

    def start(self) -> None:
        """Run `release` to its end, then start the others. ReleaseError where it fails."""
        if RELEASE in self.processes:
            self._release(self.processes[RELEASE])
        if self.stopping.is_set():
            return
        self.children = {
            name: Child(name=name, command=command) for name, command in self.processes.items() if name != RELEASE
        }
        self.poll()

    def poll(self) -> None:
        """Notice who ended, and start who is due. Returns at once."""
        for child in self.children.values():
            if child.process is not None and child.process.poll() is not None:
                self._ended(child, child.process)
            if child.process is None and child.due_at <= self.now():
                child.process, child.started_at = self._spawn(child.name, child.command), self.now()
            self._cut(child.name)

    def stop(self) -> None:
        """SIGTERM to all, SIGKILL to who is left after the grace; returns when all have ended."""
        alive = [child.process for child in self.children.values() if child.process is not None]
        for process in alive:
            process.terminate()
        deadline = self.now() + self.grace
        for process in alive:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - self.now()))
        for process in alive:
            _kill_group(process)
        self.children.clear()
        for reader in self._readers:
            reader.join(1.0)

    def run(self) -> None:
        """start, poll, stop: until SIGINT, SIGTERM or `stopping.set()`. A second signal ends the grace.

        Only in the main thread, where signals arrive.
        """
        before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            self.start()
            while not self.stopping.wait(0.5):
                self.poll()
        finally:
            self.stop()
            for number, previous in before.items():
                signal.signal(number, previous)

    def _on_signal(self, *_: object) -> None:
        if self.stopping.is_set():
            for child in self.children.values():
                if child.process is not None:
                    child.process.kill()
        self.stopping.set()

    def _release(self, command: str) -> None:
        process = self._spawn(RELEASE, command)
        self.children = {RELEASE: Child(name=RELEASE, command=command, process=process)}
        while process.poll() is None and not self.stopping.wait(0.05):
            pass
        if process.returncode is not None and process.returncode != 0:
            how = _how(process.returncode)
            raise ReleaseError(f"`{command}` {how}, so nothing was started.{self._where(RELEASE)}")

    def _ended(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        _kill_group(process)
        lived = self.now() - child.started_at
        child.process = None
        child.ends = 1 if lived >= STEADY else child.ends + 1
        child.due_at = self.now() + pause(child.ends)
        how = _how(process.returncode)
        self.say(child.name, f"{how}; starting again in {pause(child.ends):.0f} s.{self._where(child.name)}")

    def _where(self, name: str) -> str:
        return f" Its log: {self.logs / name}.log" if self.logs else ""

    def _spawn(self, name: str, command: str) -> subprocess.Popen[bytes]:
        """`exec env` makes the leader the program itself, not a shell; our programs come first on PATH."""
        path = f"{Path(sys.executable).parent}{os.pathsep}{self.env.get('PATH', os.defpath)}"
        with self._output(name) as output:
            process = subprocess.Popen(
                leashed(["/bin/sh", "-c", f"exec env {command}"], signal.SIGKILL),
                env={"PYTHONUNBUFFERED": "1", **self.env, "PATH": path},
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output or subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if process.stdout is not None:
            self._read(name, process.stdout)
        return process

    def _output(self, name: str) -> contextlib.AbstractContextManager[IO[bytes] | None]:
        if self.logs is None:
            return contextlib.nullcontext()
        self.logs.mkdir(parents=True, exist_ok=True)
        return (self.logs / f"{name}.log").open("ab")

    def _cut(self, name: str) -> None:
        """Put a long log aside as `.log.1`, in the place of the one before. The process goes on appending to the file
        that it has open, which is empty then."""
        log = self.logs / f"{name}.log" if self.logs else None
        if log and log.exists() and log.stat().st_size > LONGEST_LOG:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)

    def _read(self, name: str, stream: IO[bytes]) -> None:
        def lines() -> None:
            with stream:
                for line in stream:
                    self.say(name, line.decode(errors="replace").rstrip())

        reader = threading.Thread(target=lines, name=f"lines of {name}", daemon=True)
        self._readers = [other for other in self._readers if other.is_alive()] + [reader]
        reader.start()


def printer(*, color: bool, out: IO[str] | None = None) -> Say:
    """Prints lines behind the name of their process, each name in a color of its own."""
    colors: dict[str, int] = {}
    lock = threading.Lock()

    def say(name: str, line: str) -> None:
        with lock:
            number = colors.setdefault(name, 31 + (len(colors) + 1) % 6)
            prefix = f"\x1b[{number}m{name:>8}\x1b[0m" if color else f"{name:>8}"
            print(f"{prefix} | {line}", file=out or sys.stdout, flush=True)

    return say


def _how(code: int) -> str:
    return f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what is left of the session that this process led, and itself."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS denies where only zombies are left
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
