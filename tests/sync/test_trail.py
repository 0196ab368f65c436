"""Page tokens that come again are noticed, in constant space."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import ContractError
from sync.trail import Trail


@given(tail=st.integers(0, 40), circle=st.integers(1, 40))
def test_every_circle_is_noticed(tail, circle):
    """However it is entered, after at most about three times its length, and through JSON between any two pages."""
    with pytest.raises(ContractError, match="came twice"):
        walk(tail, circle, 3 * (tail + circle) + 3)


def walk(tail, circle, most):
    trail = Trail()
    for step in range(most):
        place = step if step < tail else tail + (step - tail) % circle
        trail = Trail.of(trail.step({"page": place}).json())


@given(st.lists(st.one_of(st.integers(), st.text(), st.none()), unique=True, max_size=200))
def test_no_list_that_ends_is_accused(tokens):
    """Tokens of any kind that differ are never taken for the same."""
    trail = Trail()
    for token in tokens:
        trail = trail.step(token)


def test_a_pass_that_begins_has_no_trail():
    assert Trail.of(None) == Trail()
