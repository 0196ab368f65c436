"""The pull journey: whatever happens on the way, the row says how to go on."""

from datetime import UTC, datetime, timedelta

import pytest
from celery.exceptions import QueueNotFound
from kombu.exceptions import OperationalError
from redis import Redis
from sqlalchemy import select

from connectors import Outcome, Rule, Stream, Sweep
from sync import pull, schedule
from sync.app import app as usual
from sync.app import create
from sync.kit.vendor import Collection, Fault, Since, serve
from sync.kit.vendor.demo import demo_vendor
from sync.kit.vendor.times import SECOND
from sync.kit.vendor.vendor import Latency
from sync.pull import send
from sync.states import SLICE
from sync.store import connections, dispatch
from sync.store.database import now, read, write
from sync.store.mirror import Mirror
from tests.mirrored import stored, truth
from tests.processes import until
from tests.traps.rig import listed, notes, rigged, stream

PATH = "/v1/notes"


@pytest.fixture
def short_slices(monkeypatch):
    """Time is up after every page."""
    monkeypatch.setenv("TIDELOCK_SLICE_SECONDS", "0.000001")


@pytest.fixture
def bounds(monkeypatch):
    """The bounds below which waits are drawn; nobody waits."""
    drawn: list[float] = []

    def draw(low: float, high: float) -> float:
        drawn.append(high)
        return low

    monkeypatch.setattr("sync.pull.random.uniform", draw)
    return drawn


def broken(status=500, **which):
    return [Fault(kind="status", path=PATH, status=status, **which)]


def history(world):
    return [(row["before"], row["after"]) for row in world.rows("attempts")]


# --- leases, time ---


def test_a_lost_lease_undoes_records_and_position(short_slices, world, monkeypatch):
    """Another worker took the slice over while its page was fetched: nothing of that page is written."""
    with rigged(world, monkeypatch, notes(), stream()) as rig:
        rig.make(35)
        rig.open()
        rig.after(2, lambda: world.execute("UPDATE slices SET fence = fence + 1"))
        for _ in range(2):
            world.ring()
            world.deliver()
        (row,) = rig.slices()
        assert (row["pages"], len(rig.held()), row["state"]) == (1, 10, "running")
        rig.kill()
        world.settle()
        assert rig.held() == rig.truth()


def test_time_that_is_up_makes_room(short_slices, sqlite_world, monkeypatch):
    """A message for every share of time; between them the slice is ready, and no page is asked for twice."""
    with rigged(sqlite_world, monkeypatch, notes(), stream()) as rig:
        rig.make(35)
        rig.open()
        sqlite_world.ring()
        for page in range(1, 4):
            sqlite_world.deliver()
            (row,) = rig.slices()
            assert (row["state"], row["pages"], len(sqlite_world.sent)) == ("ready", page, 1)
            assert row["rung_at"] is not None
        sqlite_world.settle()
        assert rig.held() == rig.truth()
        assert len(rig.asked()) == 4


def test_time_that_is_up_makes_room_for_others(short_slices, world, monkeypatch):
    """Two long passes fill the lane, and a third connection gets its share all the same; nobody stops for good."""
    with rigged(world, monkeypatch, notes(), stream(listed(1))) as rig:
        rig.make(12)
        others = [world.connect("acme", {"url": rig.url}, name=name) for name in ("second", "third")]
        for account in (rig.account, *others):
            world.open(account)

        def ring():
            with write() as connection:
                world.sent.extend(dispatch.ring(connection, 2))

        for _ in range(12):
            ring()
            assert len(world.sent) <= 2
            world.deliver()
        pages = sorted(row["pages"] for row in world.rows("slices"))
        assert sum(pages) == 12
        assert pages[0] >= 3
        world.settle()
        assert {row["state"] for row in world.rows("slices")} == {"done"}


def test_what_the_broker_did_not_take_was_never_rung(sqlite_world, monkeypatch):
    """All of a batch, not only the first; what could be sent is sent, and the failure is told."""
    tags = Collection(name="tags", since=Since(param="since"))
    other = Stream("tags", "/v1/tags", listed(), version=stream().version, cursor=stream().cursor)
    with rigged(sqlite_world, monkeypatch, [notes(), tags], other, stream()) as rig:
        rig.open()
        rig.open(lane="backfill")
        sqlite_world.execute("UPDATE slices SET lane = 'elsewhere' WHERE stream = 'tags' AND lane = 'interactive'")
        rung = [(row["id"], row["lane"]) for row in rig.slices()]
        with write() as connection:
            dispatch.ring_these(connection, [unit for unit, _ in rung])
        never = "rung_at IS NULL AND rings = 0"
        try:
            create("memory://").set_current()
            with pytest.raises(QueueNotFound, match="elsewhere"):
                send(rung)
            assert [row["lane"] for row in rig.slices(never)] == ["elsewhere"]
            create("redis://127.0.0.1:1/0").set_current()
            with pytest.raises(OperationalError, match=r"127\.0\.0\.1:1"):
                send([(unit, lane) for unit, lane in rung if lane != "elsewhere"])
        finally:
            usual.set_current()
        assert len(rig.slices(never)) == len(rung) > 2


