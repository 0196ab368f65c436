"""Moments: how they are spelled, read and rounded, and a clock that obeys."""

import pytest

from sync.kit.vendor import Clock, moment
from sync.kit.vendor.times import SECOND, floor, parse


@pytest.mark.parametrize(
    ("stamps", "shown"),
    [
        ("iso", "2026-03-01T00:00:00.000000Z"),
        ("iso_seconds", "2026-03-01T00:00:00Z"),
        ("iso_mixed", "2026-03-01T00:00:00Z"),
        ("iso_offset", "2026-03-01T01:00:00.000+01:00"),
        ("epoch", 1_772_323_200),
        ("epoch_ms", 1_772_323_200_000),
        ("slack", "1772323200.000000"),
    ],
)
def test_stamps_are_spelled_as_declared(notes, stamps, shown):
    assert notes(1, stamps=stamps).truth("notes")["1"]["updated_at"] == shown


@pytest.mark.parametrize(
    ("text", "zone"),
    [
        ("2026-07-01T12:00:00Z", "UTC"),
        ("2026-07-01T14:00:00.000+02:00", "UTC"),
        ("2026-07-01 14:00", "Europe/Berlin"),
        ("2026-07-01T12:00:00", "UTC"),
        ("1782907200", "UTC"),
        ("1782907200.000000", "UTC"),
        ("1782907200000", "UTC"),
    ],
)
def test_a_moment_is_read_however_it_is_spelled(text, zone):
    assert parse(text, zone) == moment(2026, 7, 1, 12)


def test_a_bucket_begins_where_its_zone_says():
    at = moment(2026, 7, 1, 23, 59, 30) + 5
    assert floor(at, 0) == at
    assert floor(at, 60) == moment(2026, 7, 1, 23, 59)
    assert floor(at, 86_400) == moment(2026, 7, 1)
    assert floor(at, 86_400, "Europe/Berlin") == moment(2026, 7, 1, 22)
    assert floor(at, 86_400, "Asia/Kolkata") == moment(2026, 7, 1, 18, 30)


def test_a_stopped_clock_moves_only_when_told():
    clock = Clock(at=moment(2026))
    assert clock.now() == clock.now() == moment(2026)
    clock.advance(1.5)
    assert clock.now() == moment(2026) + 1_500_000


def test_advancing_takes_limits_along_and_shifting_does_not():
    clock = Clock()
    before = clock.elapsed_s()
    clock.shift(1e6)
    assert clock.elapsed_s() - before < 1e5
    clock.advance(1e6)
    assert clock.elapsed_s() - before >= 1e6
    assert clock.now() >= Clock().now() + 1_999_000 * SECOND
