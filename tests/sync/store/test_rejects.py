"""Rejects: bad records wait for a person, with their bytes."""

from types import SimpleNamespace

import pytest

from sync.store import rejects
from sync.store.database import read, write
from sync.store.identity import Rejection
from tests.sync.store.conftest import Lab, thing


def source(lab: Lab, stream="things"):
    return SimpleNamespace(connection_id=lab.id, stream=stream, partition="", run_id=None)


def save(lab: Lab, *rejections: Rejection):
    with write(lab.engine) as connection:
        rejects.save(connection, source(lab), rejections)


def listed(lab: Lab, **wanted):
    with read(lab.engine) as connection:
        return rejects.listed(connection, lab.id, **wanted)


BAD = Rejection("a\0", "$.id", "no key \0", b"\xff\x00{")


def test_a_reject_keeps_its_bytes_and_says_where_it_is_wrong(lab):
    lab.account()
    save(lab, BAD)
    (row,) = listed(lab)
    assert (row.payload, row.path, row.key, row.state, row.seen) == (b"\xff\x00{", "$.id", "a", "dead", 1)


def test_the_same_bytes_are_one_row_that_counts(lab):
    lab.account()
    save(lab, BAD, Rejection("", "$", "other", b"2"))
    save(lab, BAD)
    assert sorted(row.seen for row in listed(lab)) == [1, 2]


def test_nothing_to_save_is_nothing(lab):
    save(lab)
    assert listed(lab) == []


def test_a_reject_that_can_be_stored_now_is_replayed(lab):
    lab.account()
    raw = bytes(lab.read(thing("a", 1, name="n")).raws[0])
    save(lab, Rejection("a", "$", "the disk was full", raw), BAD)
    first = next(row for row in listed(lab) if row.payload == raw)
    with write(lab.engine) as connection:
        assert rejects.replay(connection, lab.mirror, first.id).inserted == ["a"]
    assert lab.one().name == "n"
    assert [row.payload for row in listed(lab)] == [BAD.payload]
    assert [row.payload for row in listed(lab, state="replayed")] == [raw]


def test_a_replay_that_fails_says_what_is_wrong_now(lab):
    lab.account()
    save(lab, Rejection("", "$", "before", b'{"id":null}'))
    (row,) = listed(lab)
    with write(lab.engine) as connection:
        assert rejects.replay(connection, lab.mirror, row.id).counts() == {"rejected": 1}
    (row,) = listed(lab)
    assert (row.path, row.state) == ("$.id", "dead")
    assert row.reason != "before"


def test_a_dropped_reject_stays_dropped_when_it_comes_again(lab):
    lab.account()
    save(lab, BAD)
    with write(lab.engine) as connection:
        assert rejects.drop(connection, [listed(lab)[0].id]) == 1
        assert rejects.drop(connection, [10**9]) == 0
    save(lab, BAD)
    assert listed(lab) == []
    assert listed(lab, state="dropped")[0].seen == 2


def test_a_replayed_reject_that_comes_again_waits_again(lab):
    lab.account()
    raw = bytes(lab.read(thing("a", 1)).raws[0])
    save(lab, Rejection("a", "$", "why", raw))
    with write(lab.engine) as connection:
        rejects.replay(connection, lab.mirror, listed(lab)[0].id)
    save(lab, Rejection("a", "$", "again", raw))
    assert [row.reason for row in listed(lab, stream="things")] == ["again"]


def test_an_unknown_reject_is_an_error_that_says_so(lab):
    with write(lab.engine) as connection, pytest.raises(rejects.UnknownRejectError, match="no reject"):
        rejects.replay(connection, lab.mirror, 10**9)