def test_a_message_that_comes_twice_or_late_does_nothing(sqlite_world, monkeypatch):
    with rigged(sqlite_world, monkeypatch, notes(), stream()) as rig:
        rig.make(5)
        rig.sync()
        (row,) = rig.slices()
        asked = len(rig.asked())
        pull.slice_(row["id"])
        pull.slice_(10**6)
        assert (len(rig.asked()), rig.slices()) == (asked, [row])


def test_the_next_page_is_fetched_while_this_one_is_stored(sqlite_world, monkeypatch):
    """Where the vendor is what takes the time."""
    original, waits = Mirror.write, iter([True])

    with rigged(sqlite_world, monkeypatch, notes(), stream(), vendor={"latency": Latency(fixed_s=0.06)}) as rig:

        def slow(*given, **named):
            if next(waits, False):
                until(lambda: len(rig.asked()) > 1, "the next page to be asked for")
            return original(*given, **named)

        monkeypatch.setattr(Mirror, "write", slow)
        rig.make(35)
        rig.sync()
        assert rig.held() == rig.truth()


# --- failures ---


def test_waits_double_until_there_is_progress(short_slices, sqlite_world, monkeypatch, bounds):
    """Full jitter below a bound that doubles with every failure in a row, also where progress and failure fall into
    one claim."""
    with rigged(sqlite_world, monkeypatch, notes(), stream()) as rig:
        rig.make(35)
        rig.vendor.faults.set(broken(nth=(1, 2, 3, 5)))
        rig.sync()
        assert bounds == [pull.BACKOFF * times for times in (1, 2, 4, 1)]
        assert rig.held() == rig.truth()


def test_progress_within_a_claim_starts_the_count_again(sqlite_world, monkeypatch, bounds):
    with rigged(sqlite_world, monkeypatch, notes(), stream()) as rig:
        rig.make(35)
        rig.vendor.faults.set(broken(nth=(1, 2, 4, 5)))
        rig.sync()
        assert bounds == [pull.BACKOFF * times for times in (1, 2, 1, 2)]
        assert rig.held() == rig.truth()


def test_the_last_attempt_makes_it_dead_and_a_later_success_settles_it(world, monkeypatch, bounds):
    """Dead, with reason; the run failed, the cursor stands still. The history tells what the slice was before."""
    with rigged(world, monkeypatch, notes(), stream()) as rig:
        rig.make(35)
        rig.vendor.faults.set(broken())
        (run,) = rig.sync()
        (row,) = rig.slices()
        assert (row["state"], row["attempts"], run["state"]) == ("dead", SLICE.max_attempts, "failed")
        assert "500" in row["reason"]
        assert row["reason"] == run["reason"]
        assert rig.cursor() is None

        rig.vendor.faults.set([])
        (run,) = rig.sync()
        assert run["state"] == "done"
        assert rig.slices()[0]["state"] == "cancelled"
        assert history(world)[-1] == ("dead", "cancelled")
        assert rig.held() == rig.truth()


def test_a_backfill_settles_nothing_and_moves_no_cursor(sqlite_world, monkeypatch, bounds):
    """It proves nothing about the time before and after it: what was not pulled is pulled by the next sync."""
    with rigged(sqlite_world, monkeypatch, notes(), stream()) as rig:
        rig.make(5)
        rig.sync()
        at = rig.cursor()
        rig.vendor.clock.advance(3600)
        rig.make(5)
        rig.vendor.faults.set(broken())
        rig.sync()
        rig.vendor.faults.set([])
        since = datetime.fromtimestamp(rig.vendor.clock.now() / SECOND, UTC) - timedelta(seconds=3)
        (run,) = rig.sync(lane="backfill", since=since)
        assert (run["state"], rig.cursor()) == ("done", at)
        assert len(rig.held()) < 10
        assert [row["state"] for row in rig.slices()] == ["done", "dead", "done"]
        rig.sync()
        assert rig.held() == rig.truth()


