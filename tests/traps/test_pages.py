"""Pages that shift, stop early, come short or come again."""

import pytest

from connectors import Sequence as Sequential
from connectors import integer, keyset, offset, sequence
from sync.kit.vendor import Answer, cursor, link
from sync.kit.vendor import offset as by_offset
from sync.kit.vendor import sequence as by_sequence
from sync.settings import settings
from tests.traps.rig import notes, rigged, stream

OFFSET = offset("data", size=("limit", 100), total="total")


@pytest.mark.parametrize(("gone", "made"), [((2,), 0), (range(2, 152), 0), (range(190, 210), 0), ((), 150)])
def test_offset_drift_on_delete_insert(sqlite_world, monkeypatch, gone, made):
    """Rows that are deleted between two pages, one or many, or made at the head, hide no row that stays."""
    with rigged(sqlite_world, monkeypatch, notes(paging=by_offset(), order="id"), stream(OFFSET)) as rig:
        keys = rig.make(350)

        def shift() -> None:
            for place in gone:
                rig.vendor.delete("notes", keys[place])
            for key in range(made):
                rig.vendor.create("notes", -key, {"text": "made at the head"})

        rig.after(2, shift)
        (run,) = rig.sync()
        assert run["state"] == "done"
        stayed = {str(key) for place, key in enumerate(keys) if place not in gone}
        assert stayed <= rig.held().keys()
        assert len(rig.asked()) < 20


def test_result_caps(sqlite_world, monkeypatch):
    """A list that ends at its cap without a word fails the sync, and moves no cursor."""
    capped = notes(paging=by_offset(cap=1000), order="id")
    with rigged(sqlite_world, monkeypatch, capped, stream(OFFSET)) as rig:
        rig.make(1001)
        rig.sync()
        rig.until_settled()
        assert rig.cursor() is None
        (unit,) = rig.slices()
        assert unit["state"] == "dead"
        assert "1001 rows" in unit["reason"]
        assert "no more than 1000" in unit["reason"]


def test_result_caps_by_windows(sqlite_world, monkeypatch):
    """Asked for window by window, such a list shows every row."""
    windowed = notes(paging=link(cap=1000), rows="")
    with rigged(sqlite_world, monkeypatch, windowed, stream(keyset("updated_at", size=("per_page", 100)))) as rig:
        rig.make(1001)
        (run,) = rig.sync()
        assert run["state"] == "done"
        assert rig.held() == rig.truth()


def test_result_caps_that_are_declared(sqlite_world, monkeypatch):
    """Where the vendor doesn't say how many rows there are, the declared cap is the end that is not believed."""
    capped = notes(paging=by_offset(cap=1000, total=""), order="id")
    pull = offset("data", size=("limit", 100), cap=1000)
    with rigged(sqlite_world, monkeypatch, capped, stream(pull)) as rig:
        rig.make(1001)
        rig.sync()
        rig.until_settled()
        (unit,) = rig.slices()
        assert unit["state"] == "dead"
        assert "1000 rows" in unit["reason"]


@pytest.mark.parametrize("trap", ["short_every", "empty_every"])
def test_short_page_is_not_the_end(sqlite_world, monkeypatch, trap):
    """A page with few rows, or none, goes on where the vendor names the next one."""
    with rigged(sqlite_world, monkeypatch, notes(paging=cursor(**{trap: 2})), stream()) as rig:
        rig.make(45)
        (run,) = rig.sync()
        assert run["state"] == "done"
        assert rig.held() == rig.truth()


def test_short_page_is_not_the_end_but_no_progress_is(sqlite_world, monkeypatch):
    """A log that says that there might be more, shows nothing and names the place where we are, is read to its end."""
    dialect = notes(paging=by_sequence(), order="sequence", sequence="seq", since=None)
    pull = sequence("data", param="after_seq", more="more", last="last_seq", size=("limit", 10))
    seq = integer("seq")
    with rigged(sqlite_world, monkeypatch, dialect, stream(pull, at=seq, cursor=Sequential(field=seq))) as rig:
        rig.rewrite(lambda request, answer: _more(answer))
        rig.make(25)
        (run,) = rig.sync()
        assert run["state"] == "done"
        assert rig.held() == rig.truth()
        assert rig.cursor() == 25


def _more(answer: Answer) -> Answer:
    answer.body = answer.body.replace(b'"more":false', b'"more":true')
    return answer


def test_token_loops(world, monkeypatch):
    """A vendor that names the same page for ever: the sync ends, says which token came again, and moves no
    cursor."""
    monkeypatch.setenv("TIDELOCK_SLICE_SECONDS", "0.1")
    settings.cache_clear()
    with rigged(world, monkeypatch, notes(paging=cursor(loop=True)), stream()) as rig:
        rig.make(45)
        rig.open()
        rig.world.settle(most=30)
        rig.until_settled()
        (unit,) = rig.slices()
        assert unit["state"] == "dead"
        assert "came twice" in unit["reason"]
        assert len(rig.asked()) < 20
        assert len(rig.held()) == 10
        assert rig.cursor() is None
