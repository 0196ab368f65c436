"""Whose time it is, in which zone, how coarse, and how it is spelt."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from connectors import Timestamp, keyset
from sync.kit.vendor import Since, link, moment
from sync.kit.vendor.times import SECOND, micros, utc
from tests.traps.rig import HOUR, MINUTE, NOON, UPDATED, listed, notes, rigged, stream

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize("minutes", [-10, 0, 10])
def test_clock_skew(sqlite_world, monkeypatch, minutes):
    """Ten minutes between the vendor's clock and ours: a row edited under way is caught all the same, and the
    cursor stands where the vendor's own time says."""
    with rigged(sqlite_world, monkeypatch, notes(order="id"), stream(), at=None) as rig:
        rig.vendor.clock.shift(minutes * 60)
        first, *_, last = rig.make(30)
        begun = rig.vendor.clock.now()

        def edits() -> None:
            rig.vendor.clock.advance(5)
            rig.vendor.update("notes", first, {"text": "edited under way"})
            rig.vendor.clock.advance(5)
            rig.vendor.update("notes", last, {"text": "edited later"})

        rig.after(1, edits)
        rig.sync()
        assert begun - 3 * SECOND < rig.cursor() < begun + 3 * SECOND

        rig.sync()
        assert rig.held() == rig.truth()


def _jira(**changes):
    """Jira's filter: minutes, in the account's zone."""
    cursor = Timestamp(
        field=UPDATED, wire_format="%Y-%m-%d %H:%M", granularity="1 minute", zone="Europe/Berlin", **changes
    )
    return notes(since=Since(param="since", granularity_s=60, zone="Europe/Berlin")), stream(cursor=cursor)


@pytest.mark.parametrize("read_as", [0, 1], ids=["first", "second"])
def test_time_zones_and_precision(sqlite_world, monkeypatch, read_as):
    """A filter of minutes in the account's zone, through the hour that the clocks go through twice, whichever of
    the two the vendor takes it for: no edit is missed, also not the second one within a minute."""
    monkeypatch.setattr("sync.kit.vendor.filters.parse", lambda text, zone: _read(text, zone, read_as))
    collection, jira = _jira()
    with rigged(sqlite_world, monkeypatch, collection, jira, at=moment(2026, 10, 24, 23, 30)) as rig:
        rig.make(5, apart=MINUTE)
        rig.sync()
        for _ in range(16):  # from 01:30 to 03:10 by the clocks of Berlin, of which an hour comes twice
            rig.vendor.clock.advance(600)
            for second in ("one", "two"):
                rig.vendor.clock.advance(1)
                rig.vendor.update("notes", 1, {"text": f"{second} of {utc(rig.vendor.clock.now())}"})
                rig.sync()
                assert rig.held() == rig.truth()
        assert rig.asked()[-1].query["since"].endswith("2026-10-25 03:10")


def _read(text: str, zone: str, fold: int) -> int:
    return micros(datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=ZoneInfo(zone), fold=fold))


def test_time_zones_and_precision_of_the_records(sqlite_world, monkeypatch):
    """Records whose stamps are cut to the minute, while the pass's start isn't: what was edited after its page
    was read is caught, though its stamp lies before the start."""
    cursor = Timestamp(field=UPDATED, granularity="1 minute")
    with rigged(sqlite_world, monkeypatch, notes(order="id"), stream(cursor=cursor), at=NOON + 30 * SECOND) as rig:
        first, *_, last = rig.make(30, apart=MINUTE)

        def edits() -> None:
            rig.vendor.update("notes", first, {"text": "edited at 12:00:45"}, at=NOON)
            rig.vendor.update("notes", last, {"text": "edited at 12:01:10"}, at=NOON + MINUTE)

        rig.after(1, edits)
        rig.sync()
        assert rig.held()[str(last)]["text"] == "edited at 12:01:10"
        rig.vendor.clock.advance(120)
        rig.sync()
        assert rig.held() == rig.truth()


@pytest.mark.parametrize("dialect", ["tokens", "keyset"])
@pytest.mark.parametrize("stamps", ["iso_mixed", "iso_offset"])
def test_mixed_precision_text(world, monkeypatch, stamps, dialect):
    """`…05Z`, `…05.123Z` and `…05.123+02:00` are times, not texts: the later edit wins whichever is the greater
    text, and the cursor never goes backwards."""
    paging = {"paging": link(), "rows": ""} if dialect == "keyset" else {}
    pull = keyset("updated_at", size=("per_page", 10)) if dialect == "keyset" else listed()
    with rigged(
        world, monkeypatch, notes(stamps=stamps, **paging), stream(pull), at=moment(2026, 10, 25, 0, 59, 59)
    ) as rig:
        rig.make(25, apart=HOUR // 20)
        rig.sync()
        positions = [rig.cursor()]
        for micro in (0, 123_000, 877_000, 1_000_000, 500_000, 1_800_000_000, 2_000_000_000):
            rig.vendor.clock.advance(micro / SECOND)
            rig.vendor.update("notes", 1, {"text": f"after {micro}"})
            rig.sync()
            assert rig.held() == rig.truth()
            positions.append(rig.cursor())
        assert positions == sorted(positions)
