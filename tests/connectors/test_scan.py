"""Cutting JSON where the fast decoder gives up."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import ContractError, Reply
from connectors._scan import elements, members

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet="abc", min_size=1), inner, max_size=4),
    max_leaves=20,
)


@given(st.lists(VALUES, max_size=6), st.sampled_from([None, 1]))
def test_the_elements_are_those_of_the_array(values, indent):
    """Whatever stands between the commas of the outermost bracket, and nothing else."""
    cut = elements(json.dumps(values, indent=indent).encode())
    assert values == [json.loads(one) for one in cut]


@given(st.dictionaries(st.text(alphabet="abcdef", min_size=1), VALUES, max_size=6), st.sampled_from([None, 1]))
def test_the_members_are_those_of_the_object(values, indent):
    """Name by name, as they were written."""
    cut = members(json.dumps(values, indent=indent).encode())
    assert values == {name: json.loads(one) for name, one in cut.items()}


@pytest.mark.parametrize("raw", [b"", b"[1, 2", b'[{"a": 1]', b"{}", b"<html></html>", b"[1] [2]", b"null"])
def test_what_is_no_array_is_refused(raw):
    """A page that was cut short, or isn't JSON, is no page with fewer rows."""
    with pytest.raises(ContractError):
        elements(raw)


@pytest.mark.parametrize("odd", [b'{"id": 2, "a": "\\ud800"}', b'{"id": 2, "a": ' + b"[" * 5000 + b"]" * 5000 + b"}"])
def test_one_record_that_cannot_be_decoded_leaves_its_neighbours(odd):
    """A lone surrogate and a record nested too deep: the page is cut all the same."""
    reply = Reply(200, {}, b'{"data": [{"id": 1}, ' + odd + b', {"id": 3}], "next": "n"}', "https://a.example/", 0)
    rows = reply.rows("data")
    assert [b'{"id": 1}', odd, b'{"id": 3}'] == [bytes(raw) for raw in rows.raws]
    assert reply["next"] == "n"
