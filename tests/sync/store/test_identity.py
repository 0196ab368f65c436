"""Identity: keys, versions, digests and cursor positions of a page."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from connectors import Rows, Stream, Timestamp, epoch, iso
from sync.store import identity
from sync.store.identity import Reader, digests, joined, reader
from tests.sync.store.conftest import THINGS, moment, pull, thing

PLAIN = Stream("plain", "/plain", pull)
DEEP = b'{"id":"a","x":' + b"[" * 3000 + b"]" * 3000 + b"}"


def read(stream, *rows, as_of=7):
    return Reader(stream).read(Rows.of(rows), as_of)


def test_keys_may_be_texts_or_integers():
    assert read(PLAIN, {"id": "a"}, {"id": 12}, {"id": -3}).keys == ["a", "12", "-3"]


@pytest.mark.parametrize(
    ("row", "path"),
    [
        ({"id": 1.5}, "$.id"),
        ({"id": True}, "$.id"),
        ({"id": None}, "$.id"),
        ({"id": ""}, "$.id"),
        ({"id": {"x": 1}}, "$.id"),
        ({"id": "a\0b"}, "$.id"),
        ({"id": "x" * 513}, "$.id"),
        ({}, "$.id"),
        ([1], "$"),
        (3, "$"),
        (None, "$"),
        (b'{"id":"\xff"}', "$"),
        (b'{"id":"a","x":"\xed\xa0\x80"}', "$"),
        (DEEP, "$"),
    ],
)
def test_a_row_without_a_usable_key_is_rejected_with_its_path_and_its_bytes(row, path):
    raw = row if isinstance(row, bytes) else bytes(Rows.of([{"x": row}]).raws[0])[5:-1]
    batch = Reader(PLAIN).read(Rows([b'{"id":"before"}', raw, b'{"id":"after"}']), 7)
    assert batch.keys == ["before", "after"]
    (reject,) = batch.rejects
    assert (reject.path, reject.payload) == (path, raw)
    assert reject.reason


def test_composite_keys_are_joined_and_escaped():
    stream = replace(PLAIN, key=("org.name", "n"))
    batch = read(stream, {"org": {"name": "a/b%"}, "n": 1}, {"org": {"name": "c"}, "n": 2})
    assert batch.keys == ["a%2Fb%25/1", "c/2"]


def test_a_missing_part_of_a_composite_key_is_named():
    batch = read(replace(PLAIN, key=("org.name", "n")), {"org": None, "n": 1}, {"org": {"name": "c"}, "n": 2})
    assert (batch.keys, batch.rejects[0].path) == (["c/2"], "$.org.name")


@given(st.lists(st.lists(st.text(min_size=1).filter(lambda t: "\0" not in t), min_size=2, max_size=3), max_size=5))
def test_different_composite_keys_stay_different(keys):
    same_length = [tuple(key) for key in keys if len(key) == 2]
    assert len({joined(key) for key in same_length}) == len(set(same_length))


def test_a_page_read_at_once_and_row_by_row_is_the_same(monkeypatch):
    page = [thing(f"k{n}", n % 7, name="n", deleted=n % 3 == 0) for n in range(50)]
    at_once = read(THINGS, *page)

    def refuse(self, rows):
        raise identity.Odd("", "read row by row")

    monkeypatch.setattr(Reader, "_page", refuse)
    one_by_one = read(THINGS, *page)
    for name in ("keys", "digests", "deleted", "versions", "seen", "rejects"):
        assert getattr(at_once, name) == getattr(one_by_one, name), name


def test_of_twins_on_a_page_the_newest_stays_and_of_equals_the_last():
    batch = read(THINGS, thing("a", 2, n=1), thing("b", 1), thing("a", 1, n=2), thing("a", 2, n=3))
    assert sorted(batch.keys) == ["a", "b"]
    assert batch.repeated == 2
    assert b'"n":3' in bytes(batch.raws[batch.keys.index("a")])


def test_twins_of_a_stream_without_versions_leave_the_last():
    batch = read(PLAIN, {"id": 1, "n": 1}, {"id": 1, "n": 2})
    assert [bytes(raw) for raw in batch.raws] == [b'{"id":1,"n":2}']


def test_seen_is_the_largest_cursor_position_as_the_field_reads_it():
    field = iso("updated_at")
    texts = ["2026-01-01T02:00:00+02:00", "2026-01-01T00:00:00.1234567Z", "2026-01-01T00:00:00.000Z"]
    batch = read(THINGS, *({"id": n, "updated_at": text} for n, text in enumerate(texts)))
    assert batch.seen == max(map(field.instant, texts))
    assert batch.versions == list(map(field.instant, texts))


def test_a_time_without_an_offset_is_read_in_the_fields_zone():
    field = iso("updated_at", zone="Asia/Tokyo")
    stream = replace(THINGS, version=field, cursor=Timestamp(field=field))
    assert read(stream, {"id": 1, "updated_at": "2026-01-01T09:00:00"}).seen == 1_767_225_600_000_000


def test_an_unreadable_cursor_rejects_the_row_and_does_not_move_the_cursor():
    batch = read(THINGS, thing("a", 1), {"id": "b", "updated_at": "9999-never"}, {"id": "c", "updated_at": None})
    assert batch.keys == ["a"]
    assert [reject.path for reject in batch.rejects] == ["$.updated_at", "$.updated_at"]
    assert batch.seen == read(THINGS, thing("a", 1)).seen


def test_a_position_beyond_64_bits_is_rejected():
    field = epoch("at")
    stream = replace(PLAIN, cursor=Timestamp(field=field))
    batch = read(stream, {"id": 1, "at": 10**30}, {"id": 2, "at": 5})
    assert (batch.keys, batch.seen) == (["2"], 5_000_000)


def test_versions_are_read_only_when_asked_for():
    stream = replace(THINGS, cursor=None)
    batch = read(stream, thing("a", 3))
    assert batch.versions is None
    assert Reader(stream).versioned(batch).versions == [iso("x").instant(moment(3))]


def test_without_a_cursors_field_nothing_is_seen():
    assert read(PLAIN, {"id": 1}).seen is None
    assert read(THINGS).seen is None


def test_keep_leaves_out_what_does_not_belong_and_a_failing_keep_rejects_its_row():
    stream = replace(PLAIN, keep=lambda record: record["kind"] == "good")
    batch = read(stream, {"id": 1, "kind": "good"}, {"id": 2, "kind": "bad"}, {"id": 3})
    assert (batch.keys, batch.dropped, [reject.key for reject in batch.rejects]) == (["1"], 1, ["3"])


def test_a_record_above_the_limit_is_rejected(monkeypatch):
    monkeypatch.setattr(identity, "MAX_RECORD", 100)
    batch = read(PLAIN, {"id": 1}, {"id": 2, "x": "y" * 100}, {"id": 3})
    assert (batch.keys, batch.rejects[0].path) == (["1", "3"], "$")


def test_the_digest_follows_the_bytes_and_the_deletion():
    one, other = digests([b"{}"], [False]), digests([b"{ }"], [False])
    assert one != other
    assert digests([b"{}"], [True]) == [~one[0]]
    assert -(2**63) <= one[0] < 2**63


def test_numbers_out_of_range_elsewhere_in_a_record_do_not_matter():
    assert read(PLAIN, b'{"id":1,"x":1e400}').keys == ["1"]


def test_hashes_are_eight_bytes_a_key():
    batch = read(PLAIN, {"id": 1}, {"id": 2})
    assert batch.hashes() == identity.hashed("1") + identity.hashed("2")
    assert len(batch.hashes()) == 16


def test_a_reader_is_built_once_a_stream():
    assert reader(PLAIN) is reader(PLAIN)
    assert reader(replace(PLAIN)) is not reader(PLAIN)
