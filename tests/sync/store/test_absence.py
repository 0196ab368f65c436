"""Absence: tombstones by feed, by sweep and with the parent."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sync.store import absence
from sync.store.absence import Seen, guard
from sync.store.database import read, write
from sync.store.identity import hashed
from tests.sync.store.conftest import START, Lab, thing

LATER = timedelta(hours=1)


def version(seconds: float) -> int:
    return round((START + timedelta(seconds=seconds)).timestamp() * 1_000_000)


def bury(lab: Lab, asked_at=None, **gone: float):
    with write(lab.engine) as connection:
        deaths = {key: version(at) for key, at in gone.items()}
        return absence.bury(connection, lab.mirror, lab.id, deaths, asked_at)


def missing(lab: Lab, *seen: str, parent=None, began=LATER):
    pages = [hashed(key) for key in seen]
    with read(lab.engine) as connection:
        return absence.absent(connection, lab.mirror, lab.id, parent, pages, lab.now() + began)


def buried(lab: Lab, *keys: str, as_of=0, began=LATER):
    with write(lab.engine) as connection:
        return absence.bury_absent(connection, lab.mirror, lab.id, keys, as_of, lab.now() + began)


def test_a_newer_deletion_makes_a_tombstone_that_keeps_the_payload(lab):
    lab.land(thing("a", 1, name="n"))
    assert bury(lab, a=2).deleted == ["a"]
    row = lab.one()
    assert (row.deleted_at is not None, row.version, row.name, row.payload["name"]) == (True, version(2), "n", "n")


def test_an_older_deletion_changes_nothing(lab):
    lab.land(thing("a", 3))
    assert bury(lab, a=2).counts() == {"stale": 1}
    assert lab.one().deleted_at is None


def test_a_buried_record_lives_again_only_with_a_newer_version(lab):
    lab.land(thing("a", 1))
    bury(lab, a=5)
    assert lab.land(thing("a", 4)).counts() == {"stale": 1}
    assert lab.land(thing("a", 6)).revived == ["a"]
    assert lab.one().deleted_at is None


def test_a_deletion_of_an_unknown_record_keeps_its_old_version_out(lab):
    assert bury(lab, a=5).unknown == ["a"]
    assert lab.land(thing("a", 4)).counts() == {"stale": 1}
    assert lab.one().deleted_at is not None
    assert lab.land(thing("a", 6)).revived == ["a"]


def test_a_later_deletion_raises_the_tombstones_version_and_is_no_news(lab):
    bury(lab, a=5)
    before = lab.one()
    assert bury(lab, a=9).counts() == {"unchanged": 1}
    assert (lab.one().version, lab.one().deleted_at) == (version(9), before.deleted_at)
    assert lab.land(thing("a", 7)).counts() == {"stale": 1}


def test_what_was_buried_twice_still_lives_again(lab):
    lab.but(version=None, cursor=None)
    lab.land({"id": "a"}, as_of=version(1))
    bury(lab, a=5)
    bury(lab, a=9)
    assert lab.land({"id": "a"}, as_of=version(10)).revived == ["a"]


def test_a_deletion_as_new_as_the_record_ties_unless_it_was_asked_for_later(lab):
    lab.land(thing("a", 5))
    assert bury(lab, a=5).tied == ["a"]
    assert lab.one().deleted_at is None
    assert bury(lab, lab.now() + LATER, a=5).deleted == ["a"]
    assert bury(lab, lab.now() + LATER, a=5).counts() == {"unchanged": 1}


def test_absent_are_the_live_rows_that_were_not_seen(lab):
    lab.land(*(thing(key, 1) for key in "abcd"))
    bury(lab, d=5)
    assert missing(lab, "a", "c") == [("b", version(1))]


def test_rows_changed_since_the_pass_began_are_not_absent(lab):
    lab.land(thing("a", 1))
    assert missing(lab, began=-LATER) == []
    assert buried(lab, "a", began=-LATER) == []


def test_absence_is_looked_for_in_one_partition_and_in_one_connection(lab):
    lab.but(name="parts", parent="things", path="/things/{id}/parts")
    lab.land(thing("a", 1), parent="p")
    lab.land(thing("b", 1), parent="q")
    assert [key for key, _ in missing(lab, parent="p")] == ["a"]
    with read(lab.engine) as connection:
        assert absence.live(connection, lab.mirror, lab.id, "p") == 1
        assert absence.live(connection, lab.mirror, lab.id, None) == 2
        assert absence.live(connection, lab.mirror, lab.id + 1, None) == 0
    lab.id += 1
    assert missing(lab) == []


def test_the_table_is_read_in_chunks(lab, monkeypatch):
    monkeypatch.setattr(absence, "_READ", 7)
    keys = [f"k{n:02}" for n in range(28)]
    lab.land(*(thing(key) for key in keys))
    assert [key for key, _ in missing(lab, "k03")] == [key for key in keys if key != "k03"]


def test_what_is_proved_absent_is_buried_and_returns_with_its_version(lab):
    lab.land(thing("a", 1), thing("b", 1))
    assert buried(lab, "a", "x") == ["a"]
    assert (lab.one().deleted_at is not None, lab.one().version) == (True, version(1))
    assert lab.land(thing("a", 1), asked_at=lab.now() + LATER).revived == ["a"]


def test_an_answer_asked_for_before_the_burial_does_not_undo_it(lab):
    lab.land(thing("a", 1))
    asked_at = lab.now()
    buried(lab, "a")
    assert lab.land(thing("a", 1), asked_at=asked_at).tied == ["a"]
    assert lab.one().deleted_at is not None


def test_where_the_request_is_the_version_the_pass_start_becomes_the_tombstones(lab):
    lab.but(version=None, cursor=None)
    lab.land({"id": "a"}, as_of=10)
    buried(lab, "a", as_of=50)
    assert lab.land({"id": "a", "late": 1}, as_of=40).counts() == {"stale": 1}
    assert lab.land({"id": "a"}, as_of=60).revived == ["a"]


def test_children_go_with_their_parent(lab):
    lab.but(name="parts", parent="things", path="/things/{id}/parts")
    lab.land(thing("a", 1), thing("b", 1), parent="p")
    lab.land(thing("c", 1), parent="q")
    with write(lab.engine) as connection:
        assert sorted(absence.with_parent(connection, lab.mirror, lab.id, ["p", "x"])) == ["a", "b"]
    with write(lab.engine) as connection:
        assert absence.with_parent(connection, lab.mirror, lab.id, ["p"]) == []
    assert {key for key, row in lab.rows().items() if row.deleted_at} == {"a", "b"}


@pytest.mark.parametrize(
    ("total", "gone", "held"),
    [(1, 1, False), (2, 1, False), (2, 2, True), (3, 1, False), (3, 3, True), (10, 5, False), (50, 5, False),
     (50, 6, True), (50, 50, True), (1000, 100, False), (1000, 101, True), (0, 0, False)],
)  # fmt: skip
def test_the_guard_holds_what_is_too_much(total, gone, held):
    assert (guard(total, gone, 0.10) is not None) is held


def test_the_guard_names_the_numbers_and_takes_an_approval_as_a_ceiling():
    assert "50 of 50" in (guard(50, 50, 0.10) or "")
    assert guard(50, 50, 0.10, approved=50) is None
    assert guard(60, 60, 0.10, approved=50) is not None


@given(st.sets(st.binary(min_size=8, max_size=8)), st.sets(st.binary(min_size=8, max_size=8)))
def test_seen_holds_exactly_what_was_put_in(inside, outside):
    seen = Seen([b"".join(inside)])
    assert all(one in seen for one in inside)
    assert not any(one in seen for one in outside - inside)


def test_seen_is_not_fooled_by_what_lies_across_two_hashes():
    one, two = b"\0\0\0\0abcd", b"\0\0efghij"
    across = (one + two)[2:10]
    assert across not in Seen([one + two])
    assert across in Seen([one + two, across])
