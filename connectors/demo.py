"""The demo vendor, an HTTP server that comes with Tidelock: customers, projects with their tasks, orders.

Each of its lists speaks another dialect of real APIs, so this is also the connector to learn from:
`docs/connectors.md` builds it step by step.
"""

from collections.abc import Iterable, Mapping

from connectors import (
    STANDARD_WEBHOOKS,
    Api,
    Bearer,
    Concurrency,
    Connector,
    Delete,
    Effect,
    Event,
    Flag,
    InBody,
    InHeader,
    Json,
    Option,
    Refetch,
    Sequence,
    Stream,
    Subscription,
    Subscriptions,
    Sweep,
    Timestamp,
    Tombstones,
    Upsert,
    Wanted,
    Webhook,
    WithParent,
    boolean,
    cursor,
    get_one,
    integer,
    iso,
    json,
    keyset,
    link_header,
    sequence,
    text,
)

WEBHOOKS = "/v1/webhooks"
ABSENT = ("customers", "projects")  # where a deleted record is there no more; elsewhere it stays, and is marked


def effects(event: Event) -> Iterable[Effect]:
    """What an event means. It carries the whole record; a project's `activity_at` moves with its tasks, untold."""
    noun, _, happened = event["type"].partition(".")
    stream, row, as_of = f"{noun}s", event["data"], iso("timestamp").instant(event["timestamp"])
    if happened == "deleted" and stream in ABSENT:
        yield Delete(stream, str(row["id"]), as_of)
    else:
        yield Upsert(stream, row, as_of)
    if stream == "tasks":
        yield Refetch("projects", str(row["project_id"]))


def subscription(found: Mapping[str, Json]) -> Subscription:
    ends = found["expires_at"]
    return Subscription(
        id=found["id"],
        url=found["url"],
        events=tuple(found["events"]),
        expires_at=iso("expires_at").instant(ends) if ends else None,
        enabled=found["enabled"],
        why=found["reason"] or "",
    )


def subscribed(api: Api, config: Mapping[str, Json]) -> Iterable[Subscription]:
    return map(subscription, api.get(WEBHOOKS).rows("data"))


def subscribe(api: Api, wanted: Wanted) -> Subscription:
    about = {"url": wanted.url, "events": wanted.events, "secret": wanted.secret}
    return subscription(api.send("POST", WEBHOOKS, json=about)[""])


def change(api: Api, one: Subscription, wanted: Wanted) -> Subscription:
    about = {"events": wanted.events, "secret": wanted.secret, "enabled": True}
    return subscription(api.send("PATCH", f"{WEBHOOKS}/{one.id}", json=about)[""])


def renew(api: Api, one: Subscription) -> Subscription:
    return subscription(api.send("POST", f"{WEBHOOKS}/{one.id}/renew")[""])


def rotate(api: Api, one: Subscription, secret: str) -> Subscription:
    return subscription(api.send("PATCH", f"{WEBHOOKS}/{one.id}", json={"secret": secret})[""])


def unsubscribe(api: Api, one: Subscription) -> None:
    api.send("DELETE", f"{WEBHOOKS}/{one.id}")


connector = Connector(
    base_url="{url}",
    auth=Bearer("secret_key"),
    owner="demo",
    options={"url": Option("where the demo vendor listens, such as http://127.0.0.1:8099", required=True)},
    limits={"default": ("100/second", Concurrency(8))},
    streams=(
        Stream(
            "customers",
            "/v1/customers",
            cursor("data", "next_cursor", size=("limit", 500), since="updated_since"),
            version=iso("updated_at"),
            cursor=Timestamp(field=iso("updated_at")),
            get=get_one(),
            deletes=(
                Tombstones(
                    path="/v1/customers/deleted",
                    pull=cursor("data", "next_cursor", size=("limit", 500), since="since"),
                    at=iso("deleted_at"),
                ),
            ),
            columns=(text("name"), text("email"), text("country"), integer("balance_cents"), boolean("vip"),
                     text("address.city"), json("tags"), iso("created_at"), iso("updated_at")),
        ),
        Stream(
            "projects",
            "/v1/projects",
            link_header(size=("per_page", 500)),
            version=iso("activity_at"),
            get=get_one(),
            etag=True,
            deletes=(Sweep(every=None, confirm="get"),),
            columns=(text("name"), text("status"), text("owner"), iso("activity_at"), iso("updated_at")),
        ),
        Stream(
            "tasks",
            "/v1/projects/{id}/tasks",
            keyset("updated_at", since="since", size=("per_page", 500)),
            parent="projects",
            when="activity_at",
            version=iso("updated_at"),
            cursor=Timestamp(field=iso("updated_at")),
            get=get_one("/v1/tasks/{key}"),
            deletes=(Flag("deleted"), WithParent()),
            columns=(integer("project_id"), text("title"), boolean("done"), text("assignee"),
                     iso("updated_at")),
        ),
        Stream(
            "orders",
            "/v1/orders",
            sequence("orders", param="after_seq", more="more", last="last_seq", size=("limit", 500)),
            version=integer("seq"),
            cursor=Sequence(field=integer("seq")),
            get=get_one(),
            deletes=(Flag("status", "deleted"),),
            columns=(text("customer_id"), text("status"), text("currency"), integer("amount_cents")),
        ),
    ),
    webhook=Webhook(
        verify=STANDARD_WEBHOOKS,
        effects=effects,
        name=InBody("type"),
        events=("customer.*", "project.*", "task.*", "order.*"),
        delivery=InHeader("webhook-id"),
        subscriptions=Subscriptions(
            list=subscribed, create=subscribe, update=change, renew=renew, rotate=rotate, remove=unsubscribe,
            early="1 hour", check="10 minutes", chooses=True,
        ),
    ),
)  # fmt: skip
