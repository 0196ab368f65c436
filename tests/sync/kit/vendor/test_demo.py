"""The demo vendor: the same records for a seed, in four dialects, and any number of accounts."""

from typing import Any

import pytest

from sync.kit.vendor import Latency, Limit, demo_vendor
from sync.kit.vendor.demo import COLLECTIONS, FIRST, LAST

Rows = dict[str, dict[str, Any]]
BEARER = {"Authorization": "Bearer demo-secret-key"}


@pytest.fixture
def demo():
    """A hundredth of the demo, without its limits."""
    return demo_vendor(scale=0.01, limit=Limit(), latency=Latency())


@pytest.fixture
def client(demo, asker):
    return asker(demo, **BEARER)


def test_it_has_twenty_thousand_records():
    vendor = demo_vendor()
    counts = {name: len(vendor.truth(name)) for name in ("customers", "projects", "tasks", "orders")}
    assert counts == {"customers": 6_000, "projects": 200, "tasks": 11_800, "orders": 2_000}


def test_the_same_seed_makes_the_same_records():
    def records(seed: int) -> list[Rows]:
        vendor = demo_vendor(seed, 0.01)
        return [dict(vendor.truth(one.name)) for one in COLLECTIONS]

    assert records(1) == records(1)
    assert records(1) != records(2)


def test_records_are_of_the_past_and_some_are_awkward(demo):
    customers = list(demo.truth("customers").values())
    stamps = [row[name] for row in customers for name in ("created_at", "updated_at")]
    assert min(stamps) >= "2026-01-01"
    assert max(stamps) < "2026-10-31"
    assert FIRST < LAST < demo.clock.now()
    assert any(row["address"] is None for row in customers)
    assert any(not row["name"].isascii() for row in customers)
    assert all(row["created_at"] <= row["updated_at"] for row in customers)


def test_customers_come_by_cursor_in_order_of_their_update(demo, client):
    rows: list[dict[str, Any]] = []
    cursor: str | None = ""
    while cursor is not None:
        body = client.get("/v1/customers", params={"cursor": cursor, "limit": 25}).json()
        rows += body["data"]
        cursor = body["next_cursor"]
    assert {row["id"]: row for row in rows} == demo.truth("customers")
    assert rows == sorted(rows, key=lambda row: (row["updated_at"], row["id"]))
    assert rows[0]["id"].startswith("cus_0000")
    since = rows[30]["updated_at"]
    assert client.get("/v1/customers", params={"updated_since": since}).json()["data"] == rows[30:]


def test_projects_and_their_tasks_come_by_link_header(demo, client):
    def walk(url: str | None) -> list[dict[str, Any]]:
        rows = []
        while url:
            reply = client.get(url)
            rows += reply.json()
            url = reply.links.get("next", {}).get("url")
        return rows

    projects = walk("/v1/projects?per_page=1")
    tasks = [task for row in projects for task in walk(f"/v1/projects/{row['id']}/tasks?per_page=10")]
    assert {str(row["id"]): row for row in projects} == demo.truth("projects")
    assert {str(row["id"]): row for row in tasks} == demo.truth("tasks")


def test_a_project_is_active_when_one_of_its_tasks_is(demo, client):
    before = client.get("/v1/projects/1").json()
    task = client.get("/v1/projects/1/tasks").json()[0]
    edited = client.patch(f"/v1/tasks/{task['id']}", json={"done": True, "project_id": 2}).json()
    assert edited["project_id"] == 1  # not for callers to set
    after = client.get("/v1/projects/1").json()
    assert after["activity_at"] > before["activity_at"]
    assert after["updated_at"] == before["updated_at"]
    assert client.patch("/v1/projects/1", json={"status": "done"}).json()["activity_at"] > after["activity_at"]


def test_orders_come_by_sequence_again_after_each_edit(demo, client):
    orders: Rows = {}
    body = {"last_seq": 0, "more": True}
    while body["more"]:
        body = client.get("/v1/orders", params={"after_seq": body["last_seq"], "limit": 7}).json()
        orders |= {row["id"]: row for row in body["orders"]}
    assert orders == demo.truth("orders")
    stamps = [row["updated_at"] for row in orders.values()]
    assert stamps == sorted(stamps)
    demo.delete("orders", "ord_000003")
    later = client.get("/v1/orders", params={"after_seq": body["last_seq"]}).json()
    assert [(row["id"], row["status"]) for row in later["orders"]] == [("ord_000003", "deleted")]
    assert later["last_seq"] == body["last_seq"] + 1


def test_deletions_show_in_each_dialects_way(demo, client):
    demo.delete("customers", "cus_000005")
    demo.delete("tasks", 3)
    project = demo.account().row("tasks", 3).fields["project_id"]
    assert client.get("/v1/customers/deleted").json()["data"][0]["id"] == "cus_000005"
    assert client.get("/v1/events").json()["data"][0]["type"] == "customer.deleted"
    tasks = client.get(f"/v1/projects/{project}/tasks", params={"per_page": 500}).json()
    assert [task["id"] for task in tasks if task["deleted"]] == [3]
    demo.delete("projects", 1)
    assert [row["id"] for row in client.get("/v1/projects").json()] == [2]


def test_every_account_has_small_data_and_a_key_of_its_own(demo, asker):
    client = asker(demo)

    def ask(account: str, key: str):
        return client.get(f"/accounts/{account}/v1/customers", headers={"Authorization": f"Bearer {key}"})

    seventh = ask("7", "demo-secret-key-7").json()["data"]
    assert len(seventh) == 30
    assert seventh != ask("8", "demo-secret-key-8").json()["data"]
    assert ask("7", "demo-secret-key-8").status_code == 401
    assert ask("7", "demo-secret-key").status_code == 401
    assert [entry.account for entry in demo.log.since()] == ["7", "8", "7", "7"]
    assert demo.stats()["accounts"] == 2


def test_accounts_are_edited_apart(demo):
    demo.account("7").update("customers", "cus_000001", {"name": "changed"})
    names = [demo.account(one).truth("customers")["rows"]["cus_000001"]["name"] for one in ("7", "8", "")]
    assert names[0] == "changed"
    assert "changed" not in names[1:]


def test_the_default_limit_is_a_hundred_a_second_in_bursts_of_twenty(asker, monkeypatch):
    demo = demo_vendor(scale=0.01, latency=Latency())
    monkeypatch.setattr(demo.clock, "elapsed_s", lambda: 0.0)
    client = asker(demo, **BEARER)
    statuses = [client.get("/v1/orders").status_code for _ in range(22)]
    assert statuses == [200] * 20 + [429] * 2
