"""A crowd: many connections of the demo vendor, each due every period, on one worker and one clock.

    python -m benchmarks.crowd --folder PATH --vendor URL --connections 1000 --period 60 --periods 5 [--greedy URL]

in the environment that `processes.environment` makes. With `--greedy`, one more connection begins with a first load of
that source, and then has a backfill of all of it under way, again and again, until the end. It prints one JSON line:
seconds between two starts of a connection, runs, what they cost and how long the ticks took.
"""

import argparse
import json
import os
import random
import statistics
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

from sqlalchemy import case, func, select, text

from benchmarks import processes, tidelock
from benchmarks.procfs import cpu_seconds
from benchmarks.ticks import TICKS
from models import Run, Schedule, Slice
from sync.app import app
from sync.opening import Demand, open_runs
from sync.registry import load
from sync.store import connections, credentials, runs
from sync.store.database import now, read, write
from sync.store.mirror import table
from sync.tables import prepare

GREEDY = "greedy"
SHARES = ["parts", "shares"]
NOWHERE = "http://127.0.0.1:9"
WARMING = 1.0  # periods before the measured ones: the first loads of all
_slices = Slice.__table__
_runs = Run.__table__
_schedules = Schedule.__table__


def emptied() -> None:
    """Nothing of a crowd before."""
    tidelock.made_anew(NOWHERE, NOWHERE, 0)
    with write() as connection:
        for stream in load("demo").streams_for({}):
            connection.execute(text(f"DROP TABLE IF EXISTS {table('demo', stream).name}"))


def connected(url: str, asked: argparse.Namespace) -> None:
    """So many connections, an account of the vendor each, due at random within the first period."""
    with write() as connection:
        rows = [_connect(connection, url, number, asked.streams) for number in range(asked.connections)]
        for account in rows:
            connections.set_schedule(
                connection, account, "", rule=f"every {asked.period} seconds", zone="UTC", jitter=0.0,
                next_due_at=now(random.uniform(0, asked.period)),
            )  # fmt: skip
        first = connections.get(connection, rows[0])
    prepare(first)


def _connect(connection: Any, url: str, number: int, streams: str) -> int:
    secret = credentials.create(connection, "demo", {"secret_key": f"demo-secret-key-{number}"})
    return tidelock.connect(
        connection, f"demo-{number}", {"url": f"{url}/accounts/{number}"}, connector="demo", credential_id=secret,
        streams=streams.split(",") if streams else None,
    )  # fmt: skip


class Greed:
    """One connection that always wants more."""

    def __init__(self, url: str) -> None:
        with write() as connection:
            self.account = tidelock.connect(connection, GREEDY, {"url": url})
            row = connections.get(connection, self.account)
        prepare(row)
        self.demand(Demand(cause="bench", lane="schedule", select=SHARES, full=True))
        self.rounds = 1

    def demand(self, demand: Demand) -> None:
        with write() as connection:
            clock = connection.execute(select(now())).scalar_one()
            open_runs(connection, connections.get(connection, self.account), demand, clock)

    def go_on(self) -> None:
        """Begin again, where the last one is over."""
        with read() as connection:
            which = (_runs.c.connection_id == self.account, _runs.c.state.in_(runs.OPEN))
            under_way = connection.execute(select(func.count()).where(*which)).scalar_one()
        if not under_way:
            self.rounds += 1
            self.demand(Demand(cause="bench", lane="backfill", select=SHARES, full=True))


def watched(seconds: float, greed: Greed | None) -> None:
    """Wait, while the greedy one goes on."""
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        if greed:
            greed.go_on()
        time.sleep(min(1.0, max(0.0, ends - time.monotonic())))  # the measured time has to pass


def clock() -> datetime:
    with read() as connection:
        moment: datetime = connection.execute(select(now())).scalar_one()
    return moment


def starts(since: datetime, until: datetime, crowd: int) -> dict[str, Any]:
    """Seconds between two starts of a connection's rows, or between a start and the begin or end of the measured time.

    Only slices that were done count.
    """
    with read() as connection:
        rows = connection.execute(
            select(_slices.c.connection_id, _slices.c.stream, _slices.c.began_at)
            .join(_runs, _runs.c.id == _slices.c.run_id)
            .where(_runs.c.cause == "schedule", _slices.c.list == "rows", _slices.c.state == "done")
            .order_by(_slices.c.began_at)
        ).all()
    moments: dict[tuple[int, str], list[datetime]] = {}
    for row in rows:
        moments.setdefault((row.connection_id, row.stream), []).append(row.began_at)
    served = {account for account, _ in moments}
    gaps = sorted(gap for one in moments.values() for gap in _gaps(one, since, until))
    return {"served": len(served), "gaps": _spread(gaps), "never": crowd - len(served)}


