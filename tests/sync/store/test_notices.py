"""Notices: counted, bounded, and without what no database keeps."""

import pytest
from sqlalchemy import update

from models import Notice
from sync.store import notices
from sync.store.database import now, read, write
from sync.store.notices import REFUSED, UNKNOWN, Count


@pytest.fixture
def account(lab):
    return lab.account()


def counted(lab, *counts):
    with write(lab.engine) as connection:
        notices.count(connection, counts)


def listed(lab, **wanted):
    with read(lab.engine) as connection:
        return [(row.kind, row.name, row.times, row.sample) for row in notices.listed(connection, lab.id, **wanted)]


def test_counts_add_up_and_the_last_sentence_stays(lab, account):
    counted(lab, Count(account, REFUSED, "too old", 3, "first"))
    counted(lab, Count(account, REFUSED, "too old", 2, "last"), Count(account, UNKNOWN, "ping", 1, "what is it?"))
    assert sorted(listed(lab)) == [(REFUSED, "too old", 5, "last"), (UNKNOWN, "ping", 1, "what is it?")]
    assert listed(lab, kind=UNKNOWN) == [(UNKNOWN, "ping", 1, "what is it?")]
    with read(lab.engine) as connection:
        found = notices.listed(connection, lab.id)
    assert all(row.first_at <= row.last_at for row in found)
    assert [row.connection for row in found] == [str(lab.id)] * 2


def test_the_latest_stands_first(lab, account):
    for name in "abcd":
        counted(lab, Count(account, REFUSED, name, 1, ""))
    with write(lab.engine) as connection:
        earlier = update(Notice).where(Notice.connection_id == account, Notice.name.in_(["b", "d"]))
        connection.execute(earlier.values(last_at=now(-100)))
    counted(lab, Count(account, REFUSED, "d", 1, ""))
    assert [name for _, name, *_ in listed(lab)][-1] == "b"


def test_a_connection_that_is_gone_stops_nobody_else(lab, account):
    counted(lab, Count(account + 1_000_000, REFUSED, "a", 1, ""), Count(account, REFUSED, "a", 1, ""))
    assert len(listed(lab)) == 1


def test_names_that_strangers_choose_are_bounded(lab, account, monkeypatch):
    """In number and length, and to what can be stored; those that are there go on counting."""
    for number in range(notices.MOST + 50):
        counted(lab, Count(account, UNKNOWN, f"n{number}", 1, ""))
    counted(lab, Count(account, UNKNOWN, "n0", 1, ""), Count(account, REFUSED, "x", 1, ""))
    found = {name: times for _, name, times, _ in listed(lab)}
    assert len(found) == notices.MOST + 1
    assert found["n0"] == 2
    counted(lab, Count(account, REFUSED, "a\0b\ud800" + "c" * 10_000, 1, "\0\udfff" * 10_000))
    assert max(len(name) + len(sample) for _, name, _, sample in listed(lab)) <= 700


def test_nothing_is_nothing(lab):
    counted(lab)
