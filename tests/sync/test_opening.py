"""Opening: what a demand becomes, run by run and slice by slice."""

from datetime import UTC, datetime

import pytest

from connectors import Feed, Stream, Sweep, Timestamp, epoch, iso, last_id
from sync.kit.vendor import Collection, Since, serve
from sync.kit.vendor import last_id as by_last_id
from sync.kit.vendor.demo import demo_vendor
from tests.mirrored import decoded, truth
from tests.traps.rig import UPDATED, listed, notes, rigged, stream

SINCE, UNTIL = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def demo(sqlite_world):
    vendor = demo_vendor(seed=3, scale=0.02)
    with serve(vendor) as server:
        sqlite_world.vendor = vendor
        sqlite_world.account = sqlite_world.connect("demo", {"url": server.url}, {"secret_key": "demo-secret-key"})
        yield sqlite_world


def shape(world, opened):
    """Stream, list, state and predecessor of these runs."""
    return [
        (row["stream"], row["list"], row["state"], row["after_id"]) for row in world.rows("runs") if row["id"] in opened
    ]


def test_runs_are_one_a_list_parents_first(demo):
    """Children wait for the run of their parent."""
    opened = demo.open(demo.account)
    found = shape(demo, opened)
    (projects,) = (row["id"] for row in demo.rows("runs") if row["stream"] == "projects")
    assert set(found) == {
        ("customers", "rows", "running", None),
        ("customers", "deletes", "running", None),
        ("projects", "rows", "running", None),
        ("tasks", "rows", "waiting", projects),
        ("orders", "rows", "running", None),
    }
    assert len(found) == 5


def test_nothing_is_opened_twice(demo):
    demo.open(demo.account)
    assert demo.open(demo.account) == []
    assert demo.open(demo.account, lane="backfill", select=["orders"]) != []


def test_a_child_alone_waits_for_nobody(demo):
    """By the parents that are known; where none is, the run is done at once."""
    (run,) = demo.sync(demo.account, select=["tasks"])
    assert (run["state"], run["open"]) == ("done", 0)
    demo.sync(demo.account, select=["projects"])
    (run,) = demo.sync(demo.account, select=["tasks"])
    assert run["state"] == "done"
    assert len(demo.rows("demo_tasks", "deleted_at IS NULL")) == len(truth(demo.vendor, "tasks"))


def test_only_partitions_whose_parent_moved(demo):
    """`when`: the others aren't even slices."""
    demo.sync(demo.account)
    (project, *_) = truth(demo.vendor, "projects")
    demo.vendor.update("projects", int(project), {"name": "renamed"})
    demo.sync(demo.account)
    last = demo.rows("runs", "stream = 'tasks'")[-1]["id"]
    assert [row["partition"] for row in demo.rows("slices", f"run_id = {last}")] == [project]
    demo.sync(demo.account, full=True)
    last = demo.rows("runs", "stream = 'tasks'")[-1]["id"]
    assert len(demo.rows("slices", f"run_id = {last}")) == len(truth(demo.vendor, "projects"))


def test_children_of_a_deleted_parent_go_with_it(demo):
    """WithParent: without a request, and counted by the run."""
    demo.sync(demo.account)
    (project, *_) = truth(demo.vendor, "projects")
    gone = [key for key, task in truth(demo.vendor, "tasks").items() if str(task["project_id"]) == project]
    demo.vendor.delete("projects", int(project))
    runs = demo.sync(demo.account)
    (tasks,) = [run for run in runs if run["stream"] == "tasks"]
    assert decoded(tasks["counts"])["deleted"] == len(gone) > 0
    assert demo.rows("demo_tasks", f"parent_key = '{project}' AND deleted_at IS NULL") == []


def test_a_backfill_is_bounded_and_a_baseline(sqlite_world, monkeypatch):
    """Its bounds are in the vendor's spelling; it runs beside what the schedule does."""
    spelt = stream(listed(until="until"), cursor=Timestamp(field=UPDATED, wire_format="iso_seconds"))
    with rigged(sqlite_world, monkeypatch, notes(since=Since(param="since", until="until")), spelt) as rig:
        (run,) = rig.open(lane="backfill", since=SINCE, until=UNTIL)
        (row,) = rig.slices()
        (opened,) = sqlite_world.rows("runs")
        assert (opened["id"], bool(opened["baseline"]), bool(opened["exclusive"])) == (run, True, False)
        assert decoded(row["ask"])["since"] == "2026-01-02T00:00:00Z"
        assert decoded(row["ask"])["until"] == "2026-02-03T04:05:06Z"
        assert not row["full"]


def test_a_sweep_is_due_by_its_own_clock(sqlite_world, monkeypatch):
    """Between sweeps runs are increments; the first one after `every` is a full pass."""
    with rigged(sqlite_world, monkeypatch, notes(), stream(deletes=(Sweep(every="1 day"),))) as rig:
        rig.make(5)
        fulls = []
        for back in (0, 23, 25):
            sqlite_world.execute(f"UPDATE checkpoints SET full_at = datetime('now', '-{back} hours') || '.000000'")
            rig.sync()
            fulls.append(bool(rig.slices()[-1]["full"]))
        assert fulls == [True, False, True]


EVENTS = Collection(
    name="events", paging=by_last_id(), order="created", descending=True, created="created", updated="",
    since=Since(param="since", on="created"), stamps="epoch",
)  # fmt: skip
FEED = Feed(
    "/v1/events", last_id("starting_after", since="since"), lambda event: (), at=epoch("created"), streams=("notes",)
)


def test_the_feeds_head_comes_before_the_first_full_pass(sqlite_world, monkeypatch):
    """Full passes wait for it; later runs read the feed alone, and streams that it doesn't cover as ever."""
    tags = Collection(name="tags", since=Since(param="since"))
    other = Stream("tags", "/v1/tags", listed(), version=UPDATED, cursor=Timestamp(field=iso("updated_at")))
    told = stream(listed(since=None), version=None, cursor=None)
    with rigged(
        sqlite_world, monkeypatch, [notes(since=None, events="events"), EVENTS, tags], told, other, feed=FEED
    ) as rig:
        rig.make(5)
        opened = rig.open()
        assert shape(sqlite_world, opened) == [
            ("", "feed", "running", None),
            ("notes", "rows", "waiting", opened[0]),
            ("tags", "rows", "waiting", opened[0]),
        ]
        sqlite_world.settle()
        opened = rig.open()
        assert [one[:2] for one in shape(sqlite_world, opened)] == [("", "feed"), ("tags", "rows")]
