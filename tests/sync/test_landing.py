"""Landing: what a page's rows become, in the transaction that saves the position."""

from dataclasses import replace

import pytest

from connectors import Tombstones, get_one, iso
from sync.kit.vendor import Collection, Since, cursor
from sync.kit.vendor.times import SECOND
from tests.mirrored import decoded
from tests.traps.rig import listed, notes, rigged, stream

GRAVES = Collection(name="graves", paging=cursor(), since=Since(param="since"), created="", updated="deleted_at")


def counts(run):
    return decoded(run["counts"])


def test_what_became_of_the_records_is_counted_by_the_database(world, monkeypatch):
    """Inserted, updated, unchanged: a second run says what it left alone."""
    with rigged(world, monkeypatch, notes(), stream()) as rig:
        keys = rig.make(25)
        (first,) = rig.sync()
        assert (counts(first)["inserted"], counts(first)["requests"], counts(first)["pages"]) == (25, 3, 3)
        rig.vendor.clock.advance(60)
        rig.vendor.update("notes", keys[0], {"text": "changed"})
        rig.vendor.create("notes", None, {"text": "new"})
        (second,) = rig.sync(full=True)
        found = counts(second)
        assert (found["inserted"], found["updated"], found["unchanged"]) == (1, 1, 24)


def test_one_bad_record_stops_no_other(world, monkeypatch):
    """Without its key: a reject with its bytes; the rest of the page lands, and the run is done."""
    with rigged(world, monkeypatch, notes(), stream()) as rig:
        rig.make(5)
        rig.rewrite(lambda request, answer: replace(answer, body=answer.body.replace(b'"id":3,', b'"no":3,')))
        (run,) = rig.sync()
        assert run["state"] == "done"
        assert counts(run)["rejected"] == 1
        assert len(rig.held()) == 4
        (reject,) = world.rows("rejects")
        assert (reject["stream"], reject["path"], reject["state"]) == ("notes", "$.id", "dead")
        rig.sync(full=True)
        assert [row["seen"] for row in world.rows("rejects")] == [2]


def test_tombstones_bury_what_they_name(world, monkeypatch):
    """By a cursor of their own; the record keeps its table, and comes back when it is made again."""
    told = Tombstones(path="/v1/graves", pull=listed(), at=iso("deleted_at"))
    with rigged(world, monkeypatch, [notes(tombstones="graves"), GRAVES], stream(deletes=(told,))) as rig:
        keys = rig.make(25)
        rig.sync()
        for key in keys[:12]:
            rig.vendor.clock.advance(1)
            rig.vendor.delete("notes", key)
        runs = rig.sync()
        assert {run["list"]: counts(run).get("deleted", 0) for run in runs} == {"rows": 0, "deletes": 12}
        assert rig.held() == rig.truth()
        assert rig.vendor.clock.now() - SECOND < rig.cursor("deletes") <= rig.vendor.clock.now()
        asked = len(rig.asked("/v1/graves"))
        rig.sync()
        assert len(rig.asked("/v1/graves")) == asked + 1

        rig.vendor.clock.advance(1)
        rig.vendor.create("notes", keys[0], {"text": "again"})
        rig.sync()
        assert rig.held() == rig.truth()


def test_a_tombstone_without_its_time_is_a_reject(sqlite_world, monkeypatch):
    """It buries nothing, and stops no other."""
    told = Tombstones(path="/v1/graves", pull=listed(), at=iso("removed_at"))
    with rigged(sqlite_world, monkeypatch, [notes(tombstones="graves"), GRAVES], stream(deletes=(told,))) as rig:
        keys = rig.make(5)
        rig.sync()
        rig.vendor.delete("notes", keys[0])
        runs = rig.sync()
        assert [run["state"] for run in runs] == ["done", "done"]
        assert counts(runs[1])["rejected"] == 1
        assert len(rig.held()) == 5


@pytest.mark.parametrize("get", [get_one(), None])
def test_equal_versions_with_other_content_are_asked_for(world, monkeypatch, get):
    """Neither wins by arrival: what the vendor says now does, where it can be asked."""
    with rigged(world, monkeypatch, notes(), stream(get=get)) as rig:
        (key,) = rig.make(1)
        rig.sync()
        same = 'UPDATE acme_notes SET payload = \'{"text": "stored by another"}\', digest = 1, changed_at = :late'
        world.execute(same, late="2100-01-01 00:00:00.000000")
        before = len(rig.asked(f"/v1/notes/{key}"))
        rig.sync(full=True)
        assert len(rig.asked(f"/v1/notes/{key}")) == before + bool(get)


def test_a_field_that_appears_is_noticed(sqlite_world, monkeypatch):
    """Drift is a notice; the payload has it all."""
    with rigged(sqlite_world, monkeypatch, notes(), stream()) as rig:
        rig.make(40)
        rig.sync()
        rig.vendor.clock.advance(60)
        rig.vendor.create("notes", None, {"text": "new", "colour": "red"})
        rig.sync()
        assert rig.held() == rig.truth()
        assert "colour" in {row["path"].removeprefix("$.") for row in sqlite_world.rows("drift")}
