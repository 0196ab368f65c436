"""The overview: one word for every stream, the most urgent that is true, with its reason and its owner."""

import pytest

from sync.overview import overview, worst
from sync.store.database import read

URL = {"url": "http://127.0.0.1:9"}
SECRET = {"secret_key": "x"}
AGO = "2020-01-01 00:00:00.000000"
LATER = "2099-01-01 00:00:00.000000"


@pytest.fixture
def place(world):
    return Place(world)


class Place:
    """A connection of the demo with the stream customers, whose history a test writes."""

    def __init__(self, world, connector="demo", config=URL, streams=("customers",)):
        self.world = world
        self.account = world.connect(connector, config, SECRET, name="acme", streams=list(streams), owner="crew")

    def run(self, outcome="done", at="2098-12-31 23:00:00.000000", **slices):
        run = self.world.open(self.account)[0]
        closed = None if outcome in ("running", "waiting") else at
        self.world.execute(
            "UPDATE runs SET state = :state, opened_at = :at, closed_at = :closed, reason = :why", state=outcome, at=at,
            closed=closed, why="it broke" if outcome == "failed" else None,
        )  # fmt: skip
        values = {"state": "done", "reason": None, "due_at": AGO, **slices}
        self.world.execute("UPDATE slices SET state = :state, reason = :reason, due_at = :due_at", **values)
        return run

    def schedule(self, rule="every 1 minute"):
        self.world.execute(
            "INSERT INTO schedules (connection_id, stream, rule, zone, jitter, next_due_at) "
            "VALUES (:account, '', :rule, 'UTC', 0, :due)", account=self.account, rule=rule, due=LATER,
        )  # fmt: skip

    def judged(self):
        with read() as connection:
            (view,) = overview(connection)
        return view.state, view.why


def test_never_synced_is_new(place):
    assert place.judged() == ("new", "")


def test_synced_in_time_is_fresh(place):
    place.schedule()
    place.run()
    assert place.judged() == ("fresh", "")


def test_without_a_schedule_nothing_gets_late(place):
    place.run(at=AGO)
    assert place.judged() == ("fresh", "")


@pytest.mark.parametrize("rule", ["every 1 minute", "0 3 * * *"])
def test_older_than_two_periods_is_late(place, rule):
    place.schedule(rule)
    place.run(at=AGO)
    assert place.judged()[0] == "late"


def test_an_objective_counts_without_a_schedule(place):
    place.world.execute("UPDATE connections SET objective = 60")
    place.run(at=AGO)
    assert place.judged()[0] == "late"


def test_a_failed_run_makes_nothing_fresh_and_says_why(place):
    place.run("failed")
    assert place.judged() == ("failing", "it broke")
    with read() as connection:
        assert overview(connection)[0].fresh_at is None


@pytest.mark.parametrize(
    ("slices", "told"),
    [
        ({"state": "dead", "reason": "it broke"}, ("failing", "it broke")),
        ({"state": "held", "reason": "too much is gone"}, ("held", "too much is gone")),
        ({"state": "deferred", "reason": "the quota"}, ("waiting", "the quota")),
        ({"state": "ready"}, ("syncing", "")),
        ({"state": "running"}, ("syncing", "")),
    ],
)
def test_unfinished_work_says_what_it_is_at(place, slices, told):
    place.run("running", **slices)
    assert place.judged() == told


def test_late_and_waiting_says_why_it_waits(place):
    place.schedule()
    place.run("running", at=AGO, state="deferred", reason="the quota")
    place.world.execute("UPDATE connections SET created_at = :ago", ago=AGO)
    assert place.judged() == ("late", "the quota")


@pytest.mark.parametrize(("state", "word"), [("failing", "failing"), ("paused", "paused")])
def test_a_stopped_connection_says_so_for_all_its_streams(place, state, word):
    place.run()
    place.world.execute("UPDATE connections SET state = :state, reason = 'because'", state=state)
    assert place.judged() == (word, "because")


def test_an_overdue_schedule_points_at_the_clock(place):
    place.schedule()
    place.world.execute("UPDATE schedules SET next_due_at = :ago", ago=AGO)
    place.world.execute("UPDATE connections SET created_at = :ago", ago=AGO)
    state, why = place.judged()
    assert state == "late"
    assert "tidelock doctor" in why


def test_a_stream_of_the_feed_is_as_fresh_as_the_feed(world):
    place = Place(world, "stripe", {}, streams=["customers"])
    place.run(at=AGO)
    world.execute("UPDATE runs SET opened_at = :at WHERE list = 'feed'", at=LATER)
    with read() as connection:
        (view,) = overview(connection)
    assert view.fresh_at is not None
    assert view.fresh_at.year == 2099


def test_records_and_dead_letters_are_counted(place):
    place.run("running", state="dead", reason="it broke")
    place.world.execute(
        "INSERT INTO demo_customers (connection_id, key, version, digest, payload, changed_at, deleted_at) VALUES "
        "(:a, 'one', 1, 1, '{}', :at, NULL), (:a, 'two', 1, 1, '{}', :at, :at), (99, 'theirs', 1, 1, '{}', :at, NULL)",
        a=place.account, at=AGO,
    )  # fmt: skip
    with read() as connection:
        (view,) = overview(connection)
    assert (view.records, view.owner) == (1, "crew")
    assert view.dead == len(place.world.rows("slices", "state = 'dead'"))


def test_a_connection_whose_connector_is_gone_is_failing(place):
    place.world.execute("UPDATE connections SET connector = 'gone'")
    state, why = place.judged()
    assert state == "failing"
    assert "no connector 'gone'" in why


def test_the_most_urgent_state_speaks_for_all(place):
    place.run("failed")
    with read() as connection:
        views = overview(connection)
    assert worst(views) == "failing"
    assert worst([]) == "new"
