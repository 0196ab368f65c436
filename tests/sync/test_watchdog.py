"""The watchdog: a worker that takes nothing ends itself, and no other does."""

import sys

import pytest

from sync import watchdog
from sync.app import create
from sync.kit.vendor import serve
from sync.kit.vendor.demo import demo_vendor
from sync.settings import as_broker
from sync.watchdog import HUNG, Watchdog
from tests.processes import Process, until
from tests.world import installation

LANES = frozenset({"interactive"})

WORKER = """
import sync.watchdog as watchdog
watchdog.LOOK_SECONDS, watchdog.SILENT_SECONDS = 0.2, 1.0
from sync.app import app
app.worker_main(["worker", "-Q", "interactive", "-c", "1", "-n", "one@here", "--without-gossip", "--without-mingle"])
"""


@pytest.fixture
def waiting(world):
    """A due slice that was rung for twice, the last time a while ago."""
    with serve(demo_vendor(scale=0.01)) as server:
        account = world.connect("demo", {"url": server.url}, {"secret_key": "demo-secret-key"})
        world.open(account, select=["orders"])
        unanswered(world)
        yield world


def unanswered(world, rings=2):
    world.execute("UPDATE slices SET rings = :rings, rung_at = due_at, due_at = due_at", rings=rings)
    world.execute("UPDATE slices SET rung_at = '2026-01-01 00:00:00.000000'")


def test_a_worker_that_takes_nothing_hangs(waiting, monkeypatch):
    monkeypatch.setattr(watchdog, "SILENT_SECONDS", 0.0)
    assert Watchdog(2, LANES).look(began=7, busy=1)


def test_a_worker_is_given_time(waiting):
    assert not Watchdog(2, LANES).look(began=7, busy=0)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE slices SET rings = 1",
        "UPDATE slices SET lane = 'backfill'",
        "UPDATE slices SET state = 'running'",
        "UPDATE connections SET state = 'paused'",
    ],
)
def test_there_is_nothing_that_it_should_have_taken(waiting, monkeypatch, statement):
    monkeypatch.setattr(watchdog, "SILENT_SECONDS", 0.0)
    waiting.execute(statement)
    assert not Watchdog(2, LANES).look(began=7, busy=0)


def test_a_full_worker_and_a_working_one_take_what_they_can(waiting, monkeypatch):
    monkeypatch.setattr(watchdog, "SILENT_SECONDS", 3600.0)
    dog = Watchdog(1, LANES)
    dog.look(began=1, busy=1)
    dog.moved_at -= 7200  # so long ago
    assert not dog.look(began=2, busy=0)
    dog.moved_at -= 7200
    assert not dog.look(began=2, busy=1)
    dog.moved_at -= 7200
    assert dog.look(began=2, busy=0)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_real_worker_whose_consumer_went_away_ends_itself(database_url, redis_url, tmp_path, monkeypatch):
    environ = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "TIDELOCK_HOME": str(tmp_path / "home"),
               "TIDELOCK_ALLOW_PRIVATE": "127.0.0.0/8"}  # fmt: skip
    with serve(demo_vendor(scale=0.01)) as server, installation(environ, monkeypatch) as world:
        account = world.connect("demo", {"url": server.url}, {"secret_key": "demo-secret-key"})
        worker = Process([sys.executable, "-c", WORKER], environ, tmp_path / "worker.log")
        try:
            until(lambda: b"ready" in worker.log.read_bytes(), "the worker to be ready")
            until(lambda: told(redis_url), "the worker to give up its queue")
            world.open(account, select=["orders"])
            unanswered(world)
            assert worker.process.wait(60) == HUNG
        finally:
            worker.kill()


def told(redis_url):
    """Ask the worker to take nothing more; whether it says that it will."""
    answers = create(as_broker(redis_url)).control.cancel_consumer("interactive", reply=True, timeout=2)
    return any("ok" in said for answer in answers for said in answer.values())
