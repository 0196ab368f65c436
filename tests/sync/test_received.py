"""What came in: a value is read from where it stands, or it is not there; reading never raises."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from connectors import InBody, InHeader, InQuery, InSignature
from sync.received import Received, value_of
from tests.sync.verifiers import request


def in_body(path, body):
    return value_of(InBody(path), request(body))


def test_headers_and_queries():
    received = request(headers={"X-GitHub-Delivery": "72d3", "Empty": ""}, query={"a": "1", "empty": ""})
    assert value_of(InHeader("x-github-delivery"), received) == "72d3"
    assert value_of(InHeader("X-GITHUB-Delivery"), received) == "72d3"
    assert value_of(InQuery("a"), received) == "1"
    for place in (InHeader("Empty"), InHeader("Missing"), InQuery("empty"), InQuery("A"), InSignature("t")):
        assert value_of(place, received) is None


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ('"evt_1"', "evt_1"),
        ('"Zo\\u00eb \\ud83d\\ude00"', "Zoë 😀"),
        ("12", "12"),
        ("-0.50", "-0.50"),
        ("12345678901234567890123", "12345678901234567890123"),
        ("1E400", "1E400"),
        ("true", "true"),
        ("false", "false"),
        ("null", None),
        ('""', None),
        ("[1]", None),
        ("{}", None),
        ("9" * 65, None),
        ("9" * 100_000, None),
        ('"\\ud800"', None),
    ],
)
def test_values_of_the_body(written, value):
    for body in (f'{{"id":{written}}}', f' {{ "x":1, "id" : {written} , "y":[] }} '):
        assert in_body("id", body.encode()) == value
    assert in_body("a.b.id", f'{{"a":{{"b":{{"id":{written}}}}}}}'.encode()) == value


@pytest.mark.parametrize("name", ["id", "event-data", 'a"b', "é", "", "value", "\\"])
def test_names_of_any_kind(name):
    assert in_body(name, json.dumps({"other": 1, name: "found"}).encode()) == "found"
    assert in_body(name, json.dumps({name: "found"}, ensure_ascii=False).encode()) == "found"


BROKEN = [b"", b"{", b"[]", b'"id"', b"nonsense", b'{"id"}', b'{"id":1,}', b'{"id":1} x', b"\x00", b"NaN"]
BROKEN += [
    b"\xff",
    b'{"id":"\xff"}',
    b'{"id":' + b"[" * 1_000_000,
    b'{"x":' + b"[" * 10**5 + b"]" * 10**5 + b',"id":1}',
]


@pytest.mark.parametrize("body", BROKEN, ids=range(len(BROKEN)))
def test_bodies_without_the_value(body):
    assert in_body("id", body) is None
    assert in_body("id.id", body) is None


@pytest.mark.parametrize("broken", ['"\\ud83d"', '"\\udc00\\ud800"', '{"deep":["\\ud800"]}'])
def test_half_a_character_elsewhere_hides_nothing(broken):
    """JavaScript cuts texts in the middle of an emoji, and sends what is left."""
    body = f'{{"note":{broken},"id":"evt_\\ud83d\\ude00","n":12,"in":{{"t":{broken},"id":7}}}}'.encode()
    assert in_body("id", body) == "evt_😀"
    assert in_body("n", body) == "12"
    assert in_body("in.id", body) == "7"
    assert in_body("note", body) is None
    assert in_body("missing", body) is None
    assert in_body("id", b" " * 1024 * 1024 + body) is None  # too long to be gone through slowly


def test_the_last_of_two_counts():
    assert in_body("id", b'{"id":1,"id":2}') == "2"


def test_a_body_is_gone_through_once_for_each_name():
    received = request(b'{"a":{"x":"1","y":"2"}}')
    assert value_of(InBody("a.x"), received) == "1"
    received.body = b"gone"
    assert value_of(InBody("a.y"), received) == "2"
    assert received == Received("POST", received.url, {}, {}, b"gone")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=200, deadline=None)
@given(content=JSON, path=st.lists(st.sampled_from("abc"), min_size=1, max_size=4), plain=st.booleans())
def test_it_is_what_a_whole_decoding_finds(content, path, plain):
    found = content
    for name in path:
        found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, bool):
        found = str(found).lower()
    value = in_body(".".join(path), json.dumps(content, ensure_ascii=plain).encode())
    if found is None or found == "" or isinstance(found, list | dict):
        assert value is None
    else:
        assert value == (found if isinstance(found, str) else json.dumps(found))


@settings(max_examples=300, deadline=None)
@given(body=st.binary(), path=st.text())
def test_any_bytes(body, path):
    value = in_body(path, body)
    assert value is None or value.encode()
