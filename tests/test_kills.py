"""kill -9 of a worker, twenty times in one sync: nothing is lost, and no committed page is asked for again."""

from collections import Counter
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import create_engine, text

from sync.kit.vendor import Fault, Latency, serve
from sync.kit.vendor.demo import demo_vendor
from tests.mirrored import stored, truth
from tests.processes import beat, until, worker
from tests.world import installation

KILLS = 20
STREAMS = ("customers", "projects", "tasks", "orders")
PHASES = ("fetch", "store", "close")


@pytest.fixture
def environ(postgres_url, redis_url, tmp_path):
    """The environment of the processes; a silent worker is dead after a second and a half."""
    return {
        "DATABASE_URL": postgres_url, "REDIS_URL": redis_url,
        "TIDELOCK_HOME": str(tmp_path / "home"), "TIDELOCK_ALLOW_PRIVATE": "127.0.0.0/8",
        "TIDELOCK_LEASE_SECONDS": "1.5", "TIDELOCK_TICK_SECONDS": "0.2",
    }  # fmt: skip


class Assassin:
    """Brings the worker into a phase, sees that it is there, and kills it."""

    def __init__(self, url, vendor, world, start):
        self.engine = create_engine(url)
        self.vendor, self.world, self.start = vendor, world, start
        self.worker = start()
        self.killed: Counter[str] = Counter()

    def strike(self, number):
        phase = PHASES[number % len(PHASES)]
        with getattr(self, f"_{phase}")():
            if number % 5 == 4:
                self.worker.kill()
                self.worker = self.start()
            else:
                until(self.worker.kill_child, "a process of the worker")
        self.killed[phase] += 1

    @contextmanager
    def _fetch(self):
        """A request is open that the vendor doesn't answer."""
        self.vendor.faults.set([Fault(kind="hang", path="/v1/", seconds=2.0)])
        until(lambda: self.vendor.limiter.open, "a request that hangs")
        yield
        self.vendor.faults.set([])
        until(lambda: not self.vendor.limiter.open, "the hang to end")

    def _store(self):
        """The transaction of a page waits for the stream's table."""
        return self._locked("demo_tasks")

    def _close(self):
        """The transaction of a last page waits for the checkpoints."""
        return self._locked("checkpoints")

    @contextmanager
    def _locked(self, table):
        with self.engine.connect() as connection:
            connection.execute(text(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE"))
            until(lambda: self._somebody_waits(table), f"the worker to wait for {table}")
            yield
            connection.rollback()

    def _somebody_waits(self, table):
        waits = "SELECT count(*) FROM pg_locks WHERE relation = to_regclass(:name) AND NOT granted"
        with self.engine.connect() as connection:
            return connection.execute(text(waits), {"name": table}).scalar()


class Witness:
    """Looks at what is committed, and later at what was asked for after that."""

    def __init__(self, vendor, world):
        self.vendor, self.world = vendor, world
        self.looks = []

    def look(self):
        """So many answers were given; so many pages of each list are committed."""
        committed = {path(row): row["pages"] for row in self.world.rows("slices")}
        self.looks.append((len(self.vendor.log.since()), committed))

    def asked_again(self):
        """The requests for pages that had been committed before they were asked for."""
        answered = [(entry.path, tuple(sorted(entry.query.items()))) for entry in self.vendor.log.since()]
        order: dict[str, list[Any]] = {}
        for where, page in answered:
            pages = order.setdefault(where, [])
            if page not in pages:
                pages.append(page)
        return [
            (where, page)
            for seen, committed in self.looks
            for where, page in answered[seen:]
            if page in order[where][: committed.get(where, 0)]
        ]


def path(row):
    """What a slice asks for."""
    if row["list"] == "deletes":
        return "/v1/customers/deleted"
    return f"/v1/projects/{row['partition']}/tasks" if row["partition"] else f"/v1/{row['stream']}"


@pytest.mark.slow
@pytest.mark.servers
def test_kill_9_twenty_times_in_one_sync(environ, postgres_url, tmp_path, monkeypatch):
    """Alternately during fetch, store and close: the tables equal the source by payload and key, and the vendor's
    log shows that no committed page was asked for again."""
    vendor = demo_vendor(seed=7, latency=Latency(fixed_s=0.1))  # or the sync would be over too soon
    with serve(vendor) as server, installation(environ, monkeypatch) as world:
        account = world.connect("demo", {"url": server.url}, {"secret_key": "demo-secret-key"}, parallel=1)
        clock = beat(environ, tmp_path / "beat.log")
        assassin = Assassin(postgres_url, vendor, world, lambda: worker(environ, tmp_path / "worker.log"))
        try:
            world.open(account)
            witness = Witness(vendor, world)
            for number in range(KILLS):
                assassin.strike(number)
                witness.look()
            until(lambda: not world.rows("runs", "state IN ('waiting', 'running')"), "the sync to end", 240)
            witness.look()
        finally:
            assassin.worker.kill()
            clock.kill()
            assassin.engine.dispose()
        assert sum(assassin.killed.values()) == KILLS
        assert set(assassin.killed) == set(PHASES)
        assert {row["state"] for row in world.rows("runs")} == {"done"}
        for stream in STREAMS:
            assert truth(vendor, stream) == stored(world, "demo", stream), stream
        assert witness.asked_again() == []
