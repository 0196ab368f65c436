"""Columns: what is projected from a record, quickly where it is as declared and carefully where not."""

import pytest

from connectors import Rows, boolean, epoch, epoch_ms, integer, iso, json, number, text
from sync.store.columns import Projection, at

ZERO = 1_767_225_600_000_000


def project(field, raw: bytes):
    columns, misfits = Projection([field]).of([raw], b"[" + raw + b"]")
    return columns[0][0], [misfit.kind for misfit in misfits]


@pytest.mark.parametrize(
    ("field", "value", "expected"),
    [
        (text("x"), b'"t"', "t"),
        (text("x"), b"12", "12"),
        (text("x"), b"1.50", "1.50"),
        (text("x"), b"true", "true"),
        (text("x"), b'{"a": 1}', '{"a": 1}'),
        (integer("x"), b"9223372036854775807", 2**63 - 1),
        (integer("x"), b'" 12 "', 12),
        (integer("x"), b"12.0", 12),
        (number("x"), b"3", 3.0),
        (number("x"), b'"2.5"', 2.5),
        (boolean("x"), b"false", False),
        (boolean("x"), b'"True"', True),
        (boolean("x"), b"1", True),
        (iso("x"), b'"2026-01-01"', ZERO),
        (iso("x"), b'"2026-01-01T00:00:00"', ZERO),
        (iso("x", zone="Asia/Tokyo"), b'"2026-01-01T09:00:00"', ZERO),
        (iso("x", zone="Asia/Tokyo"), b'"2026-01-01T01:00:00+01:00"', ZERO),
        (epoch("x"), b"1767225600", ZERO),
        (epoch("x"), b"1767225600.5", ZERO + 500_000),
        (epoch_ms("x"), b'"1767225600000"', ZERO),
        (json("x"), b'{"a":[1.50]}', b'{"a":[1.50]}'),
        (json("x"), b"null", None),
        (text("x"), b"null", None),
        (text("x.y.z"), b'{"y":{"z":"deep"}}', "deep"),
        (text("x.y.z"), b'{"y":null}', None),
        (text("x.y.z"), b'{"y":[1]}', None),
        (text("x.y.z"), b"null", None),
    ],
)
def test_a_value_is_read_by_its_kind(field, value, expected):
    assert project(field, b'{"x":%b}' % value) == (expected, [])


@pytest.mark.parametrize(
    ("field", "value", "kind"),
    [
        (integer("x"), b"9223372036854775808", "number"),
        (integer("x"), b"1.5", "number"),
        (integer("x"), b"true", "boolean"),
        (number("x"), b"1e400", "number"),
        (number("x"), b'"nan"', "text"),
        (number("x"), b'"inf"', "text"),
        (number("x"), b"[1]", "list"),
        (boolean("x"), b'"maybe"', "text"),
        (boolean("x"), b"2", "number"),
        (iso("x"), b'"yesterday"', "text"),
        (iso("x"), b'""', "text"),
        (iso("x"), b'"0001-01-01T00:00:00+05:00"', "text"),
        (iso("x"), b"5", "number"),
        (epoch("x"), b"1e30", "number"),
        (epoch("x"), b"{}", "object"),
    ],
)
def test_a_value_of_another_kind_is_null_and_a_misfit(field, value, kind):
    assert project(field, b'{"x":%b}' % value) == (None, [kind])


def test_a_missing_value_is_null():
    for field in (text("x"), integer("x"), json("x"), iso("x"), text("a.b")):
        assert project(field, b"{}") == (None, [])


def test_fields_may_overlap():
    fields = [json("a"), text("a.b"), text("a.b", "again"), integer("a.c"), json("a.c", "raw")]
    raw = b'{"a":{"b":"x","c":3}}'
    columns, misfits = Projection(fields).of([raw], b"[" + raw + b"]")
    assert ([column[0] for column in columns], misfits) == ([b'{"b":"x","c":3}', "x", "x", 3, b"3"], [])


def test_one_wild_record_leaves_its_neighbours_as_they_are():
    rows = Rows.of([{"n": 1}, {"n": "x"}, {"n": 3}])
    assert Projection([integer("n")]).of(rows.raws, rows.array)[0] == [[1, None, 3]]


def test_at_finds_raw_values():
    assert bytes(at(b' {"a": {"b": 1.50}}', "a.b") or b"") == b"1.50"
    assert at(b"[1]", "a") is None
