"""Subscriptions in the database: one turn at a time, what is due, and gaps."""

import pytest

from connectors import Subscription
from sync.store import connections, subscriptions
from sync.store.database import read, write
from sync.store.subscriptions import LostTurnError
from tests.world import World

URL = "https://sync.example.com/webhooks/acme"


@pytest.fixture
def account(world: World) -> int:
    return world.connect("demo", {"url": "http://127.0.0.1:1"}, {"secret_key": "x"}, "acme")


def one(id: str = "wh_1", **given: object) -> Subscription:
    return Subscription(**{"id": id, "url": URL, "events": ("a",), **given})  # type: ignore[arg-type]


def take(account: int, data=None):
    with write() as connection:
        return subscriptions.take_turn(connection, account, URL, data)


def saved(account: int, *those: Subscription, wait: float = 600) -> None:
    with write() as connection:
        for each in those:
            subscriptions.save(connection, account, each, URL, wait)


def save_in(account: int, turn) -> None:
    with write() as connection:
        subscriptions.save(connection, account, one(), URL, 60)
        subscriptions.keep_turn(connection, turn)


def due(account: int | None = None) -> list[int]:
    with read() as connection:
        return subscriptions.due(connection, 10, account)


def pass_time(world: World) -> None:
    world.execute("UPDATE subscriptions SET due_at = created_at")


def test_a_turn_is_one_persons_until_it_is_over(account: int) -> None:
    """Whoever comes second goes home; a turn is no subscription."""
    turn = take(account, {"do": "sync"})
    assert turn
    assert (turn.data, turn.url) == ({"do": "sync"}, URL)
    assert take(account) is None
    with write() as connection:
        assert subscriptions.of(connection, account) == []
        subscriptions.end_turn(connection, turn)
    assert take(account)


def test_a_turn_that_was_interrupted_is_taken_with_what_was_to_be_done(world: World, account: int) -> None:
    """And whoever had it before writes nothing any more."""
    first = take(account, {"do": "remove"})
    pass_time(world)
    assert due() == [account]
    second = take(account)
    assert first
    assert second
    assert second.data == {"do": "remove"}
    with pytest.raises(LostTurnError):
        save_in(account, first)
    with read() as connection:
        assert subscriptions.of(connection, account) == []
    with pytest.raises(LostTurnError), write() as connection:
        subscriptions.end_turn(connection, first)
    with pytest.raises(LostTurnError), write() as connection:
        subscriptions.put_off(connection, first, 60, "no")
    with write() as connection:
        marked = subscriptions.mark_turn(connection, second, {"rotate": True})
        assert marked.data == {"rotate": True}
        subscriptions.end_turn(connection, marked)


def test_a_failing_turn_waits_for_the_tick_and_not_for_a_person(account: int) -> None:
    """What was wrong shows at the connection's subscriptions."""
    saved(account, one())
    turn = take(account)
    assert turn
    with write() as connection:
        subscriptions.put_off(connection, turn, 600, "the vendor is away")
        (row,) = subscriptions.of(connection, account)
    assert (row.state, row.reason) == ("failing", "the vendor is away")
    assert due() == []
    again = take(account)
    assert again
    assert again.attempts == 1


def test_what_the_vendor_has_is_stored_once(account: int) -> None:
    """Saved again it is well again."""
    saved(account, one(expires_at=1_800_000_000_000_000, data={"a": 1}), one("wh_2"))
    with write() as connection:
        subscriptions.disabled(connection, account, "enough")
        assert {row.state for row in subscriptions.of(connection, account)} == {"disabled"}
    saved(account, one(events=("b",)))
    with write() as connection:
        subscriptions.forget(connection, account, {"wh_1"})
        (row,) = subscriptions.of(connection, account)
    assert (row.remote, row.events, row.state, row.expires_at) == ("wh_1", ["b"], "active", None)


def test_only_active_connections_are_due(world: World, account: int) -> None:
    """And the one that is asked for."""
    saved(account, one())
    pass_time(world)
    assert due() == due(account) == [account]
    assert due(account + 1) == []
    with write() as connection:
        connections.set_state(connection, account, "paused", "a test")
    assert due() == []


def test_a_gap_begins_once_and_is_over_when_all_delivers(world: World, account: int) -> None:
    """Without a subscription of ours it is over at once."""
    with write() as connection:
        assert subscriptions.gap(connection, account) is None
        subscriptions.open_gap(connection, account)
        begun = subscriptions.gap(connection, account)
        subscriptions.open_gap(connection, account)
        assert subscriptions.gap(connection, account) == begun
        assert subscriptions.gaps(connection, 10) == [account]
    saved(account, one())
    with write() as connection:
        subscriptions.disabled(connection, account, "enough")
        assert subscriptions.gaps(connection, 10) == []
    saved(account, one())
    with write() as connection:
        assert subscriptions.gaps(connection, 10) == [account]
        subscriptions.close_gap(connection, account)
        assert subscriptions.gaps(connection, 10) == []


def test_they_go_with_their_connection(world: World, account: int) -> None:
    """Turns too."""
    saved(account, one())
    take(account)
    with write() as connection:
        connections.remove(connection, connections.get(connection, account))
    assert world.rows("subscriptions") == []
