"""Schedule rules: when something is due again."""

from datetime import UTC, datetime, timedelta

import pytest

from sync.rules import Rule, RuleError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


def test_an_interval_keeps_its_beat():
    """The next due time is counted from the last one, not from when it was served: it doesn't drift."""
    rule = Rule("every 15 minutes")
    assert rule.after(NOON + timedelta(seconds=40), due=NOON) == NOON + timedelta(minutes=15)
    assert rule.after(NOON) == NOON + timedelta(minutes=15)


@pytest.mark.parametrize("missed", [1, 7, 1000])
def test_missed_times_are_caught_up_once(missed):
    """After an outage the next due time lies ahead, on the beat."""
    rule, now = Rule("every 1 hour"), NOON + timedelta(hours=missed, minutes=10)
    assert rule.after(now, due=NOON) == NOON + timedelta(hours=missed + 1)
    assert Rule("0 * * * *").after(now, due=NOON) == NOON + timedelta(hours=missed + 1)


def test_cron_is_read_in_its_zone():
    assert Rule("30 2 * * *", "Asia/Tokyo").after(NOON) == datetime(2026, 3, 1, 17, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("30 2 * * *", ["2026-03-28", "2026-03-29", "2026-03-30"]),  # 2:30 is not there on the 29th
        ("30 2 * * *", ["2026-10-24", "2026-10-25", "2026-10-26"]),  # and comes twice on the 25th
    ],
)
def test_a_daily_time_fires_once_on_the_day_the_clocks_change(text, days):
    rule, moment, fired = Rule(text, "Europe/Berlin"), datetime.fromisoformat(f"{days[0]}T00:00+00:00"), []
    for _ in days:
        moment = rule.after(moment)
        fired.append(str(moment.date()))
    assert fired == days


def test_jitter_shifts_by_less_than_it_says_and_differs():
    """Connections with the same rule don't move in step."""
    rule = Rule("every 1 hour", jitter=60)
    shifts = {(rule.after(NOON) - NOON).total_seconds() - 3600 for _ in range(50)}
    assert len(shifts) > 10
    assert all(0 <= shift <= 60 for shift in shifts)


@pytest.mark.parametrize(
    ("text", "zone", "sentence"),
    [
        ("every quarter", "UTC", "'every quarter' is neither an interval"),
        ("hourly", "UTC", "'hourly' is neither an interval"),
        ("61 * * * *", "UTC", "neither"),
        ("0 0 30 2 *", "UTC", "neither"),  # there is no 30 February
        ("0 * * * *", "Europe/Atlantis", "no time zone 'Europe/Atlantis'"),
        ("every 100 ms", "UTC", "shortest interval is 1 second"),
        ("", "UTC", "neither"),
    ],
)
def test_a_rule_that_cant_be_read_is_refused_when_it_is_given(text, zone, sentence):
    with pytest.raises(RuleError, match=sentence):
        Rule(text, zone)