def test_a_page_that_fails_undoes_none_before_it(sqlite_world, monkeypatch, bounds):
    with rigged(sqlite_world, monkeypatch, notes(), stream()) as rig:
        rig.make(35)
        rig.vendor.faults.set(broken(nth=(3,)))
        rig.open()
        sqlite_world.ring()
        sqlite_world.deliver()
        (row,) = rig.slices()
        assert (row["state"], row["pages"], len(rig.held())) == ("deferred", 2, 20)
        sqlite_world.settle()
        assert [entry.status for entry in rig.asked()] == [200, 200, 500, 200, 200]


def test_a_quota_is_waited_for_and_uses_up_no_attempt(sqlite_world, redis_url, monkeypatch):
    with rigged(sqlite_world, monkeypatch, notes(), stream()) as rig:
        rig.make(15)
        rig.vendor.faults.set([Fault(kind="throttle", path=PATH, nth=(2,), seconds=600)])
        rig.sync()
        (row,) = rig.slices()
        with read() as connection:
            soon = connection.execute(select(now(500))).scalar_one()
        due = row["due_at"] if isinstance(row["due_at"], datetime) else datetime.fromisoformat(f"{row['due_at']}+00:00")
        assert (row["state"], row["attempts"], row["pages"]) == ("deferred", 0, 1)
        assert due > soon
        assert row["reason"]

        with Redis.from_url(redis_url) as client:
            client.flushall()
        sqlite_world.hasten()
        sqlite_world.settle()
        assert rig.held() == rig.truth()


def test_a_refused_key_stops_the_connection_until_it_is_mended(world, monkeypatch):
    """No other slice asks with it; its work waits with the reason, and goes on where it stood."""
    refused = Rule(status=401, then=Outcome.FAIL_CONNECTION, why="give a valid key")
    with rigged(world, monkeypatch, notes(), stream(), rules=(refused,)) as rig:
        rig.make(35)
        rig.vendor.faults.set([Fault(kind="unauthorized", path=PATH, nth=(3,))])
        rig.sync()
        (row,) = rig.slices()
        (account,) = world.rows("connections")
        assert (account["state"], row["state"], row["pages"], row["attempts"]) == ("failing", "deferred", 2, 0)
        assert "give a valid key" in account["reason"]
        asked = len(rig.asked())
        assert world.ring() == 0
        pull.slice_(row["id"])
        assert len(rig.asked()) == asked

        with write() as connection:
            connections.set_state(connection, rig.account, "active", None)
        world.settle()
        assert rig.held() == rig.truth()
        assert len(rig.asked()) == 5


def test_one_bad_stream_stops_no_other(sqlite_world, monkeypatch):
    """No right to read one list: it is dead with the reason, the others are done."""
    tags = Collection(name="tags", since=Since(param="since"))
    other = Stream("tags", "/v1/tags", listed(), version=stream().version, cursor=stream().cursor)
    with rigged(sqlite_world, monkeypatch, [notes(), tags], other, stream()) as rig:
        rig.make(5)
        rig.vendor.faults.set([Fault(kind="forbidden", path="/v1/tags")])
        states = {run["stream"]: run["state"] for run in rig.sync()}
        assert states == {"tags": "failed", "notes": "done"}
        assert rig.held() == rig.truth()


def test_what_nobody_foresaw_is_a_failure_like_any_other(sqlite_world, monkeypatch, bounds):
    """An error in a connector's function is retried, and names itself."""

    def pulled(api, stream, ask):
        raise KeyError("data")

    with rigged(sqlite_world, monkeypatch, notes(), stream(pulled)) as rig:
        rig.sync()
        (row,) = rig.slices()
        assert (row["state"], row["reason"]) == ("dead", "KeyError: 'data'")


# --- starting again ---


def test_a_pass_that_must_start_again_does(sqlite_world, monkeypatch, bounds):
    """The list changed under it: it is read from its first page, with the same lower bound."""
    moved = Rule(status=409, then=Outcome.RESTART_PASS)
    with rigged(sqlite_world, monkeypatch, notes(), stream(), rules=(moved,)) as rig:
        rig.make(35)
        rig.sync()
        rig.vendor.clock.advance(60)
        rig.make(35)
        before = len(rig.asked())
        rig.vendor.faults.set(broken(409, nth=(3,)))
        rig.sync()
        asked = rig.asked()[before:]
        assert [bool(entry.query.get("cursor")) for entry in asked] == [False, True, True, False, True, True, True]
        assert len({entry.query["since"] for entry in asked}) == 1
        assert rig.held() == rig.truth()


