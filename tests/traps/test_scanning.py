"""Reading a list while it changes: ties, rows that show late, rows edited under way, positions and their data."""

import pytest

from connectors import Sweep, Timestamp, keyset
from sync.kit.vendor import link
from sync.kit.vendor.times import SECOND
from sync.store import leases
from tests.traps.rig import NOON, UPDATED, killed_at, killed_on, listed, notes, rigged, stream

DIALECTS = {
    "tokens": (notes(), listed(size=100)),
    "keyset": (notes(paging=link(), rows=""), keyset("updated_at", size=("per_page", 100))),
}


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("span", [0, 1], ids=["alone", "gathered"])
def test_cursor_ties(world, monkeypatch, dialect, span):
    """250 rows of one time, 100 a page: all land, and so does the one that gets this time after the pass."""
    collection, pull = DIALECTS[dialect]
    with rigged(world, monkeypatch, collection, stream(pull), span=span) as rig:
        rig.make(250, apart=0)
        rig.vendor.clock.advance(60)
        (run,) = rig.sync()
        assert run["state"] == "done"
        assert rig.held() == rig.truth()

        rig.vendor.create("notes", None, {"text": "one more at noon"}, at=NOON)
        rig.sync()
        assert rig.held() == rig.truth()


@pytest.mark.parametrize("rule", ["lookback", "safe_lag"])
def test_visibility_lag(world, monkeypatch, rule):
    """A row that shows 90 seconds late, with its old time, lands though a newer one was seen before it."""
    cursor = Timestamp(field=UPDATED, **{rule: "2 minutes"})
    with rigged(world, monkeypatch, notes(), stream(cursor=cursor)) as rig:
        rig.make(5)
        rig.sync()
        rig.vendor.clock.advance(600)
        rig.vendor.create("notes", None, {"text": "in time"})
        rig.sync()

        rig.vendor.clock.advance(30)
        rig.vendor.create("notes", None, {"text": "late"}, at=rig.vendor.clock.now() - 90 * SECOND)
        rig.sync()
        assert rig.held() == rig.truth()


@pytest.mark.parametrize("span", [0, 1], ids=["alone", "gathered"])
def test_row_edited_during_the_scan(world, monkeypatch, span):
    """A row edited after its page was read, by a list that doesn't move it, is caught by the next sync, though a
    later edit was seen by this one."""
    with rigged(world, monkeypatch, notes(order="id"), stream(), span=span) as rig:
        first, *_, last = rig.make(30)

        def edits() -> None:
            rig.vendor.clock.advance(5)
            rig.vendor.update("notes", first, {"text": "edited under way"})
            rig.vendor.clock.advance(5)
            rig.vendor.update("notes", last, {"text": "edited later"})

        rig.after(1, edits)
        rig.sync()
        assert rig.held()[str(last)]["text"] == "edited later"
        assert rig.held()[str(first)]["text"] == "note 0"

        rig.vendor.clock.advance(60)
        rig.sync()
        assert rig.held() == rig.truth()


def test_bookmark_saved_before_data(world, monkeypatch):
    """A worker killed before any statement and before any commit of a sync: after its lease the
    next worker brings the table to the source, and no run says that it is done before that."""
    with rigged(world, monkeypatch, notes(), stream(deletes=(Sweep(confirm="order"),))) as rig:
        rig.make(25)
        rig.sync()
        step, steps = 0, 1
        while step < steps:
            step += 1
            rig.vendor.clock.advance(3600)
            for key in (3, 11, 18, 24):
                rig.vendor.update("notes", key, {"text": f"killed at {step}"})
            rig.open(full=True)
            rig.world.ring()
            with killed_at(world, step) as counted:
                rig.world.deliver()
            steps = max(steps, counted[0] + 1)
            rig.kill()
            rig.until_settled(2)
            assert rig.held() == rig.truth(), f"killed at step {step} of {steps}"
            assert {row["state"] for row in rig.slices()} == {"done"}, f"killed at step {step} of {steps}"
        assert steps > 20


def test_descending_order(world, monkeypatch):
    """Newest first: a pass killed on page 2 of 5 goes on there, and one that is given up there moves no cursor."""
    with rigged(world, monkeypatch, notes(descending=True), stream(order="descending")) as rig:
        rig.make(10)
        rig.sync()
        rig.vendor.clock.advance(3600)
        rig.make(45)
        rig.open()
        with killed_on(monkeypatch, leases, "commit", nth=2):
            rig.world.settle()
        rig.kill()
        rig.until_settled()
        assert rig.held() == rig.truth()

        before = rig.cursor()
        rig.vendor.clock.advance(3600)
        rig.make(45)
        rig.after(1, lambda: rig.vendor.withdraw("notes"))
        (run,) = rig.sync()
        assert run["state"] == "failed"
        assert rig.cursor() == before

        rig.vendor.withdraw("notes", "")
        rig.sync()
        assert rig.held() == rig.truth()
