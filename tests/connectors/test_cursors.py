"""Cursors: what the vendor is told never lies after the position, whatever its clock face shows."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import ContractError, Cursor, Opaque, Sequence, Stream, Timestamp, integer, iso, whole

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = "%Y-%m-%d %H:%M"


def micros(text: str) -> int:
    return iso("at").instant(text)


def jira(**changes: Any) -> Timestamp:
    """A vendor that reads minutes in the account's zone."""
    kept = {"wire_format": MINUTE, "granularity": "1 minute", "zone": "Europe/Berlin"}
    return Timestamp(field=iso("updated"), **{**kept, **changes})


@pytest.mark.parametrize(
    ("wire_format", "expected"),
    [
        ("iso", "2025-06-15T15:06:45.123456Z"), ("iso_seconds", "2025-06-15T15:06:45Z"), ("epoch", 1_750_000_005),
        ("epoch_ms", 1_750_000_005_123), ("%Y/%m/%d", "2025/06/15"),
    ],
)  # fmt: skip
def test_spelling(wire_format: str, expected: Any) -> None:
    """Every spelling rounds down."""
    cursor = Timestamp(field=iso("at"), wire_format=wire_format)
    assert cursor.wire(1_750_000_005_123_456) == expected


def test_no_position_is_no_bound() -> None:
    """The first pass starts at the beginning."""
    for cursor in (jira(), Sequence(field=integer("seq")), Opaque()):
        assert cursor.wire(None) is None


def test_two_edits_within_one_minute() -> None:
    """The whole minute is read again, so the second edit in it is seen."""
    first, second = micros("2025-06-15T15:06:10Z"), micros("2025-06-15T15:06:50Z")
    assert jira().wire(first) == jira().wire(second) == "2025-06-15 17:06"


def test_day_granularity_is_a_day_of_the_account() -> None:
    """Intercom matches by calendar day of its zone, not of UTC."""
    cursor = jira(wire_format="%Y-%m-%d", granularity="1 day", zone="America/Los_Angeles")
    assert cursor.wire(micros("2025-06-15T03:00:00Z")) == "2025-06-14"


def test_lookback_reads_again() -> None:
    """Records that become visible late lie within the lookback."""
    cursor = Timestamp(field=iso("at"), lookback="90 seconds", wire_format="epoch")
    assert cursor.wire(1_750_000_005_000_000) == 1_750_000_005 - 90


ZONES = ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC", "America/St_Johns"]


@given(
    st.integers(min_value=micros("2015-01-01T00:00:00Z"), max_value=micros("2035-01-01T00:00:00Z")),
    st.sampled_from(ZONES),
    st.sampled_from(["1 microsecond", "1 second", "1 minute", "15 minutes", "1 hour", "1 day"]),
)
def test_no_reading_of_a_local_time_lies_after_the_position(position: int, zone: str, granularity: str) -> None:
    """In the hour that the clocks go through twice, the vendor may mean either; both are early enough."""
    told = jira(zone=zone, granularity=granularity).wire(position)
    local = datetime.strptime(told, MINUTE).replace(tzinfo=ZoneInfo(zone))
    for fold in (0, 1):
        meant = local.replace(fold=fold).astimezone(UTC)
        assert (meant - EPOCH) // timedelta(microseconds=1) <= position


def test_dst_hour_is_read_twice_rather_than_missed() -> None:
    """02:30 in summer time, half an hour before the clocks go back to 02:00 in Berlin."""
    assert jira().wire(micros("2025-10-26T00:30:00Z")) == "2025-10-26 01:30"
    assert jira().wire(micros("2025-10-26T01:30:00Z")) == "2025-10-26 02:30"
    assert jira().wire(micros("2025-03-30T01:30:00Z")) == "2025-03-30 03:30"


def test_position_is_bounded_by_the_start_of_the_pass() -> None:
    """A record edited while the pass ran lies after its start: the position stays before it."""
    cursor = Timestamp(field=iso("at"), safe_lag="1 minute")
    minute = 60_000_000
    assert cursor.advance(None, seen=10 * minute, started=5 * minute) == 4 * minute
    assert cursor.advance(None, seen=3 * minute, started=5 * minute) == 3 * minute


def test_position_never_goes_back() -> None:
    """A pass that saw little, or nothing, leaves it where it was."""
    cursors: tuple[Cursor, ...] = (Timestamp(field=iso("at")), Sequence(field=integer("seq")))
    for cursor in cursors:
        assert cursor.advance(7, seen=5, started=9) == 7
        assert cursor.advance(7, seen=None, started=9) == 7
        assert cursor.advance(None, seen=None, started=9) is None
    assert Opaque().advance("old", None, 9) == "old"
    assert Opaque().advance("old", "new", 9) == "new"


@pytest.mark.parametrize(
    "wrong", [{"granularity": "a while"}, {"lookback": "x"}, {"wire_format": "rfc"}, {"safe_lag": "1"}]
)
def test_cursor_that_cannot_work_is_refused_when_declared(wrong: dict[str, str]) -> None:
    """Not in the middle of the night, when it is first used."""
    with pytest.raises(ContractError):
        Stream("issues", "/issues", whole(), cursor=Timestamp(field=iso("at"), **wrong))
