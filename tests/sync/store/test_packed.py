"""Packed arrays: what PostgreSQL reads is what was packed."""

import pytest

from sync.store import packed
from sync.store.database import read
from tests.sync.store.conftest import START

MICROSECONDS = round(START.timestamp() * 1_000_000)


@pytest.mark.servers
@pytest.mark.parametrize(
    ("array", "kind", "values"),
    [
        (packed.texts(["a", None, "", "ä\n,{}\"'\\"]), "text[]", ["a", None, "", "ä\n,{}\"'\\"]),
        (packed.texts([]), "text[]", []),
        (packed.bigints([1, -(2**63), 2**63 - 1]), "bigint[]", [1, -(2**63), 2**63 - 1]),
        (packed.bigints([None, 5]), "bigint[]", [None, 5]),
        (packed.bigints([]), "bigint[]", []),
        (packed.doubles([1.5, -0.0, 1e308]), "double precision[]", [1.5, -0.0, 1e308]),
        (packed.doubles([None, 2]), "double precision[]", [None, 2.0]),
        (packed.booleans([True, False, None]), "boolean[]", [True, False, None]),
        (packed.instants([MICROSECONDS, None]), "timestamp with time zone[]", [START, None]),
        (packed.jsons([b'{"a": [1]}', None]), "json[]", [{"a": [1]}, None]),
        (packed.blobs([b"\x00\xff", b"", None]), "bytea[]", [b"\x00\xff", b"", None]),
    ],
)
def test_values_come_back_in_their_type(postgres_lab, array, kind, values):
    with read(postgres_lab.engine) as connection:
        row = connection.exec_driver_sql("SELECT %(a)s, pg_typeof(%(a)s)::text", {"a": array}).one()
    assert tuple(row) == (values, kind)
