"""Dispatch: who gets a message now."""

import pytest
from sqlalchemy import insert, select, update

from models import Connection, Run, Slice
from sync.store import dispatch
from sync.store.database import now, read, write


class Post:
    """Connections with due slices, and the messages that go out."""

    def __init__(self, engine):
        self.engine = engine
        self.runs = 0

    def account(self, name, *, parallel=4, served=None, state="active"):
        """A connection that was served so many seconds ago; None = never."""
        with write(self.engine) as connection:
            at = None if served is None else connection.execute(select(now(-served))).scalar_one()
            values = {"name": name, "connector": "x", "parallel": parallel, "served_at": at, "state": state,
                      "config": {}, "created_at": now(), "updated_at": now()}  # fmt: skip
            return connection.execute(insert(Connection).values(**values).returning(Connection.id)).scalar_one()

    def slices(self, account, many=1, lane="schedule", due=-1.0, **values):
        """Due slices; their ids."""
        self.runs += 1
        with write(self.engine) as connection:
            run = connection.execute(
                insert(Run).values(
                    connection_id=account, stream=f"s{self.runs}", cause="test", lane=lane, state="running",
                    opened_at=now(), counts={},
                ).returning(Run.id)
            ).scalar_one()  # fmt: skip
            at = connection.execute(select(now(due))).scalar_one()
            rows = [
                {"run_id": run, "connection_id": account, "stream": f"s{self.runs}", "partition": f"{number:04d}",
                 "lane": lane, "state": "ready", "ask": {}, "due_at": at, "counts": {}, **values}
                for number in range(many)
            ]  # fmt: skip
            connection.execute(insert(Slice), rows)
            return list(connection.execute(select(Slice.id).where(Slice.run_id == run).order_by(Slice.id)).scalars())

    def ring(self, in_flight=64):
        with write(self.engine) as connection:
            return [unit for unit, _ in dispatch.ring(connection, in_flight)]

    def refill(self, account, lane="schedule"):
        with write(self.engine) as connection:
            return [unit for unit, _ in dispatch.refill(connection, account, lane)]

    def set(self, unit, **values):
        with write(self.engine) as connection:
            connection.execute(update(Slice).where(Slice.id == unit).values(**values))

    def later(self, seconds):
        """So much time has passed since every message was sent."""
        with write(self.engine) as connection:
            connection.execute(update(Slice).where(Slice.rung_at.is_not(None)).values(rung_at=now(-seconds)))

    def rings(self, unit):
        with read(self.engine) as connection:
            return connection.execute(select(Slice.rings).where(Slice.id == unit)).scalar_one()


@pytest.fixture
def post(world):
    return Post(world.engine)


def test_what_is_due_gets_one_message(post):
    """What is not due, running or its connection's is stopped, none."""
    account, paused = post.account("a"), post.account("b", state="paused")
    (due,) = post.slices(account)
    post.slices(account, due=60)
    post.slices(account, state="running")
    post.slices(account, state="held")
    post.slices(paused)
    assert post.ring() == [due]
    assert post.ring() == []


def test_the_least_recently_served_go_first(post):
    """Never served before long ago before just now; one slice each before anybody's second."""
    just, long, never = (
        post.account("just", served=1), post.account("long", served=900), post.account("never"),
    )  # fmt: skip
    units = {account: post.slices(account, 2) for account in (just, long, never)}
    assert post.ring(3) == [units[never][0], units[long][0], units[just][0]]
    for account in units:
        post.set(units[account][0], state="done")
    assert set(post.ring(3)) == {units[account][1] for account in units}


def test_a_crowd_is_served_in_turns(post):
    """Of twenty connections with ten slices each and room for four, every one is served before any is twice."""
    accounts = {post.account(f"a{number}"): None for number in range(20)}
    owner = {unit: account for account in accounts for unit in post.slices(account, 10)}
    served = []
    for _ in range(10):
        rung = post.ring(4)
        served += [owner[unit] for unit in rung]
        for unit in rung:
            post.set(unit, state="done")
    assert {served.count(account) for account in accounts} == {2}
    assert len(set(served[:20])) == 20


