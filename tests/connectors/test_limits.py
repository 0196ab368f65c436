"""The vocabulary of limits."""

import math
import time
from dataclasses import FrozenInstanceError
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import Concurrency, ContractError, Cost, FixedWindow, Headers, MinInterval, TokenBucket, limit
from connectors._limits import parse_wait, scoped

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
FORMATS = ("seconds", "delta_s", "epoch_s", "epoch_ms", "iso", "http_date", "guess")


@pytest.mark.parametrize(
    ("text", "count", "per_seconds", "burst"),
    [
        ("100/second", 100, 1, 20),
        ("5000/hour", 5000, 3600, 1000),
        ("600/minute", 600, 60, 120),
        ("100/10 seconds", 100, 10, 20),
        ("1,000/day", 1000, 86_400, 200),
        (" 25 / second ", 25, 1, 5),
        ("1/second", 1, 1, 1),
        ("9/second", 9, 1, 1),
    ],
)
def test_a_limit_is_read_from_text_with_a_burst_of_at_most_a_fifth(text, count, per_seconds, burst):
    assert limit(text) == TokenBucket(count, per_seconds, burst)


@pytest.mark.parametrize(
    "text", ["", "100", "/second", "fast/second", "-1/second", "100/fortnight", "0/second", "1/0 s"]
)
def test_a_text_that_is_no_limit_is_refused(text):
    with pytest.raises(ContractError):
        limit(text)


def test_options_go_along_with_the_text():
    headers = Headers(reset="retry-after", format="seconds")
    assert limit("10/second", burst=7, scope="{app}", share=0.4, unit="call", feedback=headers) == TokenBucket(
        10, 1, 7, scope="{app}", share=0.4, unit="call", feedback=headers
    )


@pytest.mark.parametrize(
    ("declare", "sentence"),
    [
        (lambda: TokenBucket(10, share=0), "share"),
        (lambda: TokenBucket(10, share=1.1), "share"),
        (lambda: TokenBucket(0), "limit"),
        (lambda: TokenBucket(10, 1, 0.5), "burst"),
        (lambda: TokenBucket(10, scope="{a.b}"), "scope"),
        (lambda: TokenBucket(10, scope="{a!r}"), "scope"),
        (lambda: TokenBucket(10, scope="{}"), "scope"),
        (lambda: TokenBucket(10, scope="{a"), "scope"),
        (lambda: TokenBucket(10, unit="points"), "unit"),  # type: ignore[arg-type]  # what it is about
        (lambda: FixedWindow(0, 60), "limit"),
        (lambda: FixedWindow(10, 60, "Europe/Berlin"), "zone"),
        (lambda: FixedWindow(10, 86_400, "Europe/Atlantis"), "zone"),
        (lambda: FixedWindow(10, 86_400, "../x"), "zone"),
        (lambda: Concurrency(0), "maximum"),
        (lambda: Concurrency(1, 0), "lease_seconds"),
        (lambda: Concurrency(1, feedback=Headers()), "feedback"),
        (lambda: MinInterval(0), "seconds"),
        (lambda: Cost("a", per_second=50, burst=0), "burst"),
        (lambda: Cost("a", per_second=50, burst=100, expected=0), "expected"),
        (lambda: Headers(format="stardate"), "format"),  # type: ignore[arg-type]  # what it is about
    ],
)
def test_a_declaration_that_makes_no_sense_names_the_word_to_change(declare, sentence):
    with pytest.raises(ContractError, match=sentence):
        declare()


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (limit("100/second"), "100/second"),
        (limit("100/10 seconds", share=0.4), "40% of 100/10 seconds"),
        (FixedWindow(30, 60), "30 in each minute"),
        (FixedWindow(250_000, 86_400, "Europe/Berlin"), "250000 in each day"),
        (Concurrency(5), "5 at once"),
        (MinInterval(0.5), "one each 0.5 seconds"),
        (Cost("extensions.available", per_second=50, burst=100), "points of extensions.available"),
    ],
)
def test_a_limit_reads_as_people_say_it(one, text):
    assert str(one) == text


def test_a_limit_is_a_value():
    assert len({limit("100/second"), TokenBucket(100, 1), limit("101/second")}) == 2
    with pytest.raises(FrozenInstanceError):
        limit("100/second").limit = 200  # type: ignore[misc]  # what it is about


def test_scopes_of_different_names_never_meet():
    names = {"credential": "7", "connection": "7", "stream": "issues"}
    assert scoped("{credential}", names) == "credential=7"
    assert scoped("{connection}", names) == "connection=7"
    assert scoped("{credential}:{stream}", names) == "credential=7:stream=issues"
    assert scoped("{credential}:search", names, "{0} {1}") == "credential 7:search"


def test_a_scope_without_its_name_says_which_is_missing():
    with pytest.raises(ContractError, match="'base'"):
        scoped("{base}", {"credential": "7"})


@pytest.mark.parametrize(
    ("value", "format_", "wait"),
    [
        ("30", "seconds", 30),
        (30, "delta_s", 30),
        ("0.25", "delta_s", 0.25),
        ("-5", "delta_s", 0),
        (str(int(NOON) + 90), "epoch_s", 90),
        (str(int(NOON) - 90), "epoch_s", 0),
        (str((int(NOON) + 90) * 1000), "epoch_ms", 90),
        ("2026-03-01T12:01:30Z", "iso", 90),
        ("2026-03-01T13:01:30+01:00", "iso", 90),
        ("2026-03-01T12:01:30", "iso", 90),
        ("Sun, 01 Mar 2026 12:01:30 GMT", "http_date", 90),
        ("Sun, 01 Mar 2026 12:01:30 -0000", "http_date", 90),
        ("Sunday, 01-Mar-26 12:01:30 GMT", "http_date", 90),
        ("30", "guess", 30),
        ("86400", "guess", 86_400),
        (str(int(NOON) + 90), "guess", 90),
        (str((int(NOON) + 90) * 1000), "guess", 90),
        ("2026-03-01T12:01:30Z", "guess", 90),
        ("Sun, 01 Mar 2026 12:01:30 GMT", "guess", 90),
    ],
)
def test_every_spelling_of_a_wait_becomes_seconds(value, format_, wait):
    assert parse_wait(value, format_, NOON) == pytest.approx(wait)


@pytest.fixture
def tokyo(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("value", "format_"), [("2026-03-01T12:01:30", "iso"), ("Sun, 01 Mar 2026 12:01:30 -0000", "http_date")]
)
def test_a_date_without_a_zone_is_utc_wherever_we_run(tokyo, value, format_):
    assert parse_wait(value, format_, NOON) == pytest.approx(90)


@pytest.mark.parametrize("format_", FORMATS)
@pytest.mark.parametrize(
    "value", ["", "soon", "nan", "inf", "-inf", None, "9" * 400, "1e400", "0000-00-00", ", ,", b"x"]
)
def test_a_wait_that_says_nothing_is_none(value, format_):
    assert parse_wait(value, format_, NOON) is None


@given(st.one_of(st.text(), st.integers(), st.floats(), st.datetimes().map(str)), st.sampled_from(FORMATS))
def test_garbage_never_raises_and_a_wait_is_never_negative(value, format_):
    wait = parse_wait(value, format_, NOON)
    assert wait is None or (wait >= 0 and math.isfinite(wait))
