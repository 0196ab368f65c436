"""Growth: memory of a worker and CPU a record, from ten thousand records to a million, from one connection to many."""

import statistics
from collections.abc import Iterator, Sequence

from benchmarks import measure
from benchmarks.lines import Line
from benchmarks.stage import Stage

SMALL, MIDDLE, LARGE = 10_000, 100_000, 1_000_000
OTHERS = 999
MIB = 1024
MEMORY = 100.0
FLAT = 1.15


def grown(stage: Stage) -> Iterator[Line]:
    """First loads of each size, and one beside many other connections."""
    sizes = [SMALL, MIDDLE, *([LARGE] if stage.full else [])]
    if stage.quick:
        sizes = [SMALL]
    loads = {size: _loads(stage, size, 0) for size in sizes}
    largest = sizes[-1]
    memory = {size: max(one.worker_kib for one in found) / MIB for size, found in loads.items()}
    yield Line(
        name=f"memory of a worker process, {largest:,} records", figure=memory[largest], unit="MiB", budget=MEMORY,
        floor=f"{memory[SMALL]:.0f} MiB at {SMALL:,}",
    )  # fmt: skip
    if largest != SMALL:
        yield Line(
            name=f"memory, {largest:,} records to {SMALL:,}", figure=memory[largest] / memory[SMALL], budget=FLAT
        )
        yield _cost(f"CPU a record, {largest:,} records to {SMALL:,}", loads[largest], loads[SMALL])
    beside = _loads(stage, sizes[0] if stage.quick else MIDDLE, OTHERS)
    yield _cost("CPU a record, 1,000 connections to 1", beside, loads[SMALL if stage.quick else MIDDLE])


def _loads(stage: Stage, records: int, others: int) -> list[measure.Figures]:
    phase = f"{records:,} records, {others + 1:,} connections"
    with measure.source(records=records) as source:
        ours = stage.tidelock(source, stage.postgresql, "--others", str(others), first=True)
        count = 1 if records == LARGE else max(3, stage.rounds) if not stage.quick else 1
        return stage.rounds_of([ours], [phase], lambda _: None, count)


def _cost(name: str, grown: Sequence[measure.Figures], small: Sequence[measure.Figures]) -> Line:
    costs = [statistics.median(one.cpu_per_record for one in found) for found in (grown, small)]
    return Line(name=name, figure=costs[0] / costs[1], budget=FLAT, floor=f"{costs[0]:.1f} to {costs[1]:.1f} us")
