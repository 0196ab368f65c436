"""Durations as people write them."""

import pytest

from connectors import ContractError, seconds


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 seconds", 30), ("1 second", 1), ("5s", 5), ("1 minute", 60), ("2 min", 120), ("3m", 180),
        ("250 ms", 0.25), ("1 millisecond", 0.001), ("10 us", 1e-5), ("1.5 hours", 5400), ("hour", 3600),
        ("30 days", 2_592_000), ("1 Week", 604_800), ("0 seconds", 0),
    ],
)  # fmt: skip
def test_unit_is_read(text: str, expected: float) -> None:
    """Every unit, short or long, one or many; "ms" is not "m" with a plural."""
    assert seconds(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["", "soon", "10", "1 fortnight", "-1 day", "1 day 2 hours"])
def test_what_is_no_duration_is_named(text: str) -> None:
    """The error shows the text and how it is done."""
    with pytest.raises(ContractError, match="is not a duration such as '30 seconds'"):
        seconds(text)
