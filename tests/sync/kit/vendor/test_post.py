"""Deliveries: one for every edit, signed, repeated until they are answered, and lost where a test wants it."""

import random
import threading

import pytest
from standardwebhooks import Webhook

from sync.kit.vendor import Latency, Limit, Posting, demo_vendor
from sync.kit.vendor.hooks import PATH
from tests.sync.kit.vendor.mailbox import Mailbox

KEY = {"Authorization": "Bearer demo-secret-key"}


@pytest.fixture
def mailbox():
    with Mailbox() as box:
        yield box


@pytest.fixture
def subscribed(mailbox, asker):
    """A vendor that fares so, and what its API said of the one subscription to everything."""

    def make(posting=None, **subscription):
        vendor = demo_vendor(
            scale=0.001, limit=Limit(rate=None), latency=Latency(), webhooks=posting or Posting(retry_s=0.01)
        )
        client = asker(vendor, **KEY)
        return vendor, client, client.post(PATH, json={"url": mailbox.url, **subscription}).json()

    return make


def test_every_edit_of_every_collection_is_delivered_signed(subscribed, mailbox):
    """As the receiving side of Standard Webhooks' own library sees it."""
    vendor, client, hook = subscribed()
    made = client.post("/v1/customers", json={"name": "Ada"}).json()
    client.patch(f"/v1/customers/{made['id']}", json={"name": "Bea"})
    client.delete(f"/v1/customers/{made['id']}")
    order = client.post("/v1/orders", json={"status": "open"}).json()
    client.delete(f"/v1/orders/{order['id']}")
    task = client.post("/v1/projects/1/tasks", json={"title": "x"}).json()
    client.delete("/v1/projects/1")
    assert vendor.postman.settle()
    kinds = [one.json["type"] for one in sorted(mailbox.came, key=lambda one: one.id)]
    assert kinds[:6] == [
        "customer.created", "customer.updated", "customer.deleted", "order.created", "order.deleted", "task.created",
    ]  # fmt: skip
    assert (set(kinds[6:-1]), kinds[-1]) == ({"task.deleted"}, "project.deleted")
    for one in mailbox.came:
        assert Webhook(hook["secret"]).verify(one.body, one.headers) == one.json
    first, second = sorted(mailbox.came, key=lambda one: one.id)[:2]
    assert first.json["data"] == made
    assert second.json["data"]["name"] == "Bea"
    assert second.json["timestamp"] == second.json["data"]["updated_at"]
    assert any(one.json["data"]["id"] == task["id"] and one.json["data"].get("deleted") for one in mailbox.came)


def test_only_what_was_asked_for_is_delivered(subscribed, mailbox):
    vendor, client, _ = subscribed(events=["order.*", "customer.updated"])
    client.post("/v1/customers", json={"name": "Ada"})
    client.patch("/v1/customers/cus_000001", json={"name": "Bea"})
    client.post("/v1/orders", json={})
    assert vendor.postman.settle()
    assert {one.json["type"] for one in mailbox.came} == {"customer.updated", "order.created"}


def test_another_accounts_edits_are_not_told(subscribed, mailbox):
    vendor, _, _ = subscribed()
    vendor.account("7").create("customers", None, {"name": "Other"})
    vendor.create("customers", None, {"name": "Ours"})
    assert vendor.postman.settle()
    assert [one.json["data"]["name"] for one in mailbox.came] == ["Ours"]


def test_the_vendors_own_clock_signs_nothing(subscribed, mailbox):
    """A receiver knows only real time."""
    vendor, _, hook = subscribed()
    vendor.clock.shift(-86_400)
    vendor.create("customers", None, {"name": "Ada"})
    (one,) = mailbox.wait(1)
    assert Webhook(hook["secret"]).verify(one.body, one.headers)


def test_what_is_not_answered_is_sent_again_under_its_id(subscribed, mailbox):
    mailbox.statuses = [500, 302, 404]
    vendor, _, hook = subscribed()
    vendor.create("customers", None, {"name": "Ada"})
    assert vendor.postman.settle()
    assert len({one.id for one in mailbox.came}) == 1
    assert len({one.body for one in mailbox.came}) == 1
    assert [(one.status, one.attempt) for one in vendor.postman.sent()] == [(500, 0), (302, 1), (404, 2), (202, 3)]
    assert vendor.postman.hooks.every()[0].failures == 0
    assert all(Webhook(hook["secret"]).verify(one.body, one.headers) for one in mailbox.came)


