"""What receiving cost: ratios inside a round, their median over the rounds.

Ours and the peer run on the same machine, seconds apart, with the same sender: 64 keep-alive connections in a closed
loop, 2,048 bytes of JSON, signature checked, one row a delivery that is committed before the answer. The limit is what
PostgreSQL itself needs for those rows: transactions of 50, 100 and 200 rows by one client without HTTP, into the same
table with the same indexes. Both are told in rows per second of PostgreSQL's own CPU (all processes of its cluster), so
that the sender and our HTTP don't count. The limit of a round is its three sizes together: all rows by all CPU.

The web process's CPU is judged by the cheapest round, since neighbours only ever add to it. On SQLite it holds what the
database does, too.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from benchmarks import measure
from benchmarks.lines import Line
from benchmarks.place import Place

Run: TypeAlias = Mapping[str, Any]
ROUNDS, QUICK_ROUNDS = 5, 2
SECONDS, QUICK_SECONDS = 4.0, 2.0
TIMES_PEER = {"PostgreSQL": 4.0, "SQLite FULL": 5.0}
CPU_BUDGET = 170.0
LIMIT_SHARE = 60.0
PATIENCE = 1800.0


def measured(place: Place, asked: argparse.Namespace, *, where: str) -> tuple[list[Line], Run]:
    """The lines of one database, and every figure behind them."""
    said = _ran(place, asked)
    return list(_lines(where, said, asked.connections)), said


def _lines(where: str, said: Run, connections: int) -> Iterator[Line]:
    runs: Sequence[Run] = said["runs"]
    ours, peer = _of(runs, "tidelock"), _of(runs, "peer")
    rates = [_median(one, _rate) for one in (ours, peer)]
    yield Line(
        name=f"{where}, {connections} connections: deliveries a second, times the usual design",
        figure=_ratio(ours, peer, _rate),
        budget=TIMES_PEER[where],
        at_least=True,
        floor=f"{rates[0]:,.0f} of {rates[1]:,.0f} a second; by round {_each(ours, peer, _rate)}",
    )
    yield Line(
        name=f"{where}: CPU of the web process a delivery, the cheapest round",
        figure=min(map(_web_cpu, ours)),
        unit="us",
        budget=CPU_BUDGET,
        floor=f"median {_median(ours, _web_cpu):.0f}; the usual design {_median(peer, _web_cpu):,.0f}; "
        f"the sender {_median(ours, _sender_cpu):.0f}",
    )
    if any(run["server_cpu"] for run in runs):
        yield from _limits(where, runs)
    yield from _latencies(where, ours, peer, said["fixed"])


def _ran(place: Place, asked: argparse.Namespace) -> dict[str, Any]:
    rounds = asked.rounds or (QUICK_ROUNDS if asked.quick else ROUNDS)
    seconds = asked.seconds or (QUICK_SECONDS if asked.quick else SECONDS)
    options = ["--rounds", str(rounds), "--seconds", str(seconds), "--connections", str(asked.connections)]
    command = measure.module("receiving", "--folder", str(place.folder), *options, *place.servers)
    one = measure.Candidate(
        name="receiving", command=lambda phase: command, environment=place.environ, timeout=PATIENCE
    )
    return measure.run(one, "receiving").said


def _limits(where: str, runs: Sequence[Run]) -> Iterator[Line]:
    ours, floors = _of(runs, "tidelock"), [run for run in runs if run["who"].startswith("limit")]
    limit = [_together([run for run in floors if run["round"] == one["round"]]) for one in ours]
    sizes = {run["who"]: _of(runs, run["who"]) for run in floors}
    told = ", ".join(f"{who.split()[1]} rows {_median(one, _rows_per_cpu):,.0f}" for who, one in sizes.items())
    yield Line(
        name=f"{where}: rows per second of PostgreSQL's CPU, share of multi-row INSERT's",
        figure=100 * _ratio(ours, limit, _rows_per_cpu),
        unit="%",
        budget=LIMIT_SHARE,
        at_least=True,
        floor=f"{_median(ours, _rows_per_cpu):,.0f} of {_median(limit, _rows_per_cpu):,.0f} ({told}); the usual design "
        f"{_median(_of(runs, 'peer'), _rows_per_cpu):,.0f}",
    )


def _together(runs: Sequence[Run]) -> Run:
    return {name: sum(run[name] for run in runs) for name in ("rows", "server_cpu")}


def _latencies(where: str, ours: Sequence[Run], peer: Sequence[Run], fixed: Mapping[str, Run]) -> Iterator[Line]:
    full = [_median(one, lambda run: float(run["p99"])) for one in (ours, peer)]
    yield Line(
        name=f"{where}: p99 under full load", figure=full[0], unit="ms", floor=f"the usual design {full[1]:.1f} ms"
    )
    told = [f"p50 {one['p50']:.1f}, p95 {one['p95']:.1f}" for one in (fixed["tidelock"], fixed["peer"])]
    yield Line(
        name=f"{where}: p99 at 200 deliveries a second",
        figure=fixed["tidelock"]["p99"],
        unit="ms",
        floor=f"{told[0]}; the usual design p99 {fixed['peer']['p99']:.1f}, {told[1]}",
    )


def _of(runs: Sequence[Run], who: str) -> list[Run]:
    """By round."""
    return [run for run in runs if run["who"] == who]


def _median(runs: Sequence[Run], of: Callable[[Run], float]) -> float:
    return statistics.median(map(of, runs))


def _ratio(ours: Sequence[Run], theirs: Sequence[Run], of: Callable[[Run], float]) -> float:
    return statistics.median(of(mine) / of(other) for mine, other in zip(ours, theirs, strict=True))


def _each(ours: Sequence[Run], theirs: Sequence[Run], of: Callable[[Run], float]) -> str:
    return " ".join(f"{of(mine) / of(other):.1f}" for mine, other in zip(ours, theirs, strict=True))


def _rate(run: Run) -> float:
    return float(run["answered"] / run["seconds"])


def _web_cpu(run: Run) -> float:
    return float(run["web_cpu"] / run["answered"] * 1e6)


def _sender_cpu(run: Run) -> float:
    return float(run["cpu_seconds"] / run["answered"] * 1e6)


def _rows_per_cpu(run: Run) -> float:
    return float(run["rows"] / run["server_cpu"])
