"""The stage of the pull bench: the servers that all its parts share, and how Tidelock is put on it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import broker, cluster, measure, processes
from benchmarks.connector import TABLE
from benchmarks.published import Gauge

WARM_RECORDS = 800
WARM_LATENCY = 20.0
SHARES = 8


@dataclass(frozen=True, kw_only=True)
class Stage:
    """Where the bench runs, and how thoroughly.

    warm    a small source from which each service syncs once before it is measured
    told    is called with a line of text as the work goes on
    """

    server: cluster.Cluster
    broker: broker.Broker
    warm: measure.Source
    folder: Path
    told: Callable[[str], object]
    records: int
    rounds: int
    quick: bool
    full: bool
    gauge: Gauge
    found: list[measure.Figures] = field(default_factory=list)

    @property
    def sqlite(self) -> str:
        return f"sqlite:///{self.folder / 'bench.db'}"

    @property
    def postgresql(self) -> str:
        return self.server.url.replace("postgresql:", "postgresql+psycopg:")

    def environ(self, database: str) -> dict[str, str]:
        """The environment of Tidelock's processes."""
        return processes.environment(self.folder, database=database, redis=self.broker.url)

    def tidelock(self, source: measure.Source, database: str, *more: str, first: bool = False) -> measure.Candidate:
        """Tidelock as a candidate; it makes its tables anew in phase a, and always where `first`."""
        arguments = ["--source", source.url, "--warm", self.warm.url, "--folder", str(self.folder), *more]
        return measure.Candidate(
            name="tidelock" if database != self.sqlite else "tidelock on SQLite",
            table=None if database == self.sqlite else TABLE,
            command=lambda phase: measure.module("tidelock", *arguments, *["--reset"][: first or phase == "a"]),
            environment=self.environ(database),
        )

    def rounds_of(
        self,
        candidates: Sequence[measure.Candidate],
        phases: Sequence[str],
        enter: Callable[[str], object],
        count: int | None = None,
    ) -> list[measure.Figures]:
        """The rounds, each run told of and kept."""
        found = measure.rounds(
            candidates, phases=phases, count=count or self.rounds, enter=enter, cluster=self.server, heard=self._heard
        )
        self.found.extend(found)
        return found

    def _heard(self, one: measure.Figures) -> None:
        cost = f"{one.cpu_per_record:.1f} us CPU a record"
        self.told(f"  {one.candidate}, {one.phase}: {one.records:,} at {one.records_per_second:,.0f}/s, {cost}")


@contextmanager
def standing(
    *, postgres: str | None, told: Callable[[str], object], records: int, rounds: int, quick: bool, full: bool
) -> Iterator[Stage]:
    """A stage while the block runs; nothing of it is left."""
    with (
        cluster.opened(postgres) as server,
        broker.private() as redis,
        measure.source(records=WARM_RECORDS, latency=WARM_LATENCY, partitions=SHARES) as warm,
        TemporaryDirectory(prefix="bench-") as folder,
    ):
        yield Stage(
            server=server, broker=redis, warm=warm, folder=Path(folder), told=told, records=records, rounds=rounds,
            quick=quick, full=full, gauge=Gauge(server),
        )  # fmt: skip
