"""scripts/bench fairness: a thousand connections, each due every minute, on one worker: who waits longest?

    scripts/bench fairness [--json] [--quick] [--sqlite] [--streams a,b] [--connections N] [--periods N] [--slots N]

Two runs: the connections alone, and beside one that is greedy: it begins with a first load of 20,000 records in
partitions, and then always has a backfill of them under way, on the same worker. The exit code is 1 where a budget is
missed.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks import measure, place, processes
from benchmarks.lines import Line, table
from benchmarks.place import Place
from benchmarks.stage import SHARES, Stage

PERIODS_WAITED = 3.0
GREEDY_RECORDS, GREEDY_LATENCY = 20_000, 50.0
HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Crowd:
    """How many connections, due every so many seconds, for so many periods after the first, on so many processes."""

    connections: int = 1000
    period: int = 60
    periods: float = 4.0
    slots: int = 2
    streams: str = "customers"

    def options(self) -> list[str]:
        return [part for name, value in vars(self).items() for part in (f"--{name}", str(value))]


FULL = Crowd()
QUICK = Crowd(connections=300, period=20)


def treated(stage: Stage) -> Iterator[Line]:
    """The lines of this bench, on the stage of another."""
    crowd = QUICK if stage.quick else FULL
    yield from lines(place.of_stage(stage), crowd)


def lines(where: Place, crowd: Crowd) -> Iterator[Line]:
    """Alone, then beside a greedy one."""
    yield from _lines("", crowd, _ran(where, crowd))
    with measure.source(records=GREEDY_RECORDS, latency=GREEDY_LATENCY, partitions=SHARES) as source:
        said = _ran(where, crowd, "--greedy", source.url)
    yield from _lines(", one of them greedy", crowd, said)


def _ran(where: Place, crowd: Crowd, *more: str) -> dict[str, Any]:
    asked = [*crowd.options(), "--folder", str(where.folder), *where.servers, *more]
    with vendor() as url:
        command = measure.module("crowd", "--vendor", url, *asked)
        one = measure.Candidate(name="crowd", command=lambda phase: command, environment=where.environ, timeout=HOUR)
        return measure.run(one, "fairness").said


@contextmanager
def vendor() -> Iterator[str]:
    """The demo vendor without a rate limit."""
    command = [sys.executable, "-m", "sync.kit.vendor", "--rate", "0", "--scale", "0.01"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=processes.ROOT) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().decode().rsplit(" ", 1)[1].strip()
        finally:
            process.terminate()


def _lines(beside: str, crowd: Crowd, said: dict[str, Any]) -> Iterator[Line]:
    gaps, ticks, runs = said["gaps"], said["ticks"], max(said["runs"], 1)
    served = f"{said['served']:,} of {crowd.connections:,} served, {said['runs']:,} runs"
    greed = f", the greedy one got {said['greedy']['pages']:,} pages" if said["greedy"] else ""
    yield Line(
        name=f"{crowd.connections:,} connections due every {crowd.period} s{beside}: longest gap between two starts",
        figure=gaps["max"] / crowd.period if not said["never"] else crowd.periods + 1,
        unit="periods",
        budget=PERIODS_WAITED,
        floor=f"p50 {gaps['p50'] / crowd.period:.2f}, p99 {gaps['p99'] / crowd.period:.2f}; {served}{greed}",
    )
    yield Line(name="  runs that failed", figure=said["failed"], unit="runs", budget=1)
    yield Line(name="  due times that were passed over", figure=said["skipped"], unit="times")
    costs = {name: 1000 * used / runs for name, used in said["cpu"].items()}
    each = ", ".join(f"{name} {cost:.1f}" for name, cost in costs.items())
    yield Line(name="  CPU a run", figure=sum(costs.values()), unit="ms", floor=each)
    told = f"p50 {1000 * ticks['p50']:.0f}, p99 {1000 * ticks['p99']:.0f} ms, {ticks['count']:.0f} ticks"
    yield Line(name="  the longest tick", figure=1000 * ticks["max"], unit="ms", floor=told)


def main(arguments: Sequence[str]) -> int:
    """Run it; the exit code."""
    asked = _arguments(arguments)
    chosen = QUICK if asked.quick else FULL
    given = {name: value for name in vars(chosen) if (value := getattr(asked, name)) is not None}
    crowd = Crowd(**{**vars(chosen), **given})
    with place.private(sqlite=asked.sqlite) as where:
        found = list(lines(where, crowd))
    met = all(line.met is not False for line in found)
    settings = {**vars(crowd), "database": "SQLite" if asked.sqlite else "PostgreSQL"}
    told = {"met": met, **settings, "lines": [line.as_json() for line in found]}
    print(json.dumps(told, indent=2) if asked.json else f"{settings}\n{table(found)}")
    return 0 if met else 1


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench fairness", description="who of many connections waits longest")
    parser.add_argument("--json", action="store_true", help="one object with every figure")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK.connections} connections, every {QUICK.period} s")
    parser.add_argument("--sqlite", action="store_true", help="on SQLite instead of PostgreSQL")
    parser.add_argument("--connections", type=int)
    parser.add_argument("--period", type=int, help="seconds")
    parser.add_argument("--periods", type=float, help="that are measured, after the first")
    parser.add_argument("--slots", type=int, help="processes of the worker")
    parser.add_argument("--streams", help="of the demo vendor, separated by commas; empty = all")
    return parser.parse_args(arguments)
