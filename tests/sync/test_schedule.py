"""The tick: each due time is served once, whoever ticks, and what is wrong with one connection stops no other."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from kombu.exceptions import OperationalError
from sqlalchemy import func, select
from structlog.testing import CapturingLogger

from connectors import Connector
from sync import registry, schedule
from sync.app import app
from sync.kit.vendor import serve
from sync.kit.vendor.demo import demo_vendor
from sync.log import Complaints
from sync.settings import settings
from sync.states import SLICE
from sync.store import connections, leases, schema
from sync.store.database import now, read, write
from tests.traps.rig import stream
from tests.world import installed, planted

KEY = {"secret_key": "demo-secret-key"}
HOUR = 3600


@pytest.fixture
def vendor():
    with serve(demo_vendor(seed=3, scale=0.02)) as server:
        yield server


def connect(world, url, name="demo", rule="every 1 hour", late=1.0, stream="", **values):
    """A connection that is due since `late` seconds; its id."""
    account = world.connect("demo", {"url": url}, KEY, name=name, streams=["customers", "orders"], **values)
    due(world, account, rule, late, stream)
    return account


def due(world, account, rule="every 1 hour", late=1.0, stream=""):
    with write() as connection:
        at = connection.execute(select(now(-late))).scalar_one()
        connections.set_schedule(connection, account, stream, rule=rule, zone="UTC", jitter=0, next_due_at=at)


def clock():
    with read() as connection:
        return connection.execute(select(now())).scalar_one()


def moment(value):
    return value if isinstance(value, datetime) else datetime.fromisoformat(value).replace(tzinfo=UTC)


def opened(world, where="1 = 1"):
    return [(row["stream"], row["list"]) for row in world.rows("runs", where)]


LISTS = [("customers", "rows"), ("customers", "deletes"), ("orders", "rows")]


def test_what_is_due_becomes_runs_and_messages(world, vendor):
    """... once: the schedule moves on in the same transaction, keeping its beat."""
    connect(world, vendor.url)
    (before,) = world.rows("schedules")
    schedule.tick()
    assert opened(world) == LISTS
    assert len(world.sent) == 3
    (after,) = world.rows("schedules")
    assert after["last_due_at"] == before["next_due_at"]
    assert moment(after["next_due_at"]) == moment(before["next_due_at"]) + timedelta(hours=1)
    schedule.tick()
    assert len(opened(world)) == 3


def test_a_slow_sync_never_overlaps_with_itself(world, vendor):
    """What is still open is skipped, and its due time passes."""
    account = connect(world, vendor.url)
    schedule.tick()
    due(world, account)
    schedule.tick()
    assert opened(world) == LISTS
    assert moment(world.rows("schedules")[0]["next_due_at"]) > clock()


def test_an_outage_is_caught_up_once(world, vendor):
    connect(world, vendor.url, late=100 * HOUR + 60)
    schedule.tick()
    world.settle()
    schedule.tick()
    assert opened(world) == LISTS
    assert moment(world.rows("schedules")[0]["next_due_at"]) > clock()


@pytest.mark.parametrize(
    "pause",
    [
        "UPDATE connections SET state = 'paused'",
        "UPDATE connections SET state = 'failing'",
        "UPDATE schedules SET next_due_at = NULL",
    ],
)
def test_what_is_paused_is_not_due(world, vendor, pause):
    """Neither by its connection's state nor by its own; resumed, it is caught up."""
    connect(world, vendor.url)
    world.execute(pause)
    schedule.tick()
    assert opened(world) == []


def test_a_stream_with_a_schedule_of_its_own_keeps_to_it(sqlite_world, vendor):
    account = connect(sqlite_world, vendor.url)
    due(sqlite_world, account, rule="0 3 * * *", stream="orders", late=-HOUR)
    schedule.tick()
    assert opened(sqlite_world) == LISTS[:2]
    due(sqlite_world, account, stream="orders")
    schedule.tick()
    assert opened(sqlite_world) == LISTS


@pytest.mark.servers
def test_two_ticks_at_once_open_one_run(vendor, request, monkeypatch, redis_url, postgres_url, tmp_path):
    """Any number of clocks may run: twelve connections due at once are served by one of them each."""
    with installed(postgres_url, tmp_path / "home", redis_url, monkeypatch) as world:
        for number in range(12):
            connect(world, vendor.url, f"demo{number}")
        with ThreadPoolExecutor(4) as ticks:
            list(ticks.map(lambda _: schedule.tick(), range(8)))
        assert len(opened(world)) == 12 * len(LISTS)
        assert all(row["last_due_at"] for row in world.rows("schedules"))
        assert all(row["rings"] == 1 for row in world.rows("slices"))


