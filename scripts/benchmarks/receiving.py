"""Receiving: our web process, the peer and the insert limit in turn, round after round, on one database.

    python -m benchmarks.receiving --folder PATH --rounds 5 --seconds 4 --connections 64 [--postmaster PID]

in the environment that `webhook.environment` makes. No worker runs: what is measured ends with the answer, and with the
message behind it. It prints one JSON line: the runs, each with what was answered and stored, CPU of the web process and
of PostgreSQL; and the latencies at a fixed rate.
"""

import argparse
import json
import os
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import measure, processes, receiver
from benchmarks.inbox import SECRET, Inbox, beside, installed
from benchmarks.procfs import cpu_seconds
from benchmarks.receiver import Receiver
from sync.settings import settings

NOWHERE = "http://127.0.0.1:9"
WARM_SECONDS = 1.5
LIMIT_ROWS = (50, 100, 200)
RATE = 200.0


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """Who receives: what it stores, and where."""

    name: str
    inbox: Inbox
    receiver: Receiver


class Bench:
    """The rounds on one database; `postmaster` is 0 on SQLite."""

    def __init__(self, asked: argparse.Namespace, stack: processes.Stack) -> None:
        self.asked = asked
        self.postmaster: int = asked.postmaster
        ours = Inbox(settings().database_url)
        peer = beside(ours.url, "peer")
        self.floor = beside(ours.url, "floor") if self.postmaster else None
        variables = {"PEER_DATABASE": peer.url, "PEER_REDIS": settings().redis_url, "PEER_SECRET": SECRET}
        self.candidates = [
            Candidate(name="peer", inbox=peer, receiver=receiver.started(stack, "peer", variables, peer=True)),
            Candidate(name="tidelock", inbox=ours, receiver=receiver.started(stack, "web")),
        ]
        self.names = (f"{number:08x}-0000" for number in range(1, 1 << 32))

    def measured(self) -> dict[str, Any]:
        for one in self.candidates:
            self.received(one, seconds=WARM_SECONDS)
        runs = [run for number in range(self.asked.rounds) for run in self.round(number)]
        fixed = {one.name: self.received(one, rate=RATE) for one in self.candidates}
        return {"runs": runs, "fixed": fixed}

    def round(self, number: int) -> list[dict[str, Any]]:
        """Everybody once."""
        runs = [{"who": one.name, **self.received(one)} for one in self.candidates]
        if self.floor:
            runs += [{"who": f"limit {rows}", **self.limit(self.floor, rows)} for rows in LIMIT_ROWS]
        return [{"round": number, **run} for run in runs]

    def received(self, one: Candidate, **asked: Any) -> dict[str, Any]:
        """One run. RuntimeError where less is stored than was answered."""
        options = {"seconds": self.asked.seconds, "connections": self.asked.connections, **asked}
        web = cpu_seconds(one.receiver.pid)
        said = self._priced(one.inbox, lambda: receiver.sent(one.receiver, next(self.names), **options))
        said["web_cpu"], said["rows"] = cpu_seconds(one.receiver.pid) - web, one.inbox.rows()
        if said["rows"] < said["answered"]:
            raise RuntimeError(f"{one.name} answered {said['answered']} deliveries and stored {said['rows']}")
        return said

    def limit(self, floor: Inbox, rows: int) -> dict[str, Any]:
        """Transactions of so many rows, without HTTP."""
        url = floor.url.replace("postgresql+psycopg:", "postgresql:")
        seconds = str(self.asked.seconds / len(LIMIT_ROWS))
        options = ["--postgres", url, "--rows", str(rows), "--seconds", seconds, "--name", next(self.names)]
        command = measure.module("floor_webhook", *options)
        return self._priced(
            floor,
            lambda: json.loads(
                subprocess.run(command, check=True, stdout=subprocess.PIPE, env=measure.environment()).stdout
            ),
        )

    def _priced(self, store: Inbox, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Do it on an empty inbox; what it says, with what PostgreSQL used meanwhile."""
        store.clear()
        before = cpu_seconds(self.postmaster) if self.postmaster else 0.0
        said = act()
        used = cpu_seconds(self.postmaster) - before if self.postmaster else 0.0
        return {**said, "server_cpu": used}


def main() -> None:
    parser = argparse.ArgumentParser(description="receiving webhooks")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of a run")
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--redis-pid", type=int, default=0)
    parser.add_argument("--postmaster", type=int, default=0)
    asked = parser.parse_args()
    installed(NOWHERE)
    with processes.running(dict(os.environ), Path(asked.folder)) as stack:
        said = Bench(asked, stack).measured()
    print(json.dumps(said))


if __name__ == "__main__":
    main()
