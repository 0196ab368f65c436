"""Webhooks from end to end, with real processes: what was answered is applied, once, whatever dies under way.

The vendor is the demo; its deliveries come signed, doubled, shuffled, late, or not at all.
"""

import base64
import hashlib
import hmac
import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import pytest

from sync.embedded import Embedded, start_redis
from sync.kit.vendor import Latency, Limit, Posting, Vendor, serve
from sync.kit.vendor.demo import demo_vendor
from sync.kit.vendor.post import Postman
from sync.store import connections, inboxes
from sync.store.database import now, write
from tests.mirrored import decoded, stored, truth
from tests.processes import Process, beat, free_port, until, web, worker
from tests.world import World, installation

pytestmark = [pytest.mark.servers, pytest.mark.slow]

SECRET = "whsec_" + base64.b64encode(b"k" * 24).decode()
KEY = "demo-secret-key"
STREAMS = ("customers", "projects", "tasks", "orders")
OPEN = "state IN ('received', 'deferred')"


@dataclass
class House:
    """An installation with its processes; the connection `acme` takes deliveries."""

    world: World
    environ: dict[str, str]
    folder: Path
    port: int
    account: int = 0
    running: dict[str, Process] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/webhooks/acme"

    def start(self, *names: str) -> None:
        for name in names:
            self.running[name] = self._starts()[name]()

    def _starts(self) -> dict[str, Callable[[], Process]]:
        logs = self.folder
        return {
            "web": lambda: web(self.environ, logs / "web.log", self.port),
            "worker": lambda: worker(self.environ, logs / "worker.log", slots=2),
            "beat": lambda: beat(self.environ, logs / "beat.log"),
        }

    def tend(self) -> bool:
        """Start again what ended, as a supervisor does: Celery ends itself at some of the broker's restarts."""
        for name in [name for name, process in self.running.items() if process.process.poll() is not None]:
            self.start(name)
        return True

    def stop(self) -> None:
        for process in self.running.values():
            process.kill()

    def connect(self, vendor_url: str) -> None:
        self.account = self.world.connect("demo", {"url": vendor_url}, {"secret_key": KEY}, name="acme")
        with write() as connection:
            inboxes.ensure(connection, self.account)
            inboxes.set_secret(connection, self.account, "webhook_secret", SECRET, None)

    def ready(self) -> None:
        """The web process answers."""
        until(lambda: status(self.port, "/livez") == 200, "the web process to answer")

    def drained(self, seconds: float = 120) -> None:
        until(lambda: self.tend() and not self.world.rows("deliveries", OPEN), "the inbox to be empty", seconds)


