"""Applying: events at a fixed rate through our web process, worker and clock: alone, beside a pull, beside many.

    python -m benchmarks.applying --folder PATH --kind fat --rate 200 --seconds 20 [--redis-pid PID] [--postmaster PID]

in the environment that `webhook.environment` makes. A pull is a first load of 200,000 records of another connection of
the same connector, into the same table; when one is over, the next connection's begins. `alone` comes after events of a
few seconds, the others after a rest in which nothing is delivered, so that their first event finds the pulls in the
worker's slots: one of two, then all of them, with the express worker of the Procfile beside. It prints one JSON line.
RuntimeError where an event was not applied, or where its record is not in its last version at the end.
"""

import argparse
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import func, select

from benchmarks import deliveries, measure, processes, receiver
from benchmarks.hooked import NAME
from benchmarks.inbox import connected, installed
from benchmarks.procfs import cpu_seconds
from benchmarks.sender import spread
from models import Delivery, Run
from sync.app import app
from sync.opening import Demand, open_runs
from sync.registry import load
from sync.store import connections, runs
from sync.store.database import now, read, write
from sync.store.mirror import table

PULLED = 200_000  # records of a first load
WARM_SECONDS = 5.0
LONGEST = 60.0  # seconds that the last event may take
SLOTS = 2
REST_SECONDS = 4.0
PHASE = 100_000  # events between the first numbers of two phases
OPEN = ("received", "deferred")
_deliveries: Any = Delivery.__table__
_runs: Any = Run.__table__


class Loads:
    """First loads one after another, each of a new connection; `many` of them at once."""

    many = 0

    def __init__(self, vendor: str) -> None:
        self.vendor = vendor
        self.names = (f"load-{number}" for number in count(1))
        self.accounts: list[int] = []
        self.table = table(NAME, load(NAME).streams_for({})[0])

    def go_on(self) -> None:
        """Begin another one, where one is over."""
        which = (_runs.c.connection_id.in_(self.accounts), _runs.c.state.in_(runs.OPEN))
        with read() as connection:
            under_way = connection.execute(select(func.count()).where(*which)).scalar_one()
        for _ in range(self.many - under_way):
            self._begin()

    def _begin(self) -> None:
        self.accounts.append(connected(next(self.names), self.vendor))
        with write() as connection:
            clock = connection.execute(select(now())).scalar_one()
            demand = Demand(cause="bench", lane="schedule", full=True)
            open_runs(connection, connections.get(connection, self.accounts[-1]), demand, clock)

    def stored(self) -> int:
        """Records so far."""
        with read() as connection:
            which = self.table.c.connection_id.in_(self.accounts)
            return int(connection.execute(select(func.count()).select_from(self.table).where(which)).scalar_one())


