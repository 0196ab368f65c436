"""Measuring candidates: each runs as a process of its own that prints one JSON line when its sync is over.

Rounds are interleaved (A B C, A B C, ...), so that a machine that slows down slows all; ratios are taken
inside a round and their median is told. `seconds` and `cpu_seconds` are of the sync alone, as the candidate
tells; `wall`, `tree_cpu` and memory are of its whole process tree, imports included.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from benchmarks.cluster import Cluster
from benchmarks.procfs import PeakMemory

SCRIPTS = Path(__file__).resolve().parents[1]


class CandidateFailed(Exception):
    """A candidate ended with an error; the message holds the end of what it said."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One program to compare: `command(phase)` is its argument list.

    `table` is its table in PostgreSQL, checked for rewrites; None means that it does not use PostgreSQL.
    """

    name: str
    command: Callable[[str], Sequence[str]]
    table: str | None = None
    environment: Mapping[str, str] | None = None
    timeout: float = 900.0


@dataclass(frozen=True, kw_only=True)
class Figures:
    """What one run of one candidate in one phase took: seconds, bytes, KiB.

    `worker_kib` is of the largest process that works, where the candidate tells it apart from what drives it.
    """

    candidate: str
    phase: str
    round: int
    records: int
    seconds: float
    cpu_seconds: float
    server_cpu: float
    tree_cpu: float
    wall: float
    wal_bytes: int
    rows_written: int | None
    largest_kib: int
    together_kib: int
    worker_kib: int = 0

    @property
    def records_per_second(self) -> float:
        return self.records / self.seconds

    @property
    def cpu_per_record(self) -> float:
        """Microseconds of client and PostgreSQL CPU."""
        return (self.cpu_seconds + self.server_cpu) / self.records * 1e6

    def as_json(self) -> dict[str, Any]:
        """All figures, the derived ones too."""
        derived = {"records_per_second": self.records_per_second, "cpu_us_per_record": self.cpu_per_record}
        return {**asdict(self), **derived}


@dataclass(frozen=True, kw_only=True)
class Ran:
    """A finished process: its last line of output decoded, wall, CPU and peak memory of its tree."""

    said: dict[str, Any]
    wall: float
    tree_cpu: float
    largest_kib: int
    together_kib: int


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """Our environment with this package importable."""
    return {**os.environ, "PYTHONPATH": str(SCRIPTS), "PYTHONUNBUFFERED": "1", **(extra or {})}


def module(name: str, *arguments: str) -> list[str]:
    """The command that runs a module of this package with the Python that runs the bench."""
    return [sys.executable, "-m", f"benchmarks.{name}", *arguments]


def run(candidate: Candidate, phase: str) -> Ran:
    """Run it to its end. Raises CandidateFailed when it fails, says nothing or takes too long."""
    told = f"{candidate.name}, phase {phase}"
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.perf_counter()
        process = subprocess.Popen(
            list(candidate.command(phase)), stdout=out, stderr=err, env=environment(candidate.environment)
        )
        before = os.times()
        try:
            with PeakMemory(process.pid) as memory:
                process.wait(candidate.timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise CandidateFailed(f"{told}: not done in {candidate.timeout:g} s") from None
        wall, after = time.perf_counter() - started, os.times()
        out.seek(0)
        err.seek(0)
        lines, complaint = out.read().decode().splitlines(), err.read().decode()
    if process.returncode or not lines:
        raise CandidateFailed(f"{told}, ended with {process.returncode}:\n{complaint[-3000:]}")
    children = after.children_user + after.children_system - before.children_user - before.children_system
    return Ran(
        said=json.loads(lines[-1]),
        wall=wall,
        tree_cpu=children,
        largest_kib=memory.largest,
        together_kib=memory.together,
    )


def measured(candidate: Candidate, phase: str, number: int, cluster: Cluster | None) -> Figures:
    """Run a candidate once and measure it."""
    server = cluster if candidate.table else None
    mark, wal, cpu = (server.mark(), server.wal_position(), server.cpu_seconds()) if server else (0, 0, 0.0)
    ran = run(candidate, phase)
    server_cpu = server.cpu_seconds() - cpu if server else 0.0  # before our own questions add to it
    return Figures(
        candidate=candidate.name,
        phase=phase,
        round=number,
        records=int(ran.said["records"]),
        seconds=float(ran.said["seconds"]),
        cpu_seconds=float(ran.said["cpu_seconds"]),
        server_cpu=server_cpu,
        tree_cpu=ran.tree_cpu,
        wall=ran.wall,
        wal_bytes=server.wal_position() - wal if server else 0,
        rows_written=server.rows_written_since(mark, candidate.table) if server and candidate.table else None,
        largest_kib=ran.largest_kib,
        together_kib=ran.together_kib,
        worker_kib=int(ran.said.get("worker_kib", 0)),
    )


def rounds(
    candidates: Sequence[Candidate],
    *,
    phases: Sequence[str],
    count: int,
    enter: Callable[[str], object],
    cluster: Cluster | None,
    heard: Callable[[Figures], object] = lambda figures: None,
) -> list[Figures]:
    """`count` rounds of every phase by every candidate in turn; `enter(phase)` sets the source before each.

    A candidate makes its tables anew in a round's first phase. `heard` is told of each run at its end.
    """
    found = []
    for number in range(count):
        for phase in phases:
            enter(phase)
            for candidate in candidates:
                found.append(measured(candidate, phase, number, cluster))
                heard(found[-1])
    return found


def chosen(found: Sequence[Figures], name: str, phase: str) -> list[Figures]:
    """The runs of one candidate in one phase, by round."""
    return [figures for figures in found if (figures.candidate, figures.phase) == (name, phase)]


def median(found: Sequence[Figures], name: str, phase: str, of: Callable[[Figures], float]) -> float:
    """The median of a figure over the rounds."""
    return statistics.median(of(figures) for figures in chosen(found, name, phase))


def ratio(found: Sequence[Figures], name: str, to: str, phase: str, of: Callable[[Figures], float]) -> float:
    """The median over rounds of a figure of `name` divided by the same round's figure of `to`."""
    pairs = zip(chosen(found, name, phase), chosen(found, to, phase), strict=True)
    return statistics.median(of(ours) / of(theirs) for ours, theirs in pairs)


class Source:
    """The running bench source."""

    def __init__(self, url: str) -> None:
        self.url = url

    def control(self, **mode: str | float) -> dict[str, Any]:
        """Change the mode (records, phase, latency, partitions); the mode and the requests served so far."""
        query = "&".join(f"{name}={value}" for name, value in mode.items())
        with urlopen(f"{self.url}/control?{query}", timeout=120) as reply:
            answer: dict[str, Any] = json.load(reply)
        return answer

    def enter(self, phase: str) -> None:
        """Serve the data of `phase`."""
        self.control(phase=phase)


@contextmanager
def source(*, records: int, latency: float = 0.0, partitions: int = 1) -> Iterator[Source]:
    """A bench source of its own process while the block runs."""
    wanted = {"records": records, "latency": latency, "partitions": partitions}
    arguments = [part for name, value in wanted.items() for part in (f"--{name}", str(value))]
    with subprocess.Popen(module("source", *arguments), stdout=subprocess.PIPE, env=environment()) as process:
        assert process.stdout is not None
        try:
            yield Source(json.loads(process.stdout.readline())["url"])
        finally:
            process.terminate()