def status(port: int, path: str) -> int:
    """Of a GET; 0 where nobody answers."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        line.request("GET", path)
        return line.getresponse().status
    except (OSError, http.client.HTTPException):
        return 0
    finally:
        line.close()


@contextmanager
def housed(database: str, redis: str, folder: Path, patch: pytest.MonkeyPatch) -> Iterator[House]:
    port = free_port()
    environ = {
        "DATABASE_URL": database, "REDIS_URL": redis, "TIDELOCK_HOME": str(folder / "home"),
        "TIDELOCK_ALLOW_PRIVATE": "127.0.0.0/8", "TIDELOCK_LEASE_SECONDS": "1.5", "TIDELOCK_TICK_SECONDS": "0.2",
        "TIDELOCK_PUBLIC_URL": f"http://127.0.0.1:{port}",
    }  # fmt: skip
    with installation(environ, patch) as world:
        house = House(world, environ, folder, port)
        try:
            yield house
        finally:
            house.stop()


@pytest.fixture
def house(postgres_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[House]:
    with housed(postgres_url, redis_url, tmp_path, monkeypatch) as made:
        yield made


# kill -9


class Senders:
    """Threads that deliver new orders as fast as they are answered, until told to stop; nothing is sent again."""

    def __init__(self, port: int, many: int = 4) -> None:
        self.port = port
        self.answered: dict[str, dict[str, Any]] = {}
        self.refused = 0
        self._numbers = iter(range(1, 10_000_000))
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._send, daemon=True) for _ in range(many)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _send(self) -> None:
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        while not self._stopped.wait(0.005):
            with self._lock:
                number = next(self._numbers)
            order = {"id": f"new_{number:06d}", "seq": 1_000_000 + number, "status": "open", "amount_cents": number}
            delivered = self._delivered(line, f"msg_{number}", order)
            with self._lock:
                if delivered:
                    self.answered[f"msg_{number}"] = order
                else:
                    self.refused += 1
        line.close()

    def _delivered(self, line: http.client.HTTPConnection, id: str, order: dict[str, Any]) -> bool:
        """Twice, as vendors do when they are in doubt; whether one of the two was answered with a 2xx."""
        event = {"type": "order.created", "timestamp": "2026-03-01T00:00:00Z", "data": order}
        statuses = [posted(line, id, json.dumps(event).encode()) for _ in range(2)]
        return 202 in statuses


def posted(line: http.client.HTTPConnection, id: str, body: bytes) -> int:
    """The status of a signed delivery; 0 where nobody answered."""
    moment = str(int(time.time()))
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    signature = base64.b64encode(hmac.digest(key, f"{id}.{moment}.".encode() + body, hashlib.sha256)).decode()
    headers = {"webhook-id": id, "webhook-timestamp": moment, "webhook-signature": f"v1,{signature}"}
    try:
        line.request("POST", "/webhooks/acme", body, {**headers, "Content-Type": "application/json"})
        answer = line.getresponse()
        answer.read()
    except (OSError, http.client.HTTPException):
        line.close()
        return 0
    return answer.status


class Broker:
    """A Redis-protocol server of the test's own, which comes back at the same address after it was killed."""

    def __init__(self, folder: Path) -> None:
        self.server: Embedded = start_redis(folder)

    def kill(self) -> None:
        assert self.server.process is not None
        self.server.process.kill()
        self.server.process.wait()
        assert self.server.tend()


def test_kill_9_of_web_worker_and_broker_under_load(postgres_url, tmp_path, monkeypatch):
    """Twenty rounds, one of the three by chance: every answered delivery is applied, and none has an effect twice."""
    chance = random.Random(11)
    killed = {"web": 0, "worker": 0, "broker": 0}
    broker = Broker(tmp_path / "redis")
    with (
        broker.server,
        serve(demo_vendor(scale=0.001)) as server,
        housed(postgres_url, broker.server.redis_url, tmp_path, monkeypatch) as house,
    ):
        house.connect(server.url)
        house.start("web", "worker", "beat")
        house.ready()
        with Senders(house.port) as senders:
            for number in range(20):
                many = len(senders.answered)
                until(lambda: house.tend() and len(senders.answered) >= many + 25, "deliveries to be answered")  # noqa: B023
                victim = chance.choice([*killed]) if number > 2 else [*killed][number]
                if victim == "broker":
                    broker.kill()
                else:
                    house.running[victim].kill()
                house.tend()
                killed[victim] += 1
            many = len(senders.answered)
            until(lambda: house.tend() and len(senders.answered) >= many + 25, "the last round to be survived")
        house.drained()
        rows = house.world.rows("deliveries")
        orders = {row["key"]: decoded(row["payload"]) for row in house.world.rows("demo_orders")}
    assert sum(killed.values()) == 20
    assert min(killed.values()) >= 3
    assert senders.refused > 0  # somebody was away, or nothing was killed
    state = {row["delivery"]: row["state"] for row in rows}
    assert len(state) == len(rows)
    assert {id: state.get(id) for id in senders.answered} == dict.fromkeys(senders.answered, "applied")
    assert {order["id"]: orders.get(order["id"]) for order in senders.answered.values()} == {
        order["id"]: order for order in senders.answered.values()
    }
    effects = [decoded(row["counts"]) for row in rows]
    assert sum(one.get("inserted", 0) for one in effects) == len(rows) == len(orders)
    assert sum(one.get("updated", 0) for one in effects) == 0


# doubled, shuffled, late, dropped


def subscribe(house: House) -> None:
    """As somebody would at the vendor's."""
    line = http.client.HTTPConnection(house.environ["VENDOR"], timeout=10)
    body = json.dumps({"url": house.url, "events": [], "secret": SECRET})
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    line.request("POST", "/v1/webhooks", body, headers)
    assert line.getresponse().status == 201
    line.close()


