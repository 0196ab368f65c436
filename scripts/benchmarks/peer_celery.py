"""The peer Celery: the plain app that one writes first. One task a page, SQLAlchemy, upsert by VALUES, Redis.

    python -m benchmarks.peer_celery --source URL --postgres URL --redis URL [--reset]

It starts a worker, waits until it answers, sends the first page's task, and is told of the end through Redis.
It prints one JSON line: seconds and CPU (worker and driver) from the first send to the last commit, records,
memory of all its processes together.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from typing import Any

import redis
import requests
from celery import Celery
from sqlalchemy import JSON, BigInteger, Boolean, Column, DateTime, Float, MetaData, Table, Text, create_engine
from sqlalchemy.dialects.postgresql import insert

from benchmarks.procfs import PeakMemory, cpu_seconds

TABLE = "peer_celery_records"
QUEUE = "bench-peer-celery"
DONE = "bench-peer-celery-done"
BOOT_SECONDS = 30

app = Celery("peer", broker=os.environ.get("PEER_REDIS", "redis://127.0.0.1:6379/0"))
app.conf.update(task_default_queue=QUEUE, task_ignore_result=True, worker_hijack_root_logger=False)
engine = create_engine(os.environ.get("PEER_POSTGRES", "postgresql+psycopg://"), pool_size=2)
records = Table(
    TABLE,
    MetaData(),
    Column("id", Text, primary_key=True),
    Column("updated_at", DateTime(timezone=True)),
    Column("created_at", DateTime(timezone=True)),
    Column("name", Text),
    Column("email", Text),
    Column("status", Text),
    Column("currency", Text),
    Column("amount", BigInteger),
    Column("tax_rate", Float),
    Column("paid", Boolean),
    Column("payload", JSON),
)


def as_row(record: dict[str, Any]) -> dict[str, Any]:
    """The values of one record's row."""
    plain = {column.name: record.get(column.name) for column in records.columns if column.name != "payload"}
    return {**plain, "payload": record}


# celery ships no types
@app.task(name="peer.sync_page", autoretry_for=(requests.RequestException,), retry_backoff=True)  # type: ignore[untyped-decorator]
def sync_page(source: str, cursor: str | None, seen: int) -> None:
    """Fetch and upsert one page, then send the task of the next."""
    params = {"limit": "100", **({"cursor": cursor} if cursor else {})}
    reply = requests.get(f"{source}/records", params=params, timeout=30)
    reply.raise_for_status()
    page = reply.json()
    statement = insert(records).values([as_row(record) for record in page["data"]])
    replaced = {column.name: statement.excluded[column.name] for column in records.columns if column.name != "id"}
    with engine.begin() as connection:
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_=replaced))
    seen += len(page["data"])
    if page["next_cursor"]:
        sync_page.delay(source, page["next_cursor"], seen)
    else:
        redis.Redis.from_url(app.conf.broker_url).rpush(DONE, seen)


def start_worker() -> subprocess.Popen[bytes]:
    """A worker with two processes that answers pings. Raises RuntimeError when it does not in time."""
    command = [sys.executable, "-m", "celery", "-A", "benchmarks.peer_celery", "worker", "--concurrency=2"]
    worker = subprocess.Popen([*command, "--loglevel=ERROR", "--queues", QUEUE, "--without-mingle"])
    deadline = time.monotonic() + BOOT_SECONDS
    while not app.control.ping(timeout=0.5):
        if worker.poll() is not None or time.monotonic() > deadline:
            worker.kill()
            raise RuntimeError(f"the Celery worker did not answer in {BOOT_SECONDS} s")
    return worker


def sync(source: str) -> dict[str, float]:
    """One load, from the first task sent to the last page committed."""
    broker = redis.Redis.from_url(app.conf.broker_url, socket_timeout=None)
    try:
        broker.delete(DONE, QUEUE)
    except redis.ConnectionError as error:
        raise SystemExit(f"peer not available: no Redis at {app.conf.broker_url}: {error}") from error
    worker = start_worker()
    try:
        with PeakMemory(os.getpid()) as memory:
            cpu, wall = cpu_seconds(os.getpid()), time.perf_counter()
            sync_page.delay(source, None, 0)
            _, count = broker.blpop([DONE])  # type: ignore[misc] # redis types one client for both its kinds
            seconds, used = time.perf_counter() - wall, cpu_seconds(os.getpid()) - cpu
    finally:
        worker.terminate()
        worker.wait()
    return {"records": int(count), "seconds": seconds, "cpu_seconds": used, "peak_rss_kib": memory.together}


def main() -> None:
    parser = argparse.ArgumentParser(description="a plain Celery and SQLAlchemy app as a peer")
    parser.add_argument("--source", required=True)
    parser.add_argument("--postgres", required=True)
    parser.add_argument("--redis", required=True)
    parser.add_argument("--reset", action="store_true")
    asked = parser.parse_args()
    url = asked.postgres.replace("postgresql:", "postgresql+psycopg:", 1)
    configured = {"PEER_REDIS": asked.redis, "PEER_POSTGRES": url}
    if any(os.environ.get(name) != value for name, value in configured.items()):
        # The worker imports this module too and reads the same two names: set before anything is made.
        os.environ.update(configured)
        os.execv(sys.executable, [sys.executable, "-m", "benchmarks.peer_celery", *sys.argv[1:]])
    if asked.reset:
        records.metadata.drop_all(engine)
    records.metadata.create_all(engine)
    print(json.dumps(sync(asked.source)))


if __name__ == "__main__":
    main()