def test_a_silent_workers_slices_are_taken_back(world, vendor):
    """Ready again, and rung in the same tick; after the last attempt dead, which closes the run."""
    connect(world, vendor.url)
    schedule.tick()
    world.sent.clear()
    silent = "UPDATE slices SET state = 'running', lease_until = '2020-01-01 00:00:00.000000', attempts = id % 2 * "
    world.execute(f"{silent} {SLICE.max_attempts - 1}")
    schedule.tick()
    states = {row["id"] % 2: row["state"] for row in world.rows("slices")}
    assert states == {0: "ready", 1: "dead"}
    assert {unit for unit, _ in world.sent} == {row["id"] for row in world.rows("slices", "state = 'ready'")}
    dead = world.rows("runs", "id IN (SELECT run_id FROM slices WHERE state = 'dead')")
    assert {row["state"] for row in dead} == {"failed"}


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        ("UPDATE connections SET connector = 'demmo' WHERE name = 'bad'", "no connector 'demmo'"),
        ("UPDATE connections SET streams = '[\"gone\"]' WHERE name = 'bad'", "no stream 'gone'"),
        ("UPDATE schedules SET rule = 'hourly' WHERE id = 1", "'hourly' is neither"),
        ("UPDATE schedules SET rule = '0 * * * *', zone = 'Atlantis' WHERE id = 1", "no time zone 'Atlantis'"),
    ],
)
def test_a_connection_that_cant_be_opened_stops_no_other(world, vendor, spoil, sentence):
    """It is failing, with the reason, and is not looked at again; the others are served in the same tick."""
    bad = connect(world, vendor.url, "bad", late=60)
    good = connect(world, vendor.url, "good")
    world.execute(spoil)
    schedule.tick()
    rows = {row["id"]: row for row in world.rows("connections")}
    assert (rows[bad]["state"], rows[good]["state"]) == ("failing", "active")
    assert sentence in rows[bad]["reason"]
    assert opened(world, f"connection_id = {bad}") == []
    assert opened(world, f"connection_id = {good}") == LISTS
    assert len(world.sent) == 3


def test_a_run_that_cant_be_planned_stops_no_other(world, vendor):
    """A stream that a new version has no more: its waiting run is closed with the reason, and the tick goes on."""
    account = world.connect("demo", {"url": vendor.url}, KEY)
    world.open(account, select=["projects", "tasks"])
    world.execute("UPDATE runs SET state = 'done' WHERE stream = 'projects'")
    world.execute("UPDATE runs SET stream = 'chores' WHERE stream = 'tasks'")
    world.execute("UPDATE slices SET state = 'done'")
    connect(world, vendor.url, "good")
    schedule.tick()
    (run,) = world.rows("runs", "stream = 'chores'")
    assert run["state"] == "failed"
    assert "no stream 'chores' any more" in run["reason"]
    assert len(world.sent) == 3


NOTES, CHILDREN = stream(), stream(parent="notes")


def chosen(config):
    """The streams of a connector that trips over one of its connections."""
    return (NOTES, replace(CHILDREN, name="children"))[: len({}[config["trip"]] if "trip" in config else "ab")]


@pytest.fixture
def acme(world, monkeypatch):
    """A function that makes a due connection to a connector of notes and their children."""
    described = Connector(base_url="http://acme", owner="tests", streams=chosen)
    planted(monkeypatch, "acme", described)
    monkeypatch.setattr("sync.tables.load", registry.load)
    monkeypatch.setattr("sync.planning.load", registry.load)
    monkeypatch.setattr(schedule, "_complaints", Complaints())

    def made(name, late=1.0, config=None, **values):
        account = world.connect("acme", {}, name=name, **values)
        with write() as connection:
            connections.change(connection, account, config=config or {})
        due(world, account, late=late)
        return account

    return made


def state_of(world, account):
    (row,) = world.rows("connections", f"id = {account}")
    return row["state"], row["reason"]


def test_a_connector_that_raises_stops_no_other_connection(world, acme):
    """Not even the clock: whatever its function raises is the reason of that connection."""
    bad, good = acme("bad", late=60, config={"trip": "here"}), acme("good")
    schedule.tick()
    assert state_of(world, bad) == ("failing", "KeyError: 'here'")
    assert state_of(world, good) == ("active", None)
    assert len(opened(world, f"connection_id = {good}")) == 2
    assert len(world.sent) == 1


