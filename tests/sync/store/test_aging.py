"""Aging: bodies go first, rows a month later; what waits or is dead stays as it is."""

import pytest
from sqlalchemy import insert

from models import Delivery, Holdup, Notice
from sync.store import aging, retention
from sync.store.database import engine, now, write

DAY = 86_400.0


class Past:
    """Deliveries of one connection, the oldest first."""

    def __init__(self, world):
        self.world = world
        self.account = world.connect("demo", {"url": "http://127.0.0.1:9"})
        self.count = 0

    def delivery(self, age, state="applied", body=b"{}"):
        self.count += 1
        moment = now(-age * DAY)
        row = {"connection_id": self.account, "delivery": str(self.count), "headers": "{}", "body": body}
        with write() as connection:
            statement = insert(Delivery).values(**row, state=state, received_at=moment, due_at=moment)
            return connection.execute(statement.returning(Delivery.id)).scalar_one()

    def left(self):
        return {row["id"]: bytes(row["body"]) for row in self.world.rows("deliveries")}


@pytest.fixture
def past(world):
    return Past(world)


def test_rows_go_when_they_are_old_and_over(past):
    gone = [past.delivery(age, state) for age, state in ((90, "applied"), (60, "ignored"), (31, "applied"))]
    kept = [past.delivery(age) for age in (29, 5, 0)]
    assert retention.prune(30) == {"deliveries": 3}
    assert list(past.left()) == kept
    assert not set(gone) & set(kept)
    assert retention.prune(30) == {}


@pytest.mark.parametrize("state", ["received", "deferred", "dead"])
def test_what_waits_stays_with_its_body(past, state):
    kept = past.delivery(200, state)
    with write() as connection:
        where = {"connection_id": past.account, "stream": "customers", "key": "1", "delivery_id": kept}
        connection.execute(insert(Holdup).values(**where))
    past.delivery(100)
    assert retention.prune(3) == {"deliveries": 1}
    assert past.left() == {kept: b"{}"}


def test_a_body_goes_before_what_knows_repetitions(past):
    """However little is kept, a delivery is remembered for a month."""
    past.delivery(31)
    bare = [past.delivery(age) for age in (29, 20, 8)]
    dead = past.delivery(8, "dead")
    whole = [past.delivery(age) for age in (6, 1)]
    assert retention.prune(7) == {"deliveries": 1, "bodies": 3}
    assert past.left() == {**dict.fromkeys(bare, b""), dead: b"{}", **dict.fromkeys(whole, b"{}")}
    assert retention.prune(7) == {}


def test_who_keeps_for_longer_keeps_all_of_it(past):
    past.delivery(91)
    kept = [past.delivery(age) for age in (89, 31, 1)]
    assert retention.prune(90) == {"deliveries": 1}
    assert past.left() == dict.fromkeys(kept, b"{}")


def test_bodies_are_dropped_from_where_the_last_look_ended(past, monkeypatch):
    """Many numbers are gone over a little at a time; a new process begins anew."""
    monkeypatch.setattr(aging, "SPAN", 2)
    monkeypatch.setattr(aging, "LOOKS", 2)
    several = [past.delivery(20) for _ in range(9)]
    dropped = [retention.prune(7).get("bodies") for _ in range(4)]
    assert dropped == [4, 4, 1, None]
    later = past.delivery(10)
    assert retention.prune(7) == {"bodies": 1}
    assert set(past.left().values()) == {b""}
    past.world.execute("UPDATE deliveries SET body = :body", body=b"{}")
    assert retention.prune(7) == {}
    aging._emptied.pop(engine())
    assert sum(retention.prune(7)["bodies"] for _ in range(3)) == len([*several, later])


@pytest.mark.parametrize("number", range(1, 9))
def test_the_first_that_is_young_is_found_by_halving(past, number):
    """With numbers missing between, too."""
    ids = [past.delivery(50 if place < number else 1) for place in range(8)]
    past.world.execute("DELETE FROM deliveries WHERE id IN (3, 4, 6)")
    old = {id for id in ids[:number] if id not in (3, 4, 6)}
    assert retention.prune(30) == ({"deliveries": len(old)} if old else {})
    assert set(past.left()) == {1, 2, 5, 7, 8} - old


def test_batches_leave_gaps_and_the_next_call_goes_on(past, monkeypatch):
    monkeypatch.setattr(aging, "BATCH", 2)
    monkeypatch.setattr(aging, "_any", aging._any.limit(None).limit(2))
    for _ in range(5):
        past.delivery(40)
    assert retention.prune(30, patience=0) == {"deliveries": 2}
    assert retention.prune(30) == {"deliveries": 3}


def test_notices_go_too(past):
    own = {"connection_id": past.account, "kind": "refused", "first_at": now(-90 * DAY)}
    with write() as connection:
        for name, age in (("old", 31), ("young", 29)):
            connection.execute(insert(Notice).values(**own, name=name, last_at=now(-age * DAY)))
    assert retention.prune(30) == {"notices": 1}
    assert retention.prune(30) == {}


def test_an_empty_table_is_looked_at_and_left(past):
    assert retention.prune(30) == {}
