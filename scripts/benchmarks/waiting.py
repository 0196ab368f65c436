"""A vendor that takes 20 ms a page: what is left to gain is only not to wait twice."""

import json
import statistics
import time
from collections.abc import Iterator

from benchmarks import measure
from benchmarks.fetch import Fetch
from benchmarks.lines import Line
from benchmarks.stage import SHARES, Stage

LATENCY = 20.0
BUDGET = {1: 1.10, SHARES: 1.25}
RECORDS = {1: 10_000, SHARES: 80_000}
OPTIONS = {1: ("--streams", "records"), SHARES: ("--streams", "parts,shares", "--slots", str(SHARES))}


def waited(stage: Stage) -> Iterator[Line]:
    """One list, and eight partitions in parallel, against the time that only fetching a partition's pages takes."""
    for shares in OPTIONS:
        yield _line(stage, shares)


def _line(stage: Stage, shares: int) -> Line:
    phase = f"20 ms a page, {shares} in parallel"
    with measure.source(records=RECORDS[shares], latency=LATENCY, partitions=shares) as source:
        ours = stage.tidelock(source, stage.postgresql, *OPTIONS[shares], first=True)
        pairs = []
        for _ in range(stage.rounds):
            floor = _fetched(source, "/records" if shares == 1 else "/p/0/records")
            (one,) = stage.rounds_of([ours], [phase], lambda _: None, 1)
            pairs.append((one.seconds, floor))
    took, floor = (statistics.median(times) for times in zip(*pairs, strict=True))
    return Line(
        name=f"{phase}: times the latency",
        figure=statistics.median(took / floor for took, floor in pairs),
        budget=BUDGET[shares],
        floor=f"{took:.2f} of {floor:.2f} s",
    )


def _fetched(source: measure.Source, base: str) -> float:
    """Seconds that the pages of a list take one after the other, when nothing is made of them."""
    fetch = Fetch(source.url)
    token: str | None = "0"
    begun = time.perf_counter()
    while token is not None:
        body = bytes(fetch.get(f"{base}?cursor={token}&limit=100"))
        token = json.loads(body[body.rindex(b'"next_cursor":') + 14 : -1])
    return time.perf_counter() - begun