def test_a_cursor_that_the_vendor_forgot_makes_a_full_pass(sqlite_world, monkeypatch, bounds):
    """... which may also prove what is gone."""
    forgot = Rule(status=410, then=Outcome.RESET_CURSOR)
    swept = stream(deletes=(Sweep(every="30 days"),))
    with rigged(sqlite_world, monkeypatch, notes(), swept, rules=(forgot,)) as rig:
        keys = rig.make(35)
        rig.sync()
        rig.vendor.clock.advance(60)
        rig.vendor.delete("notes", keys[3])
        rig.sync()
        assert rig.held() != rig.truth()
        rig.vendor.faults.set(broken(410, nth=(1,)))
        (run,) = rig.sync()
        assert run["state"] == "done"
        assert rig.slices()[-1]["full"]
        assert rig.held() == rig.truth()


# --- partitions, parents and children ---


@pytest.fixture
def demo(world):
    """The demo vendor with ten projects and their tasks, nothing pulled yet."""
    vendor = demo_vendor(seed=3, scale=0.05)
    with serve(vendor) as server:
        world.vendor = vendor
        world.account = world.connect("demo", {"url": server.url}, {"secret_key": "demo-secret-key"}, parallel=3)
        yield world


def of_tasks(world):
    return world.rows("slices", "stream = 'tasks'")


def test_partitions_go_side_by_side_up_to_the_limit(demo):
    """`parallel` of them are on their way at any time, never more, until all are done."""
    demo.open(demo.account, select=["projects", "tasks"])
    most = 0
    for _ in range(200):
        demo.ring()
        under_way = [row for row in of_tasks(demo) if row["rung_at"] is not None and row["state"] == "ready"]
        most = max(most, len(under_way))
        if not demo.deliver():
            break
    assert most == 3
    assert len(of_tasks(demo)) == len(truth(demo.vendor, "projects"))
    assert stored(demo, "demo", "tasks") == truth(demo.vendor, "tasks")


def test_children_wait_for_their_parent(demo):
    """A message that comes too early plans nothing: the parents are not all there yet."""
    _, child = demo.open(demo.account, select=["projects", "tasks"])
    pull.plan(child)
    assert of_tasks(demo) == []
    demo.settle()
    assert {row["state"] for row in demo.rows("runs")} == {"done"}
    assert len(of_tasks(demo)) == len(truth(demo.vendor, "projects"))


def test_a_broker_that_is_away_undoes_no_work(demo, monkeypatch):
    """What was stored is stored, the run closed and its children planned: only the messages are missing."""

    def away(rung):
        raise OperationalError("no broker")

    demo.open(demo.account, select=["projects", "tasks"])
    demo.ring()
    monkeypatch.setattr(pull, "send", away)
    demo.deliver()
    assert [row["state"] for row in demo.rows("runs")] == ["done", "running"]
    assert len(of_tasks(demo)) == len(truth(demo.vendor, "projects"))


def test_a_doubled_message_plans_nothing_behind_it(demo):
    """The second message about the parent finds it planned, and must not go on to its child."""
    parent, _ = demo.open(demo.account, select=["projects", "tasks"])
    pull.plan(parent)
    assert of_tasks(demo) == []
    demo.settle()
    assert len(of_tasks(demo)) == len(truth(demo.vendor, "projects"))


def test_a_lost_message_about_children_is_made_up_for(demo, monkeypatch):
    """The tick finds the run that waits for a closed one."""
    monkeypatch.setattr(pull, "follow", lambda waiting: None)
    demo.sync(demo.account, select=["projects", "tasks"])
    assert [row["state"] for row in demo.rows("runs")] == ["done", "waiting"]
    schedule.tick()
    demo.settle()
    assert [row["state"] for row in demo.rows("runs")] == ["done", "done"]
    assert stored(demo, "demo", "tasks") == truth(demo.vendor, "tasks")


def test_children_are_pulled_though_their_parent_failed(demo, bounds):
    """What is known of the parents is what their children are pulled by."""
    demo.sync(demo.account, select=["projects", "tasks"])
    demo.vendor.faults.set([Fault(kind="status", path="/v1/projects", status=500, times=SLICE.max_attempts)])
    runs = demo.sync(demo.account, select=["projects", "tasks"], full=True)
    assert [run["state"] for run in runs] == ["failed", "done"]