def test_it_gives_up_and_disables_who_never_answers(subscribed, mailbox, asker):
    mailbox.status = 503
    vendor, client, _ = subscribed(Posting(retries=2, retry_s=0.01, disable_after=4))
    for _ in range(2):
        vendor.create("customers", None, {"name": "Ada"})
        assert vendor.postman.settle()
    assert [one.attempt for one in vendor.postman.sent()] == [0, 1, 2, 0]
    assert client.get(PATH).json()["data"][0]["reason"] == "4 deliveries in a row failed"
    vendor.create("customers", None, {"name": "Nobody hears of it"})
    assert vendor.postman.stats()["told"] == 2


def test_where_nobody_listens_it_goes_on(subscribed, mailbox):
    vendor, _, _ = subscribed(Posting(retries=1, retry_s=0.01), url="http://127.0.0.1:1/hook")
    vendor.create("customers", None, {"name": "Ada"})
    assert vendor.postman.settle()
    assert [one.status for one in vendor.postman.sent()] == [0, 0]
    assert not mailbox.came


def test_duplicates_are_the_same_delivery(subscribed, mailbox):
    vendor, _, _ = subscribed(Posting(duplicates=1.0))
    vendor.create("customers", None, {"name": "Ada"})
    first, second = mailbox.wait(2)
    assert (first.id, first.body) == (second.id, second.body)


def test_a_share_is_dropped_the_same_for_a_seed(subscribed, mailbox):
    """And what is dropped never comes."""
    vendor, _, _ = subscribed(Posting(dropped=0.5))
    for number in range(40):
        vendor.create("customers", None, {"name": f"n{number}"})
    assert vendor.postman.settle()
    counts = vendor.postman.stats()
    assert counts["told"] == 40
    assert counts["dropped"] == 40 - len(mailbox.came)
    chance = random.Random(1)
    expected = 0
    for _ in range(40):
        if chance.random() < 0.5:
            expected += 1
            continue
        for _ in range(3):  # duplicate, late, spread
            chance.random()
    assert counts["dropped"] == expected


def test_a_spread_shuffles_them(subscribed, mailbox):
    vendor, _, _ = subscribed(Posting(spread_s=0.3, late=0.2, late_s=0.3))
    for number in range(60):
        vendor.create("customers", None, {"name": f"n{number}"})
    assert vendor.postman.settle()
    ids = [one.id for one in mailbox.came]
    assert len(set(ids)) == 60
    assert ids != sorted(ids)


def test_it_works_only_for_subscribers_and_ends_with_the_server(subscribed, mailbox, served):
    posts = lambda: sum(thread.name == "postman" for thread in threading.enumerate())  # noqa: E731
    before = posts()
    silent = demo_vendor(scale=0.001)
    silent.create("customers", None, {"name": "Ada"})
    assert posts() == before
    vendor, _, _ = subscribed()
    vendor.create("customers", None, {"name": "Ada"})
    mailbox.wait(1)
    assert posts() > before
    vendor.close()
    assert posts() == before
    vendor.create("customers", None, {"name": "Bea"})
    mailbox.wait(2)


def test_another_process_changes_the_weather_and_reads_what_was_sent(subscribed, mailbox):
    vendor, client, hook = subscribed()
    control = {"X-Control-Token": "control"}
    assert client.post("/_control/webhooks", json={"duplicates": 1.0}, headers=control).status_code == 200
    vendor.create("customers", None, {"name": "Ada"})
    mailbox.wait(2)
    assert vendor.postman.settle()
    told = client.get("/_control/deliveries", headers=control).json()
    assert [one["status"] for one in told["entries"]] == [202, 202]
    assert told["stats"]["delivered"] == 2
    assert vendor.stats()["webhooks"]["delivered"] == 2
    client.post("/_control/disable", json={"id": hook["id"], "reason": "off"}, headers=control)
    assert client.get(PATH).json()["data"][0]["enabled"] is False
    assert client.post("/_control/webhooks", json={"nonsense": 1}, headers=control).status_code == 400
