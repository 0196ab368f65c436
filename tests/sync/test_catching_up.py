"""Catching up: what was missed is pulled, by the event list where there is one, and the gap is closed."""

from dataclasses import replace
from typing import Any

import pytest

from connectors import Connector, Feed, Stream, cursor, epoch, last_id
from connectors.demo import connector
from sync import catching_up
from sync.catching_up import CAUSE, catch_up
from sync.kit.vendor import Limit, demo_vendor, serve
from sync.kit.vendor.demo import KEY
from sync.store import connections, subscriptions
from sync.store.database import read, write
from tests.world import World, planted


@pytest.fixture
def account(world: World, monkeypatch: pytest.MonkeyPatch):
    """A connection that was read once in full."""
    monkeypatch.setattr(catching_up, "send", world.sent.extend)
    with serve(demo_vendor(scale=0.001, limit=Limit(rate=None))) as server:
        found = world.connect("demo", {"url": server.url}, {"secret_key": KEY}, "acme")
        yield found


def caught_up(world: World, account: int) -> list[dict[str, Any]]:
    """The runs that were opened."""
    with write() as connection:
        subscriptions.open_gap(connection, account)
    return again(world, account)


def again(world: World, account: int) -> list[dict[str, Any]]:
    with read() as connection:
        row = connections.get(connection, account)
    opened = catch_up(row)
    return [dict(run) for run in world.rows("runs") if run["id"] in opened]


def gap(world: World, account: int) -> Any:
    with read() as connection:
        return subscriptions.gap(connection, account)


def test_without_a_gap_nothing_is_opened(world: World, account: int) -> None:
    """Nor a second time for the same one."""
    assert again(world, account) == []
    assert caught_up(world, account)
    assert again(world, account) == []


def test_every_stream_is_read_in_full(world: World, account: int) -> None:
    """Deletions too; and it rings at once."""
    world.sync(account)
    runs = caught_up(world, account)
    rows = {run["stream"]: bool(run["full"]) for run in runs if run["list"] == "rows"}
    assert rows == dict.fromkeys(("customers", "projects", "tasks", "orders"), True)
    assert {run["cause"] for run in runs} == {CAUSE}
    assert gap(world, account) is None
    assert world.sent


def test_an_event_list_is_read_on_and_the_rest_in_full(
    world: World, account: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it tells needs no full pass."""
    planted(monkeypatch, "demo", with_feed(connector))
    world.sync(account)
    runs = caught_up(world, account)
    rows = {(run["stream"], run["list"]): bool(run["full"]) for run in runs}
    assert rows["", "feed"] is False
    assert ("customers", "rows") not in rows
    assert rows["orders", "rows"] is True


def test_while_something_is_read_the_gap_waits_unless_a_schedule_reads_on(world: World, account: int) -> None:
    """What is under way was begun too early to see everything."""
    world.sync(account)
    world.open(account, select=["customers"])
    assert caught_up(world, account) == []
    assert gap(world, account) is not None
    with write() as connection:
        connections.set_schedule(connection, account, "", rule="every 1 hour", zone="UTC", jitter=0.0, next_due_at=None)
    runs = again(world, account)
    assert {run["stream"] for run in runs if run["list"] == "rows"} == {"projects", "tasks", "orders"}
    assert gap(world, account) is None
    (checkpoint,) = world.rows("checkpoints", f"connection_id = {account} AND stream = 'customers' AND list = 'rows'")
    assert checkpoint["full_at"] is None
    world.settle()
    opened = world.sync(account, select=["customers"])
    assert any(run["full"] for run in opened)


def test_what_can_not_be_pulled_can_not_be_made_up_for(
    world: World, account: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is logged, and the gap is closed: nobody can do anything about it."""
    planted(monkeypatch, "demo", replace(connector, streams=(Stream("customers"),)))
    assert caught_up(world, account) == []
    assert gap(world, account) is None


def test_a_broker_that_is_away_undoes_nothing(world: World, account: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows are there; the tick rings for them."""

    def away(rung: object) -> None:
        raise OSError("nobody listens")

    monkeypatch.setattr(catching_up, "send", away)
    assert caught_up(world, account)
    assert gap(world, account) is None


def with_feed(plain: Connector) -> Connector:
    """The demo's own event list, of customers."""
    customers = Stream("customers", "/v1/customers", cursor("data", "next_cursor"), get=lambda *_: {})
    orders = plain.streams_for({})[-1]
    feed = Feed("/v1/events", last_id("starting_after", since="created_since"), lambda event: (),
                at=epoch("created"), streams=("customers",))  # fmt: skip
    return replace(plain, streams=(customers, orders), feed=feed)
