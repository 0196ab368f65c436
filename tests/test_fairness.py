"""Fairness: fifty connections due at once, one of them with hundreds of partitions, and few places in the queue.

What a tick rings for is compared with what the rows said just before it: who waited, and since when.
"""

from collections import Counter

import pytest
from kombu import Consumer, Message, Queue

from connectors import Stream
from sync import pull, schedule
from sync import settings as environment
from sync.app import LANES, create
from sync.kit.vendor import Collection, Since
from sync.store import connections
from sync.store.database import now, write
from tests.traps.rig import UPDATED, listed, notes, rigged, stream

CROWD, PARTS, PLACES, PARALLEL = 50, 300, 10, 4
BOXES = Collection(name="boxes", since=Since(param="since"))
THINGS = Collection(name="things", parent="boxes", parent_field="box_id", since=Since(param="since"))
STREAMS = (
    stream(),
    Stream("boxes", "/v1/boxes", listed(size=100), version=UPDATED),
    Stream("things", "/v1/boxes/{id}/things", listed(), parent="boxes", version=UPDATED),
)


class Crowd:
    """The connections, the greedy one first, and whose messages were delivered, in the order of their rings."""

    def __init__(self, world, accounts):
        self.world, self.accounts, self.greedy = world, accounts, accounts[0]
        self.served = []

    def due(self):
        with write() as connection:
            for account in self.accounts:
                connections.due_now(connection, account)

    def deliver(self):
        """A worker does what the oldest message tells."""
        unit, _ = self.world.sent[0]
        self.served += [row["connection_id"] for row in self.world.rows("slices", f"id = {unit}")]
        self.world.deliver()

    def until(self, many):
        """Ticks, and workers that do all that they are rung for, until so many messages were delivered."""
        while len(self.served) < many:
            schedule.tick()
            assert self.world.sent
            while self.world.sent and len(self.served) < many:
                self.deliver()

    def on_their_way(self):
        """Slices that have a message, or a worker, by connection."""
        return Counter(row["connection_id"] for row in self.waiting("rung_at IS NOT NULL"))

    def waiting(self, where):
        return self.world.rows("slices", f"state IN ('ready', 'running') AND {where}")


def scheduled(streams):
    """Connections are due now, each with this stream."""
    with write() as connection:
        for account, own in streams.items():
            connections.set_schedule(
                connection, account, own, rule="every 1 hour", zone="UTC", jitter=0.0, next_due_at=now()
            )


@pytest.fixture
def crowd(world, monkeypatch):
    monkeypatch.setenv("TIDELOCK_IN_FLIGHT", str(PLACES))
    environment.settings.cache_clear()
    with rigged(
        world, monkeypatch, [notes(), BOXES, THINGS], *STREAMS, connection={"streams": ["boxes", "things"]}
    ) as rig:
        rig.make(1)
        for number in range(PARTS):
            rig.vendor.create("boxes", None, {"name": f"box {number}"})
        rig.sync(select=["boxes"])
        others = [
            world.connect("acme", {"url": rig.url}, name=f"acme-{number}", streams=["notes"])
            for number in range(1, CROWD)
        ]
        scheduled({rig.account: "things"})
        schedule.open_due()  # before the others: its slices have been waiting for longest
        scheduled(dict.fromkeys(others, ""))
        world.execute("UPDATE connections SET served_at = NULL")
        yield Crowd(world, [rig.account, *others])


def test_everybody_once_before_anybody_twice(crowd):
    """Whoever has hundreds of partitions waits for its second turn until all others have had their first."""
    crowd.until(CROWD)
    assert len(crowd.waiting(f"connection_id = {crowd.greedy}")) > PARTS / 2
    assert sorted(crowd.served) == sorted(crowd.accounts)


def test_the_least_recently_served_go_first(crowd):
    """In the order in which they were served, not in that of their ids; whoever never was comes before them."""
    for place, account in enumerate(reversed(crowd.accounts)):
        moment = f"2026-01-01 00:{place:02}:00.000000"
        crowd.world.execute(f"UPDATE connections SET served_at = '{moment}' WHERE id = {account}")
    newcomer = crowd.accounts[7]
    crowd.world.execute(f"UPDATE connections SET served_at = NULL WHERE id = {newcomer}")
    crowd.until(CROWD)
    expected = [newcomer, *(account for account in reversed(crowd.accounts) if account != newcomer)]
    assert crowd.served == expected


def test_places_are_bounded(crowd):
    """However many are due: at most `in_flight` messages under way, and `parallel` of one connection."""
    most, mine = 0, 0
    for _ in range(2 * CROWD):
        schedule.tick()
        under_way = crowd.on_their_way()
        assert sum(under_way.values()) == len(crowd.world.sent) <= PLACES
        most, mine = max(most, sum(under_way.values())), max(mine, under_way[crowd.greedy])
        assert max(under_way.values()) <= PARALLEL
        schedule.tick()  # while nobody works, another tick rings for nobody
        assert crowd.on_their_way() == under_way
        crowd.deliver()
    assert (most, mine) == (PLACES, PARALLEL)


def test_a_second_round_does_not_wait_for_the_greedy_one(crowd):
    """All are due again while hundreds of its partitions are still waiting: the others are all served once more, and
    the list that isn't read to its end is not opened again."""
    crowd.until(CROWD)
    crowd.due()
    crowd.served.clear()
    crowd.until(CROWD + PARALLEL)  # it may have had all its places while nobody else wanted one
    turns = Counter(crowd.served)
    assert turns.pop(crowd.greedy) <= PARALLEL + 1
    assert turns == dict.fromkeys(crowd.accounts[1:], 1)
    runs = Counter(row["connection_id"] for row in crowd.world.rows("runs", "stream <> 'boxes'"))
    assert runs == {account: 1 if account == crowd.greedy else 2 for account in crowd.accounts}


def test_messages_that_come_twice_or_late_change_nothing(crowd):
    """A doubled message finds its slice taken or done; the crowd is served all the same."""
    schedule.tick()
    doubled = [unit for unit, _ in crowd.world.sent] * 2
    crowd.world.sent.clear()
    for unit in reversed(doubled):
        pull.slice_(unit)
    done = crowd.world.rows("slices", "stream <> 'boxes' AND state = 'done'")
    assert len(done) >= PLACES
    assert {row["fence"] for row in done} == {1}


def test_a_worker_takes_the_lanes_in_their_order(redis_server, redis_url):
    """However much of a backfill lies in the queues, what was asked for later in a lane before it is taken first: in
    turn, the long slices of backfills would take nearly all of a worker's time."""
    taken = []
    with create(redis_server.broker_url).connection_for_write() as connection, connection.channel() as channel:
        for lane in reversed(LANES):
            for number in range(3):
                connection.Producer(channel).publish(number, routing_key=lane, declare=[Queue(lane)])

        def take(_: object, message: Message) -> None:
            taken.append(message.delivery_info["routing_key"])
            message.ack()

        with Consumer(channel, [Queue(lane) for lane in LANES], callbacks=[take], prefetch_count=1):
            while len(taken) < 3 * len(LANES):
                connection.drain_events(timeout=10)
    assert taken == [lane for lane in LANES for _ in range(3)]