class Bench:
    """A running service, and the events that it is sent."""

    def __init__(self, asked: argparse.Namespace, stack: processes.Stack, account: int, loads: Loads) -> None:
        self.asked, self.stack, self.account, self.loads = asked, stack, account, loads
        stack.worker(slots=SLOTS)
        stack.beat()
        self.receiver = receiver.started(stack, "web")
        self.roots = {name: process.pid for name, process in stack.processes.items()}
        servers = {"redis": asked.redis_pid, "database": asked.postmaster}
        self.roots |= {name: pid for name, pid in servers.items() if pid}
        self.phases = count()

    def measured(self) -> dict[str, Any]:
        self.phase(WARM_SECONDS)
        alone = self.phase(self.asked.seconds)
        self._pull(1)
        beside = self.phase(self.asked.seconds)
        self.stack.worker("express", "interactive,schedule")
        self._pull(SLOTS)
        return {"alone": alone, "beside": beside, "among": self.phase(self.asked.seconds)}

    def _pull(self, many: int) -> None:
        """So many pulls at once from now on; returns when they are at work and nothing was delivered for a while."""
        self.loads.many = many
        self._watch(time.monotonic() + REST_SECONDS)

    def phase(self, seconds: float) -> dict[str, Any]:
        """So many seconds of events, until all of them are applied."""
        number = next(self.phases)
        name, first = f"{number:08x}-0000", number * PHASE
        stored, begun = self.loads.stored(), time.monotonic()
        before = {who: cpu_seconds(pid) for who, pid in self.roots.items()}
        options = {"seconds": seconds, "rate": self.asked.rate, "kind": self.asked.kind, "first": first}
        sender = receiver.sending(self.receiver, name, **options)
        self._watch(begun + seconds)
        said = receiver.told(sender)
        pulled = (self.loads.stored() - stored) / (time.monotonic() - begun)
        latencies = self._applied(name, said["answered"])
        used = {who: cpu_seconds(pid) - before[who] for who, pid in self.roots.items()}
        self._checked(first, said["answered"])
        applied = {**spread(latencies), "max": 1000 * latencies[-1]}
        return {"count": len(latencies), "applied": applied, "answered": said, "pulled": pulled, "cpu": used}

    def _watch(self, until: float) -> None:
        """Wait, while the pulls go on."""
        while (left := until - time.monotonic()) > 0:
            self.loads.go_on()
            time.sleep(min(0.5, left))  # the measured time has to pass

    def _applied(self, name: str, answered: int) -> list[float]:
        try:
            return processes.until(lambda: self._latencies(name, answered), "the events to be applied", LONGEST)
        except RuntimeError as error:
            raise RuntimeError(f"{error}; the worker said:\n{self.stack.log('worker')[-2000:]}") from error

    def _latencies(self, name: str, answered: int) -> list[float]:
        """Seconds, sorted, of the phase's events, once all are closed; [] before. RuntimeError where one is lost."""
        columns = (_deliveries.c.state, _deliveries.c.reason, _deliveries.c.received_at, _deliveries.c.closed_at)
        with read() as connection:
            rows = connection.execute(select(*columns).where(_deliveries.c.delivery.startswith(name))).all()
        bad = [row for row in rows if row.state not in {*OPEN, "applied"}]
        if bad or len(rows) < answered:
            why = f"{bad[0].state}: {bad[0].reason}" if bad else ""
            raise RuntimeError(f"{answered} deliveries were answered, {len(rows)} stored, {len(bad)} not applied {why}")
        if any(row.state in OPEN for row in rows):
            return []
        return sorted((row.closed_at - row.received_at).total_seconds() for row in rows)

    def _checked(self, first: int, sent: int) -> None:
        """RuntimeError where a record of a fat event is not in the last version that was sent."""
        wanted = {number % deliveries.RECORDS: number for number in range(first, first + sent)}
        columns = (self.loads.table.c.key, self.loads.table.c.version)
        with read() as connection:
            rows = connection.execute(select(*columns).where(self.loads.table.c.connection_id == self.account))
            found = {row.key: row.version for row in rows}
        fat = self.asked.kind == "fat"
        wrong = [
            index
            for index, number in wanted.items()
            if (version := found.get(deliveries.key(index))) is None or (fat and version != deliveries.version(number))
        ]
        if wrong:
            raise RuntimeError(f"{len(wrong)} records are not as they were last sent, {deliveries.key(wrong[0])} first")


@contextmanager
def vendor() -> Iterator[str]:
    """The bench's source, with single records too."""
    command = measure.module("single", "--records", str(PULLED))
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=measure.environment()) as process:
        assert process.stdout is not None
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description="applying webhooks")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--kind", choices=deliveries.KINDS, default="fat")
    parser.add_argument("--rate", type=float, default=200.0)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--redis-pid", type=int, default=0)
    parser.add_argument("--postmaster", type=int, default=0)
    asked = parser.parse_args()
    app.set_default()
    with vendor() as url:
        account = installed(url)
        with processes.running(dict(os.environ), Path(asked.folder)) as stack:
            said = Bench(asked, stack, account, Loads(url)).measured()
    print(json.dumps(said))


if __name__ == "__main__":
    main()