def _gaps(moments: Sequence[datetime], since: datetime, until: datetime) -> list[float]:
    before = [moment for moment in moments if moment < since][-1:] or [since]
    inside = [moment for moment in moments if since <= moment <= until]
    return [(after - earlier).total_seconds() for earlier, after in pairwise([*before, *inside, until])]


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Of sorted values."""
    if not values:
        return {"p50": 0.0, "p99": 0.0, "max": 0.0}
    return {"p50": statistics.median(values), "p99": values[int(0.99 * (len(values) - 1))], "max": values[-1]}


def counted(since: datetime, until: datetime) -> dict[str, int]:
    """Scheduled runs that were closed in the measured time."""
    inside = (_runs.c.cause == "schedule", _runs.c.closed_at >= since, _runs.c.closed_at <= until)
    failed = func.sum(case((_runs.c.state == "done", 0), else_=1))
    with read() as connection:
        runs_, bad = connection.execute(select(func.count(), func.coalesce(failed, 0)).where(*inside)).one()
    return {"runs": int(runs_), "failed": int(bad)}


def skipped(first: Mapping[int, datetime], opened: Mapping[int, int], period: float) -> int:
    """Due times that were passed over, since the run before was still open, or were caught up by one run."""
    with read() as connection:
        last = {row.connection_id: row.next_due_at for row in connection.execute(select(_schedules))}
    passed = {one: round((last[one] - first[one]).total_seconds() / period) for one in first}
    return sum(max(0, passed[one] - opened.get(one, 0)) for one in first)


def opened() -> dict[int, int]:
    """Scheduled runs of rows so far, of a connection's busiest stream."""
    grouped = (
        select(_runs.c.connection_id, _runs.c.stream, func.count().label("found"))
        .where(_runs.c.cause == "schedule", _runs.c.list == "rows")
        .group_by(_runs.c.connection_id, _runs.c.stream)
    )
    found: dict[int, int] = {}
    with read() as connection:
        for row in connection.execute(grouped):
            found[row.connection_id] = max(found.get(row.connection_id, 0), row.found)
    return found


def due() -> dict[int, datetime]:
    with read() as connection:
        return {row.connection_id: row.next_due_at for row in connection.execute(select(_schedules))}


def ticks(folder: Path) -> dict[str, float]:
    """Seconds that the clock's ticks took, without those before the measured time."""
    taken = sorted(float(line) for line in (folder / TICKS).read_text().split())
    return {**_spread(taken), "count": len(taken), "total": sum(taken)}


def measured(asked: argparse.Namespace) -> dict[str, Any]:
    """Everything, once the first loads are over."""
    folder = Path(asked.folder)
    emptied()
    with processes.running(dict(os.environ), folder) as stack:
        stack.worker(slots=asked.slots)
        connected(asked.vendor, asked)
        stack.start("beat", [*processes.CELERY, "beat", "-S", "benchmarks.ticks:Timed"])
        greed = Greed(asked.greedy) if asked.greedy else None
        watched(WARMING * asked.period, greed)
        roots = {name: process.pid for name, process in stack.processes.items()} | {"redis": asked.redis_pid}
        roots |= {"database": asked.postmaster} if asked.postmaster else {}
        (folder / TICKS).write_text("")
        before, since = {name: cpu_seconds(pid) for name, pid in roots.items()}, clock()
        first, had = due(), opened()
        watched(asked.periods * asked.period, greed)
        until, used = clock(), {name: cpu_seconds(pid) - before[name] for name, pid in roots.items()}
        told = ticks(folder)
    crowd = {one: count - had.get(one, 0) for one, count in opened().items()}
    return {
        **starts(since, until, asked.connections),
        **counted(since, until),
        "skipped": skipped(first, crowd, asked.period),
        "cpu": used,
        "ticks": told,
        "greedy": _greedy(since, greed),
    }


def _greedy(since: datetime, greed: Greed | None) -> dict[str, int]:
    """How often the greedy one began, and the pages that it got."""
    if greed is None:
        return {}
    with read() as connection:
        pages = connection.execute(
            select(func.sum(_slices.c.pages)).where(
                _slices.c.connection_id == greed.account, _slices.c.began_at >= since
            )
        ).scalar_one()
    return {"rounds": greed.rounds, "pages": int(pages or 0)}


def main() -> None:
    parser = argparse.ArgumentParser(description="fairness between many connections")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--vendor", required=True)
    parser.add_argument("--greedy", default="")
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--streams", default="customers")
    parser.add_argument("--period", type=int, required=True)
    parser.add_argument("--periods", type=float, required=True)
    parser.add_argument("--slots", type=int, required=True)
    parser.add_argument("--redis-pid", type=int, required=True)
    parser.add_argument("--postmaster", type=int, default=0)
    app.set_default()
    print(json.dumps(measured(parser.parse_args())))


if __name__ == "__main__":
    main()
