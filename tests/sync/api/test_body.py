"""Bodies: JSON or the fields of a form, nested as Stripe wants them."""

from urllib.parse import parse_qsl

import pytest

from connectors import ContractError
from sync.api.body import encoded


@pytest.mark.parametrize(
    ("form", "fields"),
    [
        ({"url": "https://a.example/?x=1&y"}, [("url", "https://a.example/?x=1&y")]),
        ({"a": {"b": 1, "c": {"d": "ü"}}}, [("a[b]", "1"), ("a[c][d]", "ü")]),
        ({"events": ["x", "y"]}, [("events[0]", "x"), ("events[1]", "y")]),
        ({"items": [{"price": 1}, {"price": 2}]}, [("items[0][price]", "1"), ("items[1][price]", "2")]),
        ({"on": True, "off": False, "none": None, "empty": ""}, [("on", "true"), ("off", "false"), ("empty", "")]),
        ({"a": {"b": None}, "c": []}, []),
    ],
)
def test_a_forms_names_nest(form, fields):
    body, headers = encoded(None, form)
    assert body is not None
    assert parse_qsl(body.decode(), keep_blank_values=True) == fields
    assert headers == {"Content-Type": "application/x-www-form-urlencoded", "Content-Length": str(len(body))}


def test_json_is_sent_as_it_is_and_nothing_as_nothing():
    assert encoded({"a": [1]}, None) == (b'{"a":[1]}', {"Content-Type": "application/json", "Content-Length": "9"})
    assert encoded(None, None) == (None, {})


def test_a_request_has_one_body():
    with pytest.raises(ContractError, match="one body"):
        encoded({}, {})
