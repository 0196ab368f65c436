"""Checkpoints: what was proved, by partition and list."""

from datetime import timedelta

import pytest

from sync.store import checkpoints
from sync.store.database import read, write

HOUR = timedelta(hours=1)


@pytest.fixture
def book(lab):
    """Checkpoints of one connection."""
    lab.account()

    class Book:
        now = lab.now()

        def save(self, stream="notes", partition="", list_="rows", **values):
            with write(lab.engine) as connection:
                checkpoints.save(connection, lab.id, stream, partition, list_, **values)

        def ask(self, act, *given):
            with read(lab.engine) as connection:
                return act(connection, lab.id, *given)

        def do(self, act, *given):
            with write(lab.engine) as connection:
                return act(connection, lab.id, *given)

    return Book()


def test_a_partition_that_was_never_read_has_none(book):
    assert book.ask(checkpoints.get, "notes") is None


@pytest.mark.parametrize("cursor", [0, 1_767_225_600_000_000, "opaque", {"at": 1, "ids": {"a": 1}}, None])
def test_a_cursor_comes_back_as_it_was(book, cursor):
    book.save(cursor=cursor)
    assert book.ask(checkpoints.get, "notes").cursor == cursor


def test_only_the_given_columns_change(book):
    book.save(cursor=1, etag="x", full_at=book.now)
    book.save(etag=None)
    found = book.ask(checkpoints.get, "notes")
    assert (found.cursor, found.etag, found.full_at) == (1, None, book.now)


def test_lists_and_partitions_stand_apart(book):
    book.save(cursor=1)
    book.save(list_="deletes", cursor=2)
    book.save(partition="7", cursor=3)
    book.save(stream="tags", cursor=4)
    assert book.ask(checkpoints.get, "notes", "", "deletes").cursor == 2
    assert {key: row.cursor for key, row in book.ask(checkpoints.of_stream, "notes").items()} == {"": 1, "7": 3}
    assert [row.cursor for row in book.ask(checkpoints.every)] == [2, 1, 3, 4]


def test_what_an_old_pass_proves_late_makes_nothing_less_fresh(book):
    """A slice that was dead for an hour and is replayed began before what has succeeded since."""
    book.save(fresh_at=book.now, full_at=book.now, cursor=9)
    book.save(fresh_at=book.now - HOUR, full_at=book.now - HOUR)
    found = book.ask(checkpoints.get, "notes")
    assert (found.fresh_at, found.full_at) == (book.now, book.now)
    book.save(fresh_at=book.now + HOUR)
    assert book.ask(checkpoints.get, "notes").fresh_at == book.now + HOUR


def test_a_reset_forgets_a_stream_or_all(book):
    for stream in ("notes", "tags"):
        book.save(stream=stream, cursor=1)
        book.save(stream=stream, list_="deletes", cursor=1)
    assert book.do(checkpoints.reset, "notes") == 2
    assert {row.stream for row in book.ask(checkpoints.every)} == {"tags"}
    assert book.do(checkpoints.reset) == 2


def test_an_outdated_stream_keeps_its_cursor(book):
    """It was full, and that is no longer so."""
    book.save(cursor=5, full_at=book.now)
    book.do(checkpoints.outdate, "notes")
    found = book.ask(checkpoints.get, "notes")
    assert (found.cursor, found.full_at) == (5, None)
    book.save(full_at=book.now - HOUR)
    assert book.ask(checkpoints.get, "notes").full_at == book.now - HOUR
