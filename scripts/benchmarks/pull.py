"""scripts/bench pull: what pulling costs, held against the floors, the peers and the budget.

    scripts/bench pull [--json] [--quick] [--full] [--only first,again,changed,sqlite,waiting,growth,idle,fairness]

Tidelock is measured as the whole service: worker and beat as processes, a Redis, leases, checkpoints, history,
payloads and typed columns. Ratios are taken inside a round of interleaved runs; their median counts. The exit code is
1 where a budget is missed, or a floor is slower than published.
"""

import argparse
import json
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from benchmarks import compared, fairness, growth, idle, published, waiting
from benchmarks.lines import Line, table
from benchmarks.stage import Stage, standing

RECORDS, QUICK_RECORDS = 100_000, 10_000
ROUNDS = 3
PARTS: Mapping[str, Callable[[Stage], Iterator[Line]]] = {
    "sqlite": compared.on_sqlite,
    "waiting": waiting.waited,
    "growth": growth.grown,
    "idle": idle.idled,
    "fairness": fairness.treated,
}
NAMES = (*compared.PHASES, *PARTS)


def main(arguments: Sequence[str]) -> int:
    """Run it; the exit code."""
    asked = _arguments(arguments)
    wanted = asked.only or NAMES
    with standing(
        postgres=asked.postgres,
        told=lambda text: print(text, file=sys.stderr, flush=True),
        records=asked.records or (QUICK_RECORDS if asked.quick else RECORDS),
        rounds=asked.rounds or (1 if asked.quick else ROUNDS),
        quick=asked.quick,
        full=asked.full,
    ) as stage:
        lines = list(_lines(stage, wanted))
        verdicts = _verdicts(stage, quick=asked.quick)
    met = all(line.met is not False for line in lines) and all(verdict.met for verdict in verdicts)
    print(_json(stage, lines, verdicts, met=met) if asked.json else _text(lines, verdicts))
    return 0 if met else 1


def _lines(stage: Stage, wanted: Iterable[str]) -> Iterator[Line]:
    phases = [name for name in wanted if name in compared.PHASES]
    if phases:
        stage.told("PostgreSQL")
        yield from compared.on_postgresql(stage, phases)
    for name in wanted:
        if name in PARTS:
            stage.told(name)
            yield from PARTS[name](stage)


def _verdicts(stage: Stage, *, quick: bool) -> list[published.Verdict]:
    """What became of the floors that ran; a quick run is too short to judge them by."""
    return [] if quick or not stage.gauge.client_samples else published.verdicts(stage.found, stage.gauge)


def _text(lines: Sequence[Line], verdicts: Sequence[published.Verdict]) -> str:
    return "\n".join([table(lines), "", *(verdict.as_text() for verdict in verdicts)]).rstrip()


def _json(stage: Stage, lines: Sequence[Line], verdicts: Sequence[published.Verdict], *, met: bool) -> str:
    floors = [
        {"floor": one.floor, "phase": one.phase, "us": one.measured, "published": one.published, "met": one.met}
        for one in verdicts
    ]
    told = {
        "met": met,
        "machine": f"{platform.machine()}, Python {platform.python_version()}",
        "lines": [line.as_json() for line in lines],
        "floors": floors,
        "runs": [one.as_json() for one in stage.found],
    }
    return json.dumps(told, indent=2)


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench pull", description="pulling, against floors, peers and budget")
    parser.add_argument("--json", action="store_true", help="one object with every figure")
    parser.add_argument("--quick", action="store_true", help="10,000 records, one round")
    parser.add_argument("--full", action="store_true", help="growth up to a million records")
    parser.add_argument("--only", type=_names, help=f"of {','.join(NAMES)}")
    parser.add_argument("--records", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--postgres", help="a server to use instead of a private one")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in NAMES]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(NAMES)}")
    return names