def postman(vendor: Vendor) -> Postman:
    assert vendor.postman is not None
    return vendor.postman


def live(vendor: Vendor, times: int, seed: int) -> None:
    """So many edits, in all streams, most of them of few records."""
    chance = random.Random(seed)
    living = {stream: sorted(truth(vendor, stream), key=str) for stream in ("customers", "tasks", "orders")}
    for number in range(times):
        stream = chance.choice([*living])
        keys = living[stream]
        key = chance.choice(keys[:20] if number % 2 else keys)
        at = int(key) if stream == "tasks" else key
        act = chance.random()
        if act < 0.02 and len(keys) > 40:
            keys.remove(key)
            vendor.delete(stream, at)
        else:
            vendor.update(stream, at, EDITS[stream](number))


EDITS: dict[str, Callable[[int], dict[str, Any]]] = {
    "customers": lambda number: {"name": f"Name {number}"},
    "tasks": lambda number: {"title": f"Title {number}"},
    "orders": lambda number: {"amount_cents": number},
}


@contextmanager
def living(house: House, posting: Posting, scale: float) -> Iterator[Vendor]:
    """A vendor whose webhooks reach the house, synced once; its processes run."""
    vendor = demo_vendor(seed=3, scale=scale, limit=Limit(rate=None), latency=Latency(), webhooks=posting)
    with serve(vendor) as server:
        house.environ["VENDOR"] = server.url.removeprefix("http://")
        house.connect(server.url)
        house.start("web", "worker", "beat")
        house.ready()
        house.world.open(house.account)
        until(lambda: not house.world.rows("runs", "state IN ('waiting', 'running')"), "the first sync")
        assert differing(house, vendor) == []
        subscribe(house)
        yield vendor
        vendor.close()


def test_ten_thousand_deliveries_doubled_shuffled_and_late_beside_a_scheduled_pull(house):
    """Every delivery comes twice, in any order, 5 % of them late, while all streams are pulled again and again."""
    posting = Posting(duplicates=1.0, spread_s=1.0, late=0.05, late_s=3.0, parallel=8)
    with living(house, posting, 0.02) as vendor:
        with write() as connection:
            due = {"rule": "every 2 seconds", "zone": "UTC", "jitter": 0.0, "next_due_at": now()}
            connections.set_schedule(connection, house.account, "", **due)
        live(vendor, 10_000, seed=5)
        post = postman(vendor)
        until(lambda: post.settle(1.0), "the vendor's post to be delivered", 300)
        pulled = len(house.world.rows("runs", "cause = 'schedule' AND state = 'done'"))
        with write() as connection:
            connections.drop_schedules(connection, house.account, [""])
        house.drained(300)
        until(lambda: not house.world.rows("runs", "state IN ('waiting', 'running')"), "the last run")
        rows = house.world.rows("deliveries")
        stats = post.stats()
        assert {row["state"] for row in rows} == {"applied"}
        assert len(rows) >= 10_000
        assert stats["delivered"] >= 2 * len(rows)
        assert pulled >= 3
        assert differing(house, vendor) == []


def differing(house: House, vendor: Vendor) -> list[Any]:
    """(stream, key, what we hold, what there is) of every record that isn't equal."""
    found: list[Any] = []
    for stream in STREAMS:
        held, there = stored(house.world, "demo", stream), truth(vendor, stream)
        wrong = [key for key in held.keys() | there.keys() if held.get(key) != there.get(key)]
        found += [(stream, key, held.get(key), there.get(key)) for key in wrong]
    return found


def test_what_a_fifth_of_the_deliveries_would_have_told_is_made_up_for_by_one_reconcile(house):
    """Webhooks are hints; the pull is the truth."""
    with living(house, Posting(dropped=0.2, parallel=4), 0.02) as vendor:
        live(vendor, 1_000, seed=6)
        post = postman(vendor)
        until(lambda: post.settle(1.0), "the vendor's post to be delivered")
        house.drained()
        assert post.stats()["dropped"] > 100
        assert differing(house, vendor)
        house.world.open(house.account)
        until(lambda: not house.world.rows("runs", "state IN ('waiting', 'running')"), "the reconcile")
        assert differing(house, vendor) == []
