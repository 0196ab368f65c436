"""Arrivals: each delivery once, byte for byte, in the order in which they came."""

from concurrent.futures import ThreadPoolExecutor
from secrets import token_hex

import pytest
from sqlalchemy import select

from models import Delivery
from sync.store.arrivals import Arrival, store
from sync.store.database import now, read, write


@pytest.fixture
def account(lab):
    return lab.account()


def arrival(account, delivery, body=b"{}"):
    return Arrival(account, delivery, '{"x-event":"ä"}', body, token_hex(16))


def stored(lab):
    with read(lab.engine) as connection:
        query = select(Delivery.__table__).where(Delivery.connection_id == lab.id).order_by(Delivery.id)
        return connection.execute(query).all()


def test_what_came_is_due_at_once_in_its_order(lab, account):
    came = [arrival(account, f"d{number}", bytes([number % 256, 0, 255])) for number in range(500)]
    with write(lab.engine) as connection:
        assert store(connection, came) == came
    rows = stored(lab)
    assert [Arrival(row.connection_id, row.delivery, row.headers, row.body, row.correlation) for row in rows] == came
    with read(lab.engine) as connection:
        clock = connection.execute(select(now())).scalar_one()
    for row in rows:
        assert (row.state, row.attempts, row.name, row.closed_at) == ("received", 0, None, None)
        assert row.received_at == row.due_at <= clock


def test_what_is_there_already_is_left_as_it_is(lab, account):
    """Within one statement, and from one to the next; which of them were new is told."""
    first, again, second = arrival(account, "a"), arrival(account, "a", b"other"), arrival(account, "b")
    with write(lab.engine) as connection:
        assert store(connection, [first, again, second]) == [first, second]
    with write(lab.engine) as connection:
        third = arrival(account, "c")
        assert store(connection, [again, third, arrival(account, "b")]) == [third]
        assert store(connection, [again]) == []
    assert [(row.delivery, row.body, row.correlation) for row in stored(lab)] == [
        (one.delivery, one.body, one.correlation) for one in (first, second, third)
    ]


def test_an_id_counts_within_its_connection(lab, account):
    lab.id += 1_000_000
    other = lab.account()
    with write(lab.engine) as connection:
        assert len(store(connection, [arrival(account, "a"), arrival(other, "a")])) == 2


def test_copies_that_come_at_once_are_one(lab, account):
    def come(_):
        with write(lab.engine) as connection:
            return len(store(connection, [arrival(account, "a"), arrival(account, token_hex(4))]))

    with ThreadPoolExecutor(4) as threads:
        assert sum(threads.map(come, range(8))) == 9
    assert len(stored(lab)) == 9
