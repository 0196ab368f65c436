"""Fields: values that can be compared, whatever the vendor's spelling."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import ContractError, Field, epoch, epoch_ms, integer, iso, text

AT = iso("at")
FIVE = 1_750_000_005_000_000


@pytest.mark.parametrize(
    "spelling",
    [
        "2025-06-15T15:06:45Z", "2025-06-15T15:06:45.000Z", "2025-06-15T17:06:45+02:00",
        "2025-06-15T15:06:45.000000+00:00", "20250615T150645Z", "2025-06-15 15:06:45",
    ],
)  # fmt: skip
def test_mixed_spellings_of_one_moment_are_equal(spelling: str) -> None:
    """Precision and offset don't matter: `…05Z`, `…05.000Z`, `…+02:00`."""
    assert AT.instant(spelling) == FIVE


def test_precision_is_kept_to_the_microsecond() -> None:
    """`…05Z` < `…05.123Z` < `…05.123456Z`, where texts would compare wrongly."""
    found = [AT.instant(f"2025-06-15T15:06:05{part}Z") for part in ("", ".123", ".123456")]
    assert found[0] + 123_000 == found[1]
    assert found[1] + 456 == found[2]


@given(st.datetimes(timezones=st.just(UTC)))
def test_any_moment_survives_to_the_microsecond(moment: datetime) -> None:
    """Also far from today, where a float would lose it."""
    back = datetime(1970, 1, 1, tzinfo=UTC) - moment
    assert AT.instant(moment.isoformat()) == -((back.days * 86_400 + back.seconds) * 1_000_000 + back.microseconds)


def test_text_without_offset_is_in_the_zone_of_the_field() -> None:
    """A vendor's local time is a time in the account's zone."""
    assert iso("at", zone="Europe/Berlin").instant("2025-06-15T17:06:45") == FIVE


def test_epochs() -> None:
    """Seconds and milliseconds, as numbers or texts, with fractions."""
    assert epoch("at").instant(1_750_000_005) == epoch("at").instant("1750000005") == FIVE
    assert epoch("at").instant(1_750_000_005.000001) == FIVE + 1
    assert epoch("at").instant("1750000005.123456") == FIVE + 123_456
    assert epoch_ms("at").instant(1_750_000_005_000) == FIVE


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (AT, None), (AT, ""), (AT, 5), (AT, "yesterday"), (AT, "2025-13-01T00:00:00Z"),
        (epoch("at"), None), (epoch("at"), True), (epoch("at"), "soon"), (epoch("at"), "inf"), (epoch("at"), "nan"),
        (epoch("at"), [1]), (epoch("at"), 1e300), (epoch("at"), 10**30),
        (integer("n"), 1.5), (integer("n"), True), (integer("n"), "x"), (integer("n"), 2**63), (integer("n"), None),
    ],
)  # fmt: skip
def test_what_is_no_instant_is_a_value_error(field: Field, value: Any) -> None:
    """Nothing else is raised, so that the engine can reject the one record."""
    with pytest.raises((ValueError, TypeError)):
        field.instant(value)


def test_path_leads_through_levels() -> None:
    """A missing level is None, as is a level of another kind."""
    field = text("address.city")
    assert field.name == "address_city"
    assert field.value(json.loads('{"address": {"city": "Oslo"}}')) == "Oslo"
    payloads: list[Any] = [{}, {"address": None}, {"address": "Oslo"}, {"address": []}, [], None]
    for payload in payloads:
        assert field.value(payload) is None


def test_field_needs_a_path() -> None:
    """An empty path is refused when it is declared."""
    with pytest.raises(ContractError, match="needs a path"):
        text("")
