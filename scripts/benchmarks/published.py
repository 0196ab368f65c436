"""The floors' published cost, and whether a floor still meets it.

    python -m benchmarks.published [--records 100000] [--rounds 5]

measures both floors in all phases and writes published.json beside this file; with --check it only compares.
A bench asks `verdicts`: a floor that costs more than 10 % above what is published (CPU a record) would make
every share look better than it is, so it fails the bench. Machines differ and are busy: a fixed piece of work,
`Gauge`, is timed between the runs and published too, and what is published is scaled up where it is
slower now. Neighbours only ever add, so the cheapest round is judged against the cheapest published; medians and
records per second are published for reading.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import cluster, measure, page, procfs
from benchmarks.records import record

FILE = Path(__file__).with_name("published.json")
TOLERANCE = 1.10
PHASES = "abc"
FLOORS = {"floor_postgresql": "floor_records", "floor_sqlite": None}
HOW = (
    "python -m benchmarks.published: 100,000 records, pages of 100, a private cluster with default settings; "
    "microseconds of CPU a record in the floor's process and in PostgreSQL, medians of the rounds and the cheapest"
)
GAUGE_PAGE = b'{"data":[' + b",".join(record(index) for index in range(100)) + b'],"next_cursor":null}'
GAUGE_SQL = "SELECT count(c.name) FROM json_array_elements(%s::json) AS p, LATERAL json_to_record(p) AS c(name text)"
GAUGE_TURNS = 200


class Gauge:
    """How fast this machine is now: CPU seconds of a fixed piece of work, in Python and in PostgreSQL."""

    def __init__(self, server: cluster.Cluster) -> None:
        self.server = server
        self.client_samples: list[float] = []
        self.server_samples: list[float] = []

    def sample(self) -> None:
        """Do the work once more: as a sync does, by turns here and there, a page at a time."""
        text = f"[{','.join(record(index).decode() for index in range(100))}]"
        with psycopg.connect(self.server.url, autocommit=True) as connection:
            connection.execute("SET jit = off")
            backend = connection.info.backend_pid
            client, server = time.process_time(), procfs.own_cpu_seconds(backend)
            for _ in range(GAUGE_TURNS):
                for raw in page.ENVELOPE.decode(GAUGE_PAGE).data:
                    page.digest(raw)
                page.PROJECTED_PAGE.decode(GAUGE_PAGE)
                connection.execute(GAUGE_SQL, (text,))
            self.server_samples.append(procfs.own_cpu_seconds(backend) - server)
            self.client_samples.append(time.process_time() - client)

    @property
    def client(self) -> float:
        return min(self.client_samples)

    @property
    def postgresql(self) -> float:
        return min(self.server_samples)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A floor's cheapest round of a phase: microseconds of CPU a record now, published, and expected here."""

    floor: str
    phase: str
    measured: float
    published: float
    expected: float

    @property
    def met(self) -> bool:
        return self.measured <= self.expected * TOLERANCE

    def as_text(self) -> str:
        """One line for people."""
        told = f"{self.floor} {self.phase}: {self.measured:.1f} us a record, published {self.published:.1f}"
        return f"{told} ({self.expected:.1f} on this machine now): {'met' if self.met else 'TOO SLOW'}"


def floors(source: measure.Source, server: cluster.Cluster, folder: str) -> list[measure.Candidate]:
    """The two floors as candidates."""
    stores = {
        "floor_postgresql": ["--postgres", server.url],
        "floor_sqlite": ["--sqlite", f"{folder}/floor.db"],
    }
    return [candidate(name, ["--source", source.url, *where]) for name, where in stores.items()]


def candidate(name: str, arguments: list[str]) -> measure.Candidate:
    """One floor, making its tables anew in phase a."""
    return measure.Candidate(
        name=name,
        table=FLOORS[name],
        command=lambda phase: measure.module(name, *arguments, *["--reset"][: phase == "a"]),
    )


def cheapest(found: Sequence[measure.Figures], name: str, phase: str) -> measure.Figures:
    """The round that neighbours disturbed least."""
    return min(measure.chosen(found, name, phase), key=lambda each: each.cpu_per_record)


def cost_of(figures: measure.Figures) -> dict[str, float]:
    """Microseconds of CPU a record, in the floor's process and in PostgreSQL."""
    seconds = {"client_us": figures.cpu_seconds, "postgresql_us": figures.server_cpu}
    return {name: round(spent / figures.records * 1e6, 2) for name, spent in seconds.items()}


def verdicts(found: Sequence[measure.Figures], gauge: Gauge) -> list[Verdict]:
    """What became of each floor that was measured, in each of its phases."""
    said = json.loads(FILE.read_text())
    client = max(1.0, gauge.client / said["gauge"]["client"])
    postgresql = max(1.0, gauge.postgresql / said["gauge"]["postgresql"])
    told = []
    for floor, phase in sorted({(each.candidate, each.phase) for each in found if each.candidate in FLOORS}):
        cost = said["floors"][floor][phase]["best"]
        told.append(
            Verdict(
                floor=floor,
                phase=phase,
                measured=cheapest(found, floor, phase).cpu_per_record,
                published=cost["client_us"] + cost["postgresql_us"],
                expected=cost["client_us"] * client + cost["postgresql_us"] * postgresql,
            )
        )
    return told


def summary(found: Sequence[measure.Figures], gauge: Gauge, rounds: int) -> dict[str, Any]:
    """What published.json holds."""

    def figures(name: str, phase: str) -> dict[str, Any]:
        costs = [cost_of(each) for each in measure.chosen(found, name, phase)]
        medians = {part: statistics.median(cost[part] for cost in costs) for part in costs[0]}
        speed = round(measure.median(found, name, phase, lambda each: each.records_per_second))
        return {**medians, "records_per_second": speed, "best": cost_of(cheapest(found, name, phase))}

    return {
        "how": HOW,
        "rounds": rounds,
        "measured": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.machine()}, Python {platform.python_version()}, psycopg {psycopg.__version__}",
        "gauge": {"client": round(gauge.client, 4), "postgresql": round(gauge.postgresql, 4)},
        "floors": {name: {phase: figures(name, phase) for phase in PHASES} for name in FLOORS},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="measure and publish the floors")
    parser.add_argument("--records", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--check", action="store_true", help="compare with what is published, write nothing")
    asked = parser.parse_args()
    with (
        cluster.private() as server,
        measure.source(records=asked.records) as source,
        tempfile.TemporaryDirectory() as folder,
    ):
        gauge = Gauge(server)

        def enter(phase: str) -> None:
            source.enter(phase)
            gauge.sample()

        found = measure.rounds(
            floors(source, server, folder), phases=PHASES, count=asked.rounds, enter=enter, cluster=server
        )
    if not asked.check:
        FILE.write_text(json.dumps(summary(found, gauge, asked.rounds), indent=2) + "\n")
    told = verdicts(found, gauge)
    print("\n".join(verdict.as_text() for verdict in told))
    sys.exit(not all(verdict.met for verdict in told))


if __name__ == "__main__":
    main()
