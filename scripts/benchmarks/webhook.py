"""scripts/bench webhook: receiving, against the usual design and the insert limit, and from receipt to applied.

    scripts/bench webhook [--json] [--quick] [--only NAMES] [--rounds N] [--seconds S] [--connections N]

Each part has servers and a folder of its own. The exit code is 1 where a budget is missed; the bench itself fails where
a delivery was refused, or answered and not stored, or stored and not applied.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from benchmarks import applied, hooked, place, processes, received
from benchmarks.lines import Line, table
from benchmarks.place import Place

Part = Callable[[Place, argparse.Namespace], tuple[list[Line], Mapping[str, Any]]]
PARTS: Mapping[str, tuple[Part, bool]] = {
    "postgresql": (partial(received.measured, where="PostgreSQL"), False),
    "sqlite": (partial(received.measured, where="SQLite FULL"), True),
    "applied": (partial(applied.measured, where="PostgreSQL"), False),
    "applied-sqlite": (partial(applied.measured, where="SQLite"), True),
    "thin": (partial(applied.measured, where="PostgreSQL", kind="thin"), False),
    "thin-sqlite": (partial(applied.measured, where="SQLite", kind="thin"), True),
}
INFO = "tidelock_webhook_bench-0.dist-info"


def main(arguments: Sequence[str]) -> int:
    """Run it; the exit code."""
    asked = _arguments(arguments)
    parts = {name: _part(name, asked) for name in asked.only or PARTS}
    found = [line for lines, _ in parts.values() for line in lines]
    met = all(line.met is not False for line in found)
    figures = {name: said for name, (_, said) in parts.items()}
    told = {"met": met, "lines": [line.as_json() for line in found], "figures": figures}
    print(json.dumps(told, indent=2) if asked.json else table(found))
    return 0 if met else 1


def _part(name: str, asked: argparse.Namespace) -> tuple[list[Line], Mapping[str, Any]]:
    print(name, file=sys.stderr, flush=True)
    part, sqlite = PARTS[name]
    with place.private(sqlite=sqlite) as where:
        return part(replace(where, environ=environment(where)), asked)


def environment(where: Place) -> dict[str, str]:
    """An installation that has our connector too, as another package's."""
    info = processes.distribution(where.folder) / INFO
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: tidelock-webhook-bench\nVersion: 0\n")
    (info / "entry_points.txt").write_text(f"[tidelock.connectors]\n{hooked.NAME} = benchmarks.hooked:connector\n")
    return where.environ


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="scripts/bench webhook", description="receiving and applying webhooks")
    parser.add_argument("--json", action="store_true", help="one object with every figure")
    parser.add_argument("--quick", action="store_true", help="short runs, fewer rounds")
    parser.add_argument("--only", type=_names, help=f"of {','.join(PARTS)}")
    parser.add_argument("--rounds", type=int, default=0)
    parser.add_argument("--seconds", type=float, default=0.0, help="of a run")
    parser.add_argument("--connections", type=int, default=64, help="of the sender")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(PARTS)}")
    return names
