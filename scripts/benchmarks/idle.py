"""scripts/bench idle: what the whole stack costs while a thousand scheduled connections wait and none is due.

    scripts/bench idle [--json] [--quick] [--sqlite] [--connections N] [--seconds N]

Web, worker, express, beat, Redis and the database, as the Procfile starts them. The exit code is 1 where the budget
is missed.
"""

import argparse
import json
from collections.abc import Iterator, Sequence

from benchmarks import measure, place
from benchmarks.lines import Line, table
from benchmarks.stage import Stage

CONNECTIONS = 1000
SECONDS, QUICK = 60.0, 20.0
BUDGET = 3.0


def idled(stage: Stage) -> Iterator[Line]:
    """The line of this bench, on the stage of another."""
    yield line(place.of_stage(stage), CONNECTIONS, QUICK if stage.quick else SECONDS)


def line(where: place.Place, connections: int, seconds: float) -> Line:
    """Share of one core."""
    asked = ["--folder", str(where.folder), "--connections", str(connections), "--seconds", str(seconds)]
    command = measure.module("rest", *asked, *where.servers)
    ran = measure.run(measure.Candidate(name="idle", command=lambda phase: command, environment=where.environ), "idle")
    shares = {name: 100 * used / seconds for name, used in ran.said.items()}
    return Line(
        name=f"idle with {connections:,} scheduled connections",
        figure=sum(shares.values()),
        unit="%",
        budget=BUDGET,
        floor=", ".join(f"{name} {share:.2f}" for name, share in shares.items()),
    )


def main(arguments: Sequence[str]) -> int:
    """Run it; the exit code."""
    asked = _arguments(arguments)
    seconds = asked.seconds or (QUICK if asked.quick else SECONDS)
    with place.private(sqlite=asked.sqlite) as where:
        found = line(where, asked.connections, seconds)
    settings = {
        "connections": asked.connections, "seconds": seconds, "database": "SQLite" if asked.sqlite else "PostgreSQL",
    }  # fmt: skip
    told = {"met": found.met, **settings, "lines": [found.as_json()]}
    print(json.dumps(told, indent=2) if asked.json else f"{settings}\n{table([found])}")
    return 0 if found.met else 1


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench idle", description="what an idle stack costs")
    parser.add_argument("--json", action="store_true", help="one object with every figure")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK:.0f} seconds instead of {SECONDS:.0f}")
    parser.add_argument("--sqlite", action="store_true", help="on SQLite instead of PostgreSQL")
    parser.add_argument("--connections", type=int, default=CONNECTIONS)
    parser.add_argument("--seconds", type=float, default=0.0)
    return parser.parse_args(arguments)
