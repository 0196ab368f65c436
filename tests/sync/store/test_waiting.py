"""Waiting: whose inbox has something due, and since when the oldest waits."""

from uuid import uuid4

import pytest

from sync.store import arrivals, connections, inboxes, subscriptions, waiting
from sync.store.arrivals import Arrival
from sync.store.database import read, write
from tests.world import World


@pytest.fixture
def account(world: World) -> int:
    """With two deliveries."""
    found = world.connect("demo", {"url": "http://127.0.0.1:1"}, {"secret_key": "x"}, "acme")
    with write() as connection:
        inboxes.ensure(connection, found)
        arrivals.store(connection, [Arrival(found, uuid4().hex, "{}", b"{}", uuid4().hex) for _ in range(2)])
    return found


def test_the_oldest_that_is_not_over_counts(world: World, account: int) -> None:
    """Whether it is due or not."""
    with read() as connection:
        assert waiting.due(connection) == [account]
        since = waiting.oldest(connection)[account]
    world.execute("UPDATE deliveries SET state = 'applied' WHERE id = 1")
    world.execute("UPDATE deliveries SET state = 'deferred', due_at = '2999-01-01 00:00:00.000000' WHERE id = 2")
    with read() as connection:
        assert waiting.due(connection) == []
        assert waiting.oldest(connection)[account] >= since
    world.execute("UPDATE deliveries SET state = 'dead'")
    with read() as connection:
        assert waiting.oldest(connection) == {}


def test_a_paused_connection_has_nothing_due(account: int) -> None:
    """Whatever waits."""
    with write() as connection:
        connections.set_state(connection, account, "paused", "a test")
        assert waiting.due(connection) == []


def test_gaps_are_listed(account: int) -> None:
    """With their beginnings."""
    with write() as connection:
        assert waiting.gaps(connection) == {}
        subscriptions.open_gap(connection, account)
        assert waiting.gaps(connection).keys() == {account}
