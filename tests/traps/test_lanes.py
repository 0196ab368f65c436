"""Live work beside a backfill that takes all it can get."""

import re
from pathlib import Path

from connectors import Stream, TokenBucket
from sync.kit.vendor import Limit
from sync.store import dispatch
from sync.store.database import write
from tests.traps.rig import listed, notes, rigged, stream

PROCFILE = Path(__file__).parents[2] / "Procfile"
DAILY = TokenBucket(limit=40, per_seconds=86_400, burst=40)


def named(name: str, size: int = 100) -> Stream:
    """The same notes once more."""
    return Stream(name, "/v1/notes", listed(size=size), version=stream().version, cursor=stream().cursor)


def test_backfill_starving_increments(sqlite_world, monkeypatch):
    """A backfill that would use up all requests of the day leaves a fifth of them: a scheduled sync and one that a
    person waits for are served in full beside it, and the vendor refuses nobody."""
    streams = (named("every", size=1), named("due"), named("wanted"))
    vendor = {"limit": Limit(rate=40, window_s=86_400)}
    with rigged(sqlite_world, monkeypatch, notes(), *streams, limits={"default": DAILY}, vendor=vendor) as rig:
        rig.make(60)
        rig.sync(select=["every"], lane="backfill", full=True)
        (waiting,) = rig.slices()
        assert (waiting["state"], waiting["lane"]) == ("deferred", "backfill")
        assert "kept for work before backfill" in waiting["reason"]
        taken = len(rig.asked())
        assert 30 <= taken <= 32

        rig.sync(select=["due"], lane="schedule")
        rig.sync(select=["wanted"], lane="interactive")
        rig.until_settled(2)
        assert rig.held("due") == rig.held("wanted") == rig.truth()
        assert [entry.status for entry in rig.asked()] == [200] * (taken + 2)


def test_backfill_starving_increments_of_places(sqlite_world, monkeypatch):
    """However much of a backfill is on its way, a live slice gets its message: the connection has kept a place for
    it, and so has the lane."""
    streams = (named("every"), named("other"), named("due"))
    with rigged(sqlite_world, monkeypatch, notes(), *streams, connection={"parallel": 2}) as rig:
        rig.open(select=["every", "other"], lane="backfill", full=True)
        assert rung(10) == ["backfill"]
        rig.open(select=["due"], lane="schedule")
        assert rung(1) == ["schedule"]


def rung(in_flight: int) -> list[str]:
    with write() as connection:
        return [lane for _, lane in dispatch.ring(connection, in_flight)]


def test_backfill_starving_increments_of_workers():
    """One of the Procfile's workers takes no backfill."""
    queues = dict(re.findall(r"^(\w+):.* -Q (\S+)", PROCFILE.read_text(), re.MULTILINE))
    assert "backfill" in queues["worker"].split(",")
    assert queues["express"].split(",") == ["interactive", "schedule"]
