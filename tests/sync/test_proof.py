"""Absence is believed only when it is proved, and only within the guard."""

import pytest

from connectors import Sweep, link_header
from sync.kit.vendor import Fault, link
from sync.store import letters
from sync.store.database import write
from tests.mirrored import decoded
from tests.traps.rig import listed, notes, rigged, stream

PATH = "/v1/notes"
KEYS = list(range(1, 61))


def swept(pull=None, **changes):
    return stream(pull or listed(), cursor=None, deletes=(Sweep(every=None, **changes),))


def requests(rig, since):
    """How often the list, and how often single records were asked for."""
    paths = [entry.path for entry in rig.vendor.log.since()[since:]]
    return paths.count(PATH), len(paths) - paths.count(PATH)


@pytest.mark.parametrize(("confirm", "asked"), [("get", (3, 2)), ("pass", (6, 0)), ("order", (3, 0))])
def test_what_confirms_an_absence(world, monkeypatch, confirm, asked):
    """A look at each absent record, a second pass, or nothing, as declared; no other record is touched."""
    with rigged(world, monkeypatch, notes(), swept(confirm=confirm)) as rig:
        keys = rig.make(30)
        rig.sync()
        for key in keys[4:6]:
            rig.vendor.delete("notes", key)
        rig.vendor.clock.advance(60)
        before = len(rig.vendor.log.since())
        (run,) = rig.sync()
        assert run["state"] == "done"
        assert decoded(run["counts"])["deleted"] == 2
        assert requests(rig, before) == asked
        assert rig.held() == rig.truth()
        assert world.rows("sightings") == []


@pytest.mark.parametrize("confirm", ["get", "pass"])
def test_what_was_only_not_shown_stays(sqlite_world, monkeypatch, confirm):
    """A page that came empty: the records are there when they are looked for again."""
    with rigged(sqlite_world, monkeypatch, notes(), swept(confirm=confirm)) as rig:
        rig.make(30)
        rig.sync()
        rig.vendor.faults.set([Fault(kind="empty", path=PATH, nth=(2,))])
        (run,) = rig.sync()
        assert run["state"] == "done"
        assert len(rig.held()) == 30


def test_only_what_both_passes_missed_is_gone(sqlite_world, monkeypatch):
    """Deleted between the two passes: not proved by them, but by the next run."""
    with rigged(sqlite_world, monkeypatch, notes(), swept(confirm="pass")) as rig:
        keys = rig.make(30)
        rig.sync()
        rig.vendor.delete("notes", keys[4])
        rig.after(3, lambda: rig.vendor.delete("notes", keys[20]))
        rig.sync()
        assert rig.held().keys() - rig.truth().keys() == {str(keys[20])}
        rig.sync()
        assert rig.held() == rig.truth()


def test_a_record_that_changed_since_the_pass_began_stays(world, monkeypatch):
    """Somebody else stored it meanwhile: the pass, which began before, can't say that it is gone."""
    with rigged(world, monkeypatch, notes(), swept(confirm="order")) as rig:
        keys = rig.make(30)
        rig.sync()
        rig.vendor.delete("notes", keys[4])
        touched = f"UPDATE acme_notes SET changed_at = '2100-01-01 00:00:00.000000' WHERE key = '{keys[4]}'"
        rig.after(1, lambda: world.execute(touched))
        (run,) = rig.sync()
        assert run["state"] == "done"
        assert str(keys[4]) in rig.held()


def test_a_not_modified_proves_nothing(sqlite_world, monkeypatch):
    """304: no rows came, and none is missing."""
    tagged = stream(link_header(size=("per_page", 100)), cursor=None, etag=True, deletes=(Sweep(every=None),))
    with rigged(sqlite_world, monkeypatch, notes(paging=link(), rows="", order="id", etag=True), tagged) as rig:
        rig.make(30)
        rig.sync()
        (run,) = rig.sync()
        assert rig.asked()[-1].status == 304
        assert run["state"] == "done"
        assert len(rig.held()) == 30
        assert not decoded(run["counts"]).get("deleted")


# --- the guard ---


@pytest.fixture
def emptied(world, monkeypatch):
    """A pass over 60 records that would delete 20 of them: held."""
    with rigged(world, monkeypatch, notes(), swept(confirm="order")) as rig:
        assert rig.make(60) == KEYS
        rig.sync()
        for key in KEYS[:20]:
            rig.vendor.delete("notes", key)
        (run,) = rig.sync()
        assert run["state"] == "held"
        yield rig


def approve(rig, ceiling):
    with write() as connection:
        assert letters.release(connection, letters.slices(connection), ceiling=ceiling) == 1
    rig.world.settle()
    return rig.slices()[-1]["state"]


def test_what_is_held_deletes_nothing_and_says_how_much_it_would(emptied):
    (held,) = emptied.slices("state = 'held'")
    assert "20 of 60 records are gone, 6 may go unasked" in held["reason"]
    assert len(emptied.held()) == 60


def test_approval_is_a_ceiling(emptied):
    """One too few: held again, nothing is deleted; then all, without the list being read again."""
    asked = len(emptied.asked())
    assert approve(emptied, 19) == "held"
    assert len(emptied.held()) == 60
    assert approve(emptied, 20) == "done"
    assert emptied.held() == emptied.truth()
    assert len(emptied.asked()) == asked
    assert emptied.world.rows("runs")[-1]["state"] == "done"


def test_looking_again_leaves_one_question(emptied):
    """However often the sync runs meanwhile, the owner is asked once, about what is gone now."""
    emptied.vendor.delete("notes", KEYS[20])
    for _ in range(2):
        emptied.sync()
    states = [row["state"] for row in emptied.slices()]
    assert states == ["done", "cancelled", "cancelled", "held"]
    assert "21 of 60" in emptied.slices()[-1]["reason"]


def test_records_that_came_back_settle_it(emptied):
    """The permission is back: the next full pass closes the question."""
    for key in KEYS[:20]:
        emptied.vendor.create("notes", int(key), {"text": "back"})
    emptied.vendor.clock.advance(60)
    emptied.sync()
    assert [row["state"] for row in emptied.slices()] == ["done", "cancelled", "done"]
    assert emptied.held() == emptied.truth()


def test_confirming_takes_as_long_as_it_takes(sqlite_world, monkeypatch):
    """Twenty looks a commit, and a continuation where the time is up; nothing is asked twice."""
    monkeypatch.setenv("TIDELOCK_SLICE_SECONDS", "0.000001")
    with rigged(sqlite_world, monkeypatch, notes(), swept(listed(200), max_drop=1.0)) as rig:
        keys = rig.make(100)
        rig.sync()
        for key in keys[:50]:
            rig.vendor.delete("notes", key)
        rig.vendor.clock.advance(60)
        before = len(rig.vendor.log.since())
        (run,) = rig.sync()
        assert run["state"] == "done"
        assert requests(rig, before) == (1, 50)
        assert rig.held() == rig.truth()
