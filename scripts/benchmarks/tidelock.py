"""Tidelock as a candidate: one sync of the bench's source by the whole stack.

    python -m benchmarks.tidelock --source URL --warm URL --folder PATH
        [--reset] [--streams records] [--slots 1] [--others 0]

in the environment that `processes.environment` makes. It starts a worker and beat, waits until they are ready and have
synced the few records of another source (a worker lives for days), opens full runs as `tidelock run --full` does, and
waits until their rows say that they are closed. It prints one JSON line: seconds from `opened_at` to `closed_at`, CPU
of all its processes in between, records, and the memory of the largest process of the worker's pool.
"""

import argparse
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, inspect, select, text

from benchmarks import processes
from benchmarks.procfs import PeakMemory, cpu_seconds
from models import Base, Run
from models import Connection as Account
from sync.app import app
from sync.opening import Demand, open_runs
from sync.pull import send
from sync.registry import load
from sync.settings import settings
from sync.store import connections, dispatch, migrations
from sync.store.database import engine, now, read, write
from sync.store.mirror import table
from sync.tables import prepare

CONNECTOR = CONNECTION = "bench"
LONGEST = 3600.0  # seconds that a sync may take
_runs = Run.__table__


def made_anew(source: str, warm: str, others: int) -> None:
    """An empty, migrated database with the bench's connection, and so many others that are never due."""
    _dropped()
    engine().dispose()
    migrations.upgrade()
    with write() as connection:
        connect(connection, CONNECTION, {"url": source})
        connect(connection, "warming", {"url": warm})
        rows = [connect(connection, f"other-{n}", {"url": source}) for n in range(others)]
        schedule(connection, rows, "every 7 days")
        account = connections.by_name(connection, CONNECTION)
    prepare(account)


def _dropped() -> None:
    mirrors = [table(CONNECTOR, stream).name for stream in load(CONNECTOR).streams_for({})]
    with write() as connection:
        known = inspect(connection).get_table_names()
        for name in (*mirrors, "alembic_version"):
            if name in known:
                connection.execute(text(f"DROP TABLE {name}"))
        Base.metadata.drop_all(connection)


def connect(connection: Connection, name: str, config: dict[str, Any], **values: Any) -> int:
    """A new connection of the bench; its id."""
    row = {
        "name": name, "connector": CONNECTOR, "config": config, "state": "active", "parallel": 8,
        "owner": "the bench", "created_at": now(), "updated_at": now(), **values,
    }  # fmt: skip
    return int(connection.execute(insert(Account).values(**row).returning(Account.id)).scalar_one())


def schedule(connection: Connection, accounts: Iterable[int], rule: str, due: float = 86_400.0) -> None:
    """A schedule for each; the first time in so many seconds."""
    for account in accounts:
        connections.set_schedule(connection, account, "", rule=rule, zone="UTC", jitter=0.0, next_due_at=now(due))


def opened(name: str, streams: list[str]) -> list[int]:
    """Full runs of a connection, opened and rung for as a person's are."""
    with write() as connection:
        account = connections.by_name(connection, name)
        demand = Demand(cause="bench", lane="interactive", select=streams, full=True)
        found = open_runs(connection, account, demand, connection.execute(select(now())).scalar_one())
        rung = dispatch.ring(connection, settings().in_flight)
    app.set_default()  # else messages would go to the broker that Celery assumes
    send(rung)
    return found


def closed(wanted: list[int]) -> list[RowMapping]:
    """The runs, once all of them are closed; [] before that."""
    with read() as connection:
        rows = list(connection.execute(select(_runs).where(_runs.c.id.in_(wanted))).mappings())
    return rows if all(row["closed_at"] for row in rows) else []


def synced(name: str, streams: list[str]) -> dict[str, Any]:
    """Sync them and tell what it took; RuntimeError where a run failed."""
    cpu = cpu_seconds(os.getpid())
    runs = opened(name, streams)
    rows = processes.until(lambda: closed(runs), "the runs to close", LONGEST, pause=0.2)  # looking costs, too
    used = cpu_seconds(os.getpid()) - cpu
    failed = [f"{row['stream']} is {row['state']}: {row['reason']}" for row in rows if row["state"] != "done"]
    if failed:
        raise RuntimeError("; ".join(failed))
    last = max(rows, key=lambda row: row["id"])
    counts = dict(last["counts"])
    took = max(row["closed_at"] for row in rows) - min(row["opened_at"] for row in rows)
    records = sum(counts.get(name, 0) for name in ("inserted", "updated", "unchanged"))
    return {"records": records, "seconds": took.total_seconds(), "cpu_seconds": used, "counts": counts}


def main() -> None:
    parser = argparse.ArgumentParser(description="Tidelock as a candidate")
    parser.add_argument("--source", required=True)
    parser.add_argument("--warm", required=True, help="the small source that is synced first")
    parser.add_argument("--folder", required=True, help="of its processes' output")
    parser.add_argument("--streams", default="records", help="which of the bench's connector, in order")
    parser.add_argument("--slots", type=int, default=1, help="processes of the worker")
    parser.add_argument("--others", type=int, default=0, help="connections beside it that are scheduled, and not due")
    parser.add_argument("--reset", action="store_true", help="make the database anew")
    asked = parser.parse_args()
    streams = asked.streams.split(",")
    if asked.reset:
        made_anew(asked.source, asked.warm, asked.others)
    with processes.running(dict(os.environ), Path(asked.folder)) as stack:
        worker = stack.worker(slots=asked.slots)
        stack.beat()
        synced("warming", streams)
        with PeakMemory(worker.pid, itself=False) as memory:
            said = synced(CONNECTION, streams)
    print(json.dumps({**said, "worker_kib": memory.largest}))


if __name__ == "__main__":
    main()
