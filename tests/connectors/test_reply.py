"""Replies: rows are cut out as they came, and what is not there is an error, never an empty list."""

from collections.abc import Mapping

import msgspec
import pytest

from connectors import ContractError, Reply, Rows


def reply(body: bytes, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    return Reply(status, headers or {}, body, "https://vendor.test/things", 0)


def test_rows_are_the_bytes_that_came() -> None:
    """Numbers beyond a float, spaces and the order of members stay as they are."""
    rows = reply(b'{"data": [{"b": 1.10, "a":12345678901234567890}, {"a": 2}]}').rows("data")
    assert [bytes(raw) for raw in rows.raws] == [b'{"b": 1.10, "a":12345678901234567890}', b'{"a": 2}']
    assert rows.array == b'[{"b": 1.10, "a":12345678901234567890}, {"a": 2}]'
    assert rows[-1] == {"a": 2}
    assert list(rows[:1]) == [{"b": 1.1, "a": 12345678901234567890}]
    assert len(rows) == 2


def test_rows_at_any_depth() -> None:
    """An empty path is the body itself."""
    assert list(reply(b"[1, 2]").rows()) == [1, 2]
    assert list(reply(b'{"response": {"items": [3]}}').rows("response.items")) == [3]


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"{}", r"no array at \$\.data"), (b"", "not a JSON object"), (b"<html>", "not a JSON object"),
        (b'{"data": {"a": 1}}', "is not an array"), (b'{"data": [1, 2', "not a JSON object"),
        (b'{"data": "none"}', "is not an array"), (b"[]", "not a JSON object"), (b"\xff\xfe", "not a JSON object"),
    ],
)  # fmt: skip
def test_what_is_no_list_is_an_error(body: bytes, sentence: str) -> None:
    """A truncated body, a login page, an empty answer: none of them is "no records"."""
    with pytest.raises(ContractError, match=sentence):
        reply(body).rows("data")


def test_null_in_place_of_a_list_is_an_empty_one() -> None:
    """As servers written in Go send it."""
    assert len(reply(b'{"data": null}').rows("data")) == 0


@pytest.mark.parametrize("status", [204, 304])
def test_answer_without_a_body_has_no_rows(status: int) -> None:
    """Nothing there, or nothing new."""
    assert len(reply(b"", status).rows("data")) == 0


def test_value_at_a_path() -> None:
    """None where it is absent; `demand` insists."""
    found = reply(b'{"paging": {"next": "x"}, "none": null, "false": false}')
    assert found["paging.next"] == "x"
    assert found["paging.last"] is None
    assert found["none.deeper"] is None
    assert found.demand("false") is False
    with pytest.raises(ContractError, match=r"nothing at \$\.paging\.last"):
        found.demand("paging.last")


def test_links() -> None:
    """RFC 8288: several, quoted or not, with other parameters, commas in the URL."""
    header = '<https://v.test/?page=2&a=b,c>; rel="next", </last>; title="x; y"; rel=last, <x>; rel="First prev"'
    assert reply(b"[]", headers={"link": header}).link == {
        "next": "https://v.test/?page=2&a=b,c", "last": "/last", "first": "x", "prev": "x",
    }  # fmt: skip
    assert reply(b"[]").link == {}


def test_rows_of_what_a_pull_function_may_return() -> None:
    """Rows, mappings, raw JSON."""
    rows = Rows.of([{"a": 1}, b'{"b": 2}', msgspec.Raw(b'{"c": 3}'), "line 3: broken"])
    assert rows.array == b'[{"a":1},{"b": 2},{"c": 3},"line 3: broken"]'
    assert Rows.of(rows) is rows
