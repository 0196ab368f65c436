"""The demo's webhooks: every event means what the record is, and subscriptions are kept by the vendor's API."""

from base64 import b64encode
from typing import Any

import pytest

from connectors import Delete, Event, Refetch, Subscription, Upsert, Wanted
from connectors.demo import connector, effects
from sync.kit.vendor import Clock, Limit, Posting, demo_vendor, moment
from sync.kit.vendor.demo import KEY
from tests.connectors.test_demo import Authorized
from tests.connectors.vendors import hook_of
from tests.sync.kit.vendor.mailbox import Mailbox

HOOK, SUBSCRIPTIONS = hook_of(connector)
SECRET = "whsec_" + b64encode(b"s" * 24).decode()
AT = moment(2026, 3, 1)
STAMP = "2026-03-01T00:00:00.000000Z"


def happens(kind: str, **row: Any) -> Event:
    return Event({"type": kind, "timestamp": STAMP, "data": row}, kind)


@pytest.mark.parametrize(
    ("event", "meaning"),
    [
        (happens("customer.updated", id="cus_1", name="Ada"),
         [Upsert("customers", {"id": "cus_1", "name": "Ada"}, AT)]),
        (happens("customer.deleted", id="cus_1"), [Delete("customers", "cus_1", AT)]),
        (happens("project.deleted", id=3), [Delete("projects", "3", AT)]),
        (happens("task.created", id=9, project_id=3),
         [Upsert("tasks", {"id": 9, "project_id": 3}, AT), Refetch("projects", "3")]),
        (happens("task.deleted", id=9, project_id=3, deleted=True),
         [Upsert("tasks", {"id": 9, "project_id": 3, "deleted": True}, AT), Refetch("projects", "3")]),
        (happens("order.deleted", id="ord_1", status="deleted"),
         [Upsert("orders", {"id": "ord_1", "status": "deleted"}, AT)]),
    ],
)  # fmt: skip
def test_event(event: Event, meaning: list[Any]) -> None:
    """A deleted task or order is a record with a mark; a task moves its project."""
    assert list(effects(event)) == meaning


def test_every_event_of_the_vendor_is_understood() -> None:
    """What comes in is named as declared."""
    vendor = demo_vendor(scale=0.001)
    door = Authorized(vendor)
    with Mailbox() as box:
        SUBSCRIPTIONS.create(door, Wanted(url=box.url, events=HOOK.events, secret=SECRET))
        customer = vendor.create("customers", None, {"name": "Ada"})
        vendor.update("customers", customer, {"name": "Bea"})
        vendor.delete("customers", customer)
        vendor.create("tasks", None, {"project_id": 1, "title": "x"})
        vendor.update("orders", "ord_000001", {"status": "paid"})
        vendor.delete("projects", 1)
        assert vendor.postman
        assert vendor.postman.settle()
        vendor.close()
    for one in box.came:
        assert HOOK.understands(one.json["type"])
        assert list(effects(Event(one.json, one.json["type"])))
    assert {one.json["type"].split(".")[0] for one in box.came} == {"customer", "task", "order", "project"}


@pytest.fixture
def door() -> Authorized:
    """A vendor whose subscriptions end after an hour, at a time that stands still."""
    posting = Posting(expires_s=3600)
    return Authorized(demo_vendor(scale=0.001, limit=Limit(rate=None), webhooks=posting, clock=Clock(at=AT)))


def test_a_subscription_is_made_found_changed_renewed_and_removed(door: Authorized) -> None:
    """The secret is ours, and never shown by a list."""
    wanted = Wanted(url="http://127.0.0.1:1/x", events=("customer.*",), secret=SECRET)
    assert SUBSCRIPTIONS.chooses
    made = SUBSCRIPTIONS.create(door, wanted)
    assert (made.url, made.events, made.enabled) == (wanted.url, wanted.events, True)
    assert made.expires_at == moment(2026, 3, 1, 1)
    assert [*SUBSCRIPTIONS.list(door, {})] == [made]
    assert door.vendor.postman
    door.vendor.postman.hooks.disable(made.id, "enough")
    (found,) = SUBSCRIPTIONS.list(door, {})
    assert (found.enabled, found.why) == (False, "enough")
    assert SUBSCRIPTIONS.update
    changed = SUBSCRIPTIONS.update(door, found, Wanted(url=wanted.url, events=("order.*",), secret=SECRET))
    assert (changed.events, changed.enabled) == (("order.*",), True)
    door.vendor.clock.advance(1800)
    assert SUBSCRIPTIONS.renew
    assert SUBSCRIPTIONS.renew(door, changed).expires_at == moment(2026, 3, 1, 1, 30)
    other = "whsec_" + b64encode(b"t" * 24).decode()
    assert SUBSCRIPTIONS.rotate
    assert isinstance(SUBSCRIPTIONS.rotate(door, changed, other), Subscription)
    assert [hook.secret for hook in door.vendor.postman.hooks.every()] == [other]
    SUBSCRIPTIONS.remove(door, changed)
    assert not [*SUBSCRIPTIONS.list(door, {})]
    assert KEY not in repr(made)