@pytest.mark.parametrize("busy", ["running", "rung"])
def test_a_connection_has_so_many_on_their_way(post, busy):
    """Running, or with a message that may still arrive."""
    account = post.account("a", parallel=3)
    units = post.slices(account, 8)
    assert post.ring() == units[:3]
    if busy == "running":
        for unit in units[:3]:
            post.set(unit, state="running", rings=0)
    assert post.ring() == []
    post.set(units[0], state="done")
    assert post.ring() == [units[3]]


def test_a_lane_has_so_many_on_their_way_and_takes_no_others_place(post):
    """A full backfill leaves live work its messages; its own connection's, one place."""
    account, other = post.account("a", parallel=3), post.account("b", parallel=50)
    backfill = post.slices(account, 5, lane="backfill")
    post.slices(other, 30, lane="backfill")
    assert len(post.ring(5)) == 5
    assert [post.rings(unit) for unit in backfill] == [1, 1, 0, 0, 0]
    live = post.slices(account, 2) + post.slices(other, 2)
    assert set(post.ring(5)) == {live[0], *live[2:]}


def test_a_message_that_nobody_heard_is_sent_again_ever_more_rarely(post):
    """After 15, 30, 60, ... seconds and in the end every quarter of an hour; a deferral starts the count anew."""
    (unit,) = post.slices(post.account("a"))
    post.ring()
    for wait in (15, 30, 60, 120, 240, 480, 900, 900):
        post.later(wait - 3)
        assert post.ring() == [], wait
        post.later(wait + 3)
        assert post.ring() == [unit], wait
    post.set(unit, rung_at=None)
    assert post.ring() == [unit]


def test_who_lets_go_rings_for_its_next(post):
    """Up to its limit over all lanes, in the lane that it leaves."""
    account = post.account("a", parallel=4)
    units = post.slices(account, 5)
    post.slices(account, 2, lane="backfill", state="running")
    assert post.refill(account) == units[:2]
    assert post.refill(account) == []
    post.set(units[0], state="done")
    assert post.refill(account) == [units[2]]
    assert post.refill(account, "interactive") == []


def test_who_lets_go_waits_for_its_turn_while_others_wait(post):
    account, other = post.account("a"), post.account("b")
    units = post.slices(account, 3)
    waiting = post.slices(other)
    assert post.refill(account) == []
    post.set(waiting[0], state="done")
    assert post.refill(account) == units


def test_a_stopped_connection_rings_for_nothing(post):
    account = post.account("a", state="failing")
    post.slices(account, 3)
    assert post.refill(account) == []


def test_connections_that_are_full_take_nobodys_place(post):
    """However long ago they were served: who has room is rung, though fewer messages fit than slices wait."""
    for number in range(4):
        full = post.account(f"full{number}", parallel=1, served=900)
        post.slices(full, state="running")
        post.slices(full, 3)
    (unit,) = post.slices(post.account("free", parallel=1, served=1))
    assert post.ring(in_flight=8) == [unit]


def test_a_connections_limit_counts_all_lanes(post):
    """The most urgent lane is rung first, and backfill leaves a place."""
    account = post.account("a", parallel=3)
    backfill, scheduled, live = (post.slices(account, 2, lane=lane) for lane in ("backfill", "schedule", "interactive"))
    assert post.ring() == [*live, scheduled[0]]
    for unit in (*live, *scheduled):
        post.set(unit, state="done")
    post.slices(account, state="running")
    assert post.ring() == [backfill[0]]


def test_who_lets_go_leaves_more_urgent_work_of_its_own_its_turn(post):
    account = post.account("a", parallel=4)
    post.slices(account, 2, lane="backfill")
    live = post.slices(account, lane="interactive")
    assert post.refill(account, "backfill") == []
    assert post.refill(account, "interactive") == live


def test_who_lets_go_waits_for_no_stopped_connection(post):
    """What is paused can wait for months."""
    account = post.account("a")
    units = post.slices(account, 2)
    post.slices(post.account("paused", state="paused"))
    assert post.refill(account) == units


def test_a_message_that_could_not_be_sent_was_never_rung(post):
    """It is rung for at the next look, and its patience doesn't grow."""
    units = post.slices(post.account("a"), 2)
    assert post.ring() == units
    post.set(units[1], state="running", rings=0)  # somebody came all the same
    with write(post.engine) as connection:
        dispatch.unring(connection, units)
    assert [post.rings(unit) for unit in units] == [0, 0]
    assert post.ring() == units[:1]