def test_a_child_that_was_selected_without_its_parent_stops_no_other_connection(world, acme):
    """As a new version of its connector may make it: it is failing, with the stream to add."""
    bad, good = acme("bad", late=60, streams=["children"]), acme("good")
    schedule.tick()
    assert state_of(world, bad)[0] == "failing"
    assert "select 'notes' too" in state_of(world, bad)[1]
    assert len(opened(world, f"connection_id = {good}")) == 2


def test_what_the_database_refuses_of_one_connection_stops_no_other(world, acme, monkeypatch):
    """Its turn comes again by itself, and it is told of once, not at each look."""
    said = CapturingLogger()
    monkeypatch.setattr(schedule, "log", said)
    bad = acme("bad", late=60)
    good = connect(world, "http://127.0.0.1:1", "good")
    world.execute("ALTER TABLE acme_notes RENAME TO elsewhere")
    monkeypatch.setattr(schedule, "_AGAIN", 0.0)
    for _ in range(3):
        schedule.tick()
    assert (state_of(world, bad)[0], opened(world, f"connection_id = {bad}")) == ("active", [])
    assert opened(world, f"connection_id = {good}") == LISTS
    assert [(call.method_name, call.kwargs["connection"]) for call in said.calls] == [("error", bad)]

    world.execute("ALTER TABLE elsewhere RENAME TO acme_notes")
    schedule.tick()
    assert len(opened(world, f"connection_id = {bad}")) == 2
    assert [call.method_name for call in said.calls] == ["error", "info"]


@pytest.mark.servers
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # on SQLite a transaction is the lock
def test_a_table_that_is_in_use_makes_no_connection_failing(world, acme, monkeypatch):
    """A deploy holds the lock: what was due is due again soon."""
    account = acme("a")
    good = connect(world, "http://127.0.0.1:1", "good")
    monkeypatch.setattr(schema, "_LOCK_TIMEOUT", "50ms")
    schema._ensured.clear()
    world.execute("DROP TABLE acme_notes")
    with read() as deploy:
        deploy.execute(select(func.pg_advisory_xact_lock(schema._LOCK)))
        schedule.tick()
    assert state_of(world, account) == ("active", None)
    assert opened(world, f"connection_id = {account}") == []
    assert opened(world, f"connection_id = {good}") == LISTS
    at = world.rows("schedules", f"connection_id = {account}")[0]["next_due_at"]
    assert clock() < at < clock() + timedelta(seconds=60)
    due(world, account)
    schedule.tick()
    assert len(opened(world, f"connection_id = {account}")) == 2


def broken(_connection):
    raise LookupError("nothing")


def test_one_step_that_fails_stops_no_other(world, vendor, monkeypatch):
    """It is told of when it begins and when it is over, not at each look."""
    said = CapturingLogger()
    monkeypatch.setattr(schedule, "log", said)
    monkeypatch.setattr(schedule, "_complaints", Complaints())
    working = leases.take_back
    monkeypatch.setattr(leases, "take_back", broken)
    connect(world, vendor.url)
    schedule.tick()
    silent = "UPDATE slices SET state = 'running', lease_until = '2020-01-01 00:00:00.000000' WHERE id = 1"
    world.execute(silent)
    connect(world, vendor.url, "other")
    for _ in range(3):
        schedule.tick()
    assert len(opened(world)) == 2 * len(LISTS)
    assert [(call.method_name, call.kwargs["step"]) for call in said.calls] == [("error", "take_back")]
    monkeypatch.setattr(leases, "take_back", working)
    schedule.tick()
    assert sorted(call.method_name for call in said.calls) == ["error", "info", "warning"]
    assert world.rows("slices", "state = 'running'") == []


# --- the clock ---


@pytest.fixture
def beat(sqlite_world):
    return schedule.Scheduler(app=app, lazy=True)


@pytest.mark.parametrize("failure", [OperationalError("no broker"), ConnectionResetError("no database"), KeyError("x")])
def test_the_clock_survives_what_is_away(beat, monkeypatch, failure):
    """A broker or database that is away is tried again; the health page sees that the clock lives."""

    def failing():
        raise failure

    monkeypatch.setattr(schedule, "tick", failing)
    assert 0 < beat.tick() <= settings().tick_seconds
    ticked = datetime.fromisoformat((settings().home / "tick").read_text())
    assert datetime.now(UTC) - ticked < timedelta(minutes=1)


def test_the_clock_ticks_and_sends_nothing_by_itself(beat, sqlite_world, vendor):
    connect(sqlite_world, vendor.url)
    assert beat.schedule == {}
    assert not beat.should_sync()
    beat.tick()
    assert opened(sqlite_world) == LISTS
