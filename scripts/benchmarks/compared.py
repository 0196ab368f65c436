"""The three phases, Tidelock against the floor and the peers: interleaved rounds on PostgreSQL, then on SQLite."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from urllib.request import urlopen

from benchmarks import measure, peer_dlt, published
from benchmarks.lines import Line
from benchmarks.peer_celery import TABLE as CELERY_TABLE
from benchmarks.source import KEPT_RECORDS
from benchmarks.stage import Stage

PHASES = {"first": "a", "again": "b", "changed": "c"}
WORDS = {"a": "first load", "b": "the same again", "c": "1 % changed"}
SHARE = {"a": 0.55, "b": 0.40, "c": 0.50}
TIMES_DLT = {"a": 3.5, "b": 8.0, "c": 6.0}
SQLITE_SHARE = 0.40
WAL_SHARE = 0.05
PEERS = Path.home() / ".cache" / "tidelock-bench"


def on_postgresql(stage: Stage, wanted: Sequence[str]) -> Iterator[Line]:
    """Phases a to the last that is wanted: each needs what the one before it left."""
    phases = "abc"[: 1 + max("abc".index(PHASES[name]) for name in wanted)]
    with measure.source(records=stage.records) as source:
        floor, _ = published.floors(source, stage.server, str(stage.folder))
        peers = _peers(stage, source)
        candidates = [floor, stage.tidelock(source, stage.postgresql), *peers]
        found = stage.rounds_of(candidates, phases, lambda phase: _enter(stage, source, phase))
    for phase in phases:
        yield from _against(found, phase, floor.name, [peer.name for peer in peers])
        if phase == "b":
            yield from _untouched(found)


def on_sqlite(stage: Stage) -> Iterator[Line]:
    """All phases on SQLite, where there is only the floor to compare with."""
    with measure.source(records=stage.records) as source:
        _, floor = published.floors(source, stage.server, str(stage.folder))
        ours = stage.tidelock(source, stage.sqlite)
        found = stage.rounds_of([floor, ours], "abc", lambda phase: _enter(stage, source, phase))
    for phase in "abc":
        yield _share(found, ours.name, floor.name, phase, SQLITE_SHARE, "SQLite")


def _enter(stage: Stage, source: measure.Source, phase: str) -> None:
    """Serve the phase's data, rendered before anybody is measured, on a server that has nothing left to clean up after
    others, and look how fast the machine is."""
    source.enter(phase)
    stage.server.settle()
    if stage.records <= KEPT_RECORDS:
        _read(source)
    stage.gauge.sample()


def _read(source: measure.Source) -> None:
    """Every page once, asked for as services do: the parameters in another order than the floors'."""
    token, target = None, f"{source.url}/records?limit=100"
    while True:
        with urlopen(target if token is None else f"{target}&cursor={token}", timeout=60) as reply:
            body = reply.read()
        token = json.loads(body[body.rindex(b'"next_cursor":') + 14 : -1])
        if token is None:
            return


def _peers(stage: Stage, source: measure.Source) -> list[measure.Candidate]:
    url = stage.server.url
    celery = ["--source", source.url, "--postgres", url, "--redis", stage.broker.url]
    peers = [
        measure.Candidate(
            name="peer Celery",
            table=CELERY_TABLE,
            command=lambda phase: measure.module("peer_celery", *celery, *["--reset"][: phase == "a"]),
        )
    ]
    try:
        python = peer_dlt.python_with_dlt(PEERS)
    except peer_dlt.PeerNotAvailable as missing:
        stage.told(str(missing))
        return peers
    dlt = ["--source", source.url, "--postgres", url, "--folder", str(stage.folder / "dlt")]
    command = [str(python), "-m", "benchmarks.peer_dlt", *dlt]
    return [
        measure.Candidate(
            name="peer dlt", table=peer_dlt.TABLE, command=lambda phase: [*command, *["--reset"][: phase == "a"]]
        ),
        *peers,
    ]


def _speed(figures: measure.Figures) -> float:
    return figures.records_per_second


def _share(found: Sequence[measure.Figures], ours: str, floor: str, phase: str, budget: float, where: str) -> Line:
    """What part of the floor's records a second we reach."""
    speeds = [measure.median(found, name, phase, _speed) for name in (ours, floor)]
    return Line(
        name=f"{where}, {WORDS[phase]}: share of the floor",
        figure=100 * measure.ratio(found, ours, floor, phase, _speed),
        unit="%",
        budget=100 * budget,
        at_least=True,
        floor=f"{speeds[0]:,.0f} of {speeds[1]:,.0f} records/s",
    )


def _against(found: Sequence[measure.Figures], phase: str, floor: str, peers: Sequence[str]) -> Iterator[Line]:
    yield _share(found, "tidelock", floor, phase, SHARE[phase], "PostgreSQL")
    for peer in ("peer dlt", "peer Celery"):
        there = peer in peers
        yield Line(
            name=f"PostgreSQL, {WORDS[phase]}: times {peer}",
            figure=measure.ratio(found, "tidelock", peer, phase, _speed) if there else None,
            budget=TIMES_DLT[phase] if peer == "peer dlt" else None,
            at_least=True,
            floor=f"{measure.median(found, peer, phase, _speed):,.0f} records/s" if there else "",
            note="peer not available",
        )
    costs = [measure.median(found, name, phase, lambda one: one.cpu_per_record) for name in ("tidelock", floor)]
    yield Line(name=f"PostgreSQL, {WORDS[phase]}: CPU a record", figure=costs[0], unit="us", floor=f"{costs[1]:.1f} us")


def _untouched(found: Sequence[measure.Figures]) -> Iterator[Line]:
    """What a sync without changes writes."""
    rows = max(one.rows_written or 0 for one in measure.chosen(found, "tidelock", "b"))
    wal = [measure.median(found, "tidelock", phase, lambda one: one.wal_bytes) for phase in "ba"]
    yield Line(name="PostgreSQL, the same again: rows rewritten", figure=rows, unit="rows", budget=1)
    yield Line(
        name="PostgreSQL, the same again: WAL of the first load's",
        figure=100 * wal[0] / wal[1],
        unit="%",
        budget=100 * WAL_SHARE,
        floor=f"{wal[0] / 1e6:.1f} of {wal[1] / 1e6:.1f} MB",
    )
