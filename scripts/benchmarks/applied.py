"""From receipt to applied: 200 events a second through the whole service, alone and beside a pull at full speed.

One web process, one worker with the Procfile's two slots, the clock. The latency is what the rows say: `closed_at`
less `received_at`. Pulls in all slots are what the express worker is for: it runs in that phase only, which has no
budget.
"""

import argparse
from collections.abc import Iterator
from typing import Any

from benchmarks import measure
from benchmarks.lines import Line
from benchmarks.place import Place

RATE = 200
SECONDS, QUICK_SECONDS = 20.0, 8.0
BUDGET = 1.0
PATIENCE = 1800.0


def measured(
    place: Place, asked: argparse.Namespace, *, where: str, kind: str = "fat"
) -> tuple[list[Line], dict[str, Any]]:
    """The lines of one database and kind of events, and every figure behind them."""
    seconds = asked.seconds or (QUICK_SECONDS if asked.quick else SECONDS)
    options = ["--kind", kind, "--rate", str(RATE), "--seconds", str(seconds)]
    command = measure.module("applying", "--folder", str(place.folder), *options, *place.servers)
    one = measure.Candidate(name="applying", command=lambda phase: command, environment=place.environ, timeout=PATIENCE)
    said = measure.run(one, "applying").said
    name = f"{where}, {RATE} {kind} events/s"
    found = [
        *_lines(name, said["alone"], BUDGET),
        *_lines(f"{name} beside a pull at full speed", said["beside"], BUDGET),
        *_lines(f"{name} beside a pull in each slot, with express", said["among"], None),
    ]
    return found, said


def _lines(name: str, said: dict[str, Any], budget: float | None) -> Iterator[Line]:
    spread, answered = said["applied"], said["answered"]
    pull = f"; pulled {said['pulled']:,.0f} records/s" if said["pulled"] else ""
    yield Line(
        name=f"{name}: p95 from receipt to applied",
        figure=spread["p95"] / 1000,
        unit="s",
        budget=budget,
        floor=f"p50 {spread['p50']:.0f}, p99 {spread['p99']:.0f}, longest {spread['max']:.0f} ms of "
        f"{said['count']:,} events; answered in p50 {answered['p50']:.1f}, p99 {answered['p99']:.1f} ms{pull}",
    )
    costs = {who: 1000 * used / said["count"] for who, used in said["cpu"].items()}
    each = ", ".join(f"{who} {cost:.2f}" for who, cost in costs.items())
    if not said["pulled"]:
        yield Line(name="  CPU an event", figure=sum(costs.values()), unit="ms", floor=each)
