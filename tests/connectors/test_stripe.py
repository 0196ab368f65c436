"""Stripe: its true order, its events, and what it answers about deleted objects."""

from pathlib import Path
from typing import Any

import pytest

from connectors import Ask, Delete, Event, Outcome, Refetch, Stream
from connectors.stripe import connector, effects
from sync.door import OutcomeError
from sync.kit import vendor as simulator
from sync.kit.recording import Exchange, Request, Response, load
from sync.kit.replay import Replay
from sync.kit.vendor import Collection, Since, moment
from tests.connectors.vendors import Door, keys, vendor, walk

CUSTOMERS = next(stream for stream in connector.streams_for({}) if stream.name == "customers")
NEWEST_FIRST = Collection(name="customers", paging=simulator.last_id(), order="created", descending=True,
                          created="created", updated="", stamps="epoch", key_format="cus_{:04d}")  # fmt: skip


AT = 1_750_000_005_000_000


def event(kind: str, **thing: Any) -> Event:
    return Event({"id": "evt_1", "type": kind, "created": AT // 1_000_000, "data": {"object": thing}})


@pytest.mark.parametrize("stream", connector.streams_for({}), ids=lambda stream: stream.name)
def test_lists_are_newest_first(stream: Stream) -> None:
    """As the bodies written after the documentation are."""
    replay = Replay(load(Path(__file__).parent / "stripe").exchanges)
    created = [row["created"] for page in walk(replay, stream) for row in page]
    assert stream.order == "descending"
    assert created == sorted(created, reverse=True)


def test_customer_created_under_way_shifts_nothing() -> None:
    """Newest first: what is new goes before the page that was read, and comes with its event."""
    made = vendor(NEWEST_FIRST)
    for number in range(250):
        made.create("customers", None, {}, at=moment(2026, 1, 1) + number // 3 * 1_000_000)

    def sign_up(page: int) -> None:
        made.create("customers", None, {})

    found = keys(walk(Door(made), CUSTOMERS, between=sign_up))
    assert sorted(found) == [f"cus_{number:04d}" for number in range(1, 251)]


def test_deleted_customer_is_gone_though_the_status_is_200() -> None:
    """`{"deleted": true}` is no record; it would overwrite the payload with a stub."""
    stub = Response(body=b'{"id": "cus_1", "object": "customer", "deleted": true}')
    door = Replay([Exchange(Request.of("GET", "/v1/customers/cus_1"), stub)], connector.rules)
    assert CUSTOMERS.get
    with pytest.raises(OutcomeError) as caught:
        CUSTOMERS.get(door, CUSTOMERS, "cus_1")
    assert caught.value.outcome is Outcome.GONE


def test_deleted_customer_in_a_page_does_not_end_the_page() -> None:
    """The rule looks at the answer, not into its records."""
    page = Response(body=b'{"object": "list", "has_more": false, "data": [{"id": "cus_1", "deleted": true}]}')
    request = Request.of("GET", "/v1/customers", {"limit": 100})
    assert len(list(CUSTOMERS.pull(Replay([Exchange(request, page)], connector.rules), CUSTOMERS, Ask()).rows)) == 1


@pytest.mark.parametrize(
    ("happened", "meaning"),
    [
        (event("customer.updated", object="customer", id="cus_1"), [Refetch("customers", "cus_1")]),
        (event("customer.deleted", object="customer", id="cus_1"), [Delete("customers", "cus_1", AT)]),
        (event("customer.subscription.deleted", object="subscription", id="sub_1"),
         [Refetch("subscriptions", "sub_1")]),
        (event("invoice.deleted", object="invoice", id="in_1"), [Delete("invoices", "in_1", AT)]),
        (event("invoice.upcoming", object="invoice"), []),
        (event("customer.discount.deleted", object="discount", id="di_1"), []),
        (event("customer.source.deleted", object="card", id="card_1"), []),
        (event("charge.refunded", object="charge", id="ch_1"), [Refetch("charges", "ch_1")]),
    ],
)  # fmt: skip
def test_event(happened: Event, meaning: list[Any]) -> None:
    """Deletions are those of the object itself; an ended subscription can still be read."""
    assert list(effects(happened)) == meaning


def test_events_are_asked_for_from_the_cursor_on() -> None:
    """By the second, inclusive: events share seconds."""
    feed = connector.feed
    assert feed
    events = Collection(name="events", paging=simulator.last_id(), order="created", descending=True, created="created",
                        updated="", stamps="epoch", key_format="evt_{}",
                        since=Since(param="created[gte]", on="created"))  # fmt: skip
    made = vendor(events)
    for number in range(6):
        made.create("events", None, {}, at=moment(2026, 1, 1) + number // 2 * 1_000_000)
    since = moment(2026, 1, 1) // 1_000_000 + 1
    page = feed.pull(Door(made), Stream("events", feed.path, feed.pull), Ask(since=since))
    assert [row["id"] for row in page.rows] == ["evt_6", "evt_5", "evt_4", "evt_3"]
