"""Webhook subscriptions, made and kept through the vendor's API."""

import pytest

from sync.kit.vendor import Posting, demo_vendor
from sync.kit.vendor.hooks import PATH

KEY = {"Authorization": "Bearer demo-secret-key"}
URL = "http://127.0.0.1:1/hook"


@pytest.fixture
def vendor(clock):
    return demo_vendor(scale=0.001, clock=clock)


@pytest.fixture
def client(vendor, asker):
    return asker(vendor, **KEY)


def test_a_subscription_is_made_listed_changed_and_removed(client):
    made = client.post(PATH, json={"url": URL, "events": ["customer.*"]})
    assert made.status_code == 201
    hook = made.json()
    assert (hook["url"], hook["events"], hook["enabled"], hook["expires_at"]) == (URL, ["customer.*"], True, None)
    assert [one["id"] for one in client.get(PATH).json()["data"]] == [hook["id"]]
    changed = client.patch(f"{PATH}/{hook['id']}", json={"events": ["order.created"]})
    assert changed.json()["events"] == ["order.created"]
    assert client.get(f"{PATH}/{hook['id']}").json() == changed.json()
    assert client.delete(f"{PATH}/{hook['id']}").status_code == 204
    assert client.get(PATH).json() == {"data": []}
    assert client.get(f"{PATH}/{hook['id']}").status_code == 404


def test_the_secret_is_shown_once_and_may_be_chosen(client, vendor):
    ours = "whsec_" + "c2VjcmV0" * 4
    made = client.post(PATH, json={"url": URL}).json()
    chosen = client.post(PATH, json={"url": URL, "secret": ours}).json()
    assert made["secret"].startswith("whsec_")
    assert chosen["secret"] == ours
    assert not any("secret" in one for one in client.get(PATH).json()["data"])
    client.patch(f"{PATH}/{made['id']}", json={"secret": ours})
    assert [hook.secret for hook in vendor.postman.hooks.every()] == [ours, ours]


@pytest.mark.parametrize("body", [{}, {"url": "ftp://x"}, {"url": URL, "secret": "whsec_no base64"}])
def test_what_makes_no_subscription_is_a_422(client, body):
    assert client.post(PATH, json=body).status_code == 422


def test_another_accounts_subscriptions_are_its_own(client, vendor, asker):
    made = client.post(PATH, json={"url": URL}).json()
    other = asker(vendor, Authorization="Bearer demo-secret-key-7")
    assert other.get(f"/accounts/7{PATH}").json() == {"data": []}
    assert other.delete(f"/accounts/7{PATH}/{made['id']}").status_code == 404
    assert other.get(PATH).status_code == 401


def test_a_subscription_that_expires_is_renewed_or_ends(asker, clock):
    client = asker(demo_vendor(scale=0.001, clock=clock, webhooks=Posting(expires_s=3600)), **KEY)
    place = f"{PATH}/{client.post(PATH, json={'url': URL}).json()['id']}"
    assert client.get(place).json()["expires_at"] == "2026-03-01T01:00:00.000000Z"
    clock.advance(3000)
    assert client.post(f"{place}/renew").json()["expires_at"] == "2026-03-01T01:50:00.000000Z"
    clock.advance(3600)
    assert (client.get(place).json()["enabled"], client.get(place).json()["reason"]) == (False, "expired")


def test_what_was_disabled_is_enabled_again(client, vendor):
    made = client.post(PATH, json={"url": URL}).json()
    vendor.postman.hooks.disable(made["id"], "too many failures")
    assert client.get(PATH).json()["data"][0]["reason"] == "too many failures"
    assert client.patch(f"{PATH}/{made['id']}", json={"enabled": True}).json()["enabled"] is True


def test_other_requests_are_not_possible(client):
    assert client.delete(PATH).status_code == 405
    assert client.put(f"{PATH}/wh_0001", json={}).status_code == 405
    assert client.patch(f"{PATH}/wh_0001", json={}).status_code == 404


def test_a_vendor_without_webhooks_has_no_such_path(notes, asker):
    assert asker(notes(1)).get(PATH).status_code == 404
