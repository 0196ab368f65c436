"""Stripe API. https://docs.stripe.com/api

The lists tell what is there, newest first, and can't be asked for what changed: objects carry no time of
their last change. The events do tell (https://docs.stripe.com/api/events), for thirty days.
"""

from collections.abc import Iterable, Mapping

from connectors import (
    Api,
    Bearer,
    Body,
    Connector,
    Delete,
    Effect,
    Event,
    Feed,
    Field,
    Hmac,
    InBody,
    InHeader,
    InSignature,
    Json,
    Option,
    Outcome,
    Pairs,
    Refetch,
    Rule,
    Stream,
    Subscription,
    Subscriptions,
    Sweep,
    Wait,
    Wanted,
    Webhook,
    Window,
    boolean,
    epoch,
    get_one,
    integer,
    last_id,
    text,
)

VERSION = "2025-09-30.clover"
CREATED = epoch("created")

STREAM_OF = {
    "customer": "customers",
    "product": "products",
    "price": "prices",
    "subscription": "subscriptions",
    "invoice": "invoices",
    "charge": "charges",
}
DELETED = ("customer.deleted", "product.deleted", "price.deleted", "invoice.deleted")

# All whose object belongs to a stream, https://docs.stripe.com/api/events/types: an endpoint takes whole names or "*".
HAPPENS = {
    "customer": "created deleted updated",
    "customer.subscription": "created deleted paused pending_update_applied pending_update_expired resumed "
    "trial_will_end updated",
    "product": "created deleted updated",
    "price": "created deleted updated",
    "invoice": "created deleted finalization_failed finalized marked_uncollectible overdue overpaid paid "
    "payment_action_required payment_attempt_required payment_failed payment_succeeded sent updated voided will_be_due",
    "charge": "captured expired failed pending refunded succeeded updated",
}
EVENTS = tuple(f"{thing}.{what}" for thing, several in HAPPENS.items() for what in several.split())

# What the same things have besides; to whom everything is sent shall not be told of it.
OTHERS = ("customer.discount.*", "customer.source.*", "customer.tax_id.*", "charge.dispute.*", "charge.refund.*",
          "invoice.upcoming")  # fmt: skip


def effects(event: Event) -> Iterable[Effect]:
    """What an event means: the object in it is how it was then, so its present state is asked for.

    A subscription that ended (`customer.subscription.deleted`) can still be read, as "canceled"; the preview
    in `invoice.upcoming` has no id, because there is no such invoice yet.
    """
    thing = event["data"]["object"]
    stream = STREAM_OF.get(thing["object"])
    if stream is None or not thing.get("id"):
        return
    if event["type"] in DELETED:
        yield Delete(stream, thing["id"], CREATED.instant(event["created"]))
    else:
        yield Refetch(stream, thing["id"])


ENDPOINTS = "/v1/webhook_endpoints"


def endpoint(found: Mapping[str, Json]) -> Subscription:
    """A webhook endpoint. Its secret is shown once, by the answer that made it; there is no way to change it."""
    return Subscription(
        id=found["id"],
        url=found["url"],
        events=tuple(found["enabled_events"]),
        secret=found.get("secret"),
        enabled=found["status"] == "enabled",
        why="" if found["status"] == "enabled" else f"Stripe says that it is {found['status']}",
    )


def endpoints(api: Api, config: Mapping[str, Json]) -> Iterable[Subscription]:
    """All of the account, which may have sixteen."""
    return map(endpoint, api.get(ENDPOINTS, {"limit": 100}).rows("data"))


def subscribe(api: Api, wanted: Wanted) -> Subscription:
    """A new endpoint, whose events are as this connector reads them, whatever version the account has."""
    about = {"api_version": VERSION, "description": "Tidelock"}
    form = {"url": wanted.url, "enabled_events": wanted.events, **about}
    return endpoint(api.send("POST", ENDPOINTS, form=form)[""])


def change(api: Api, one: Subscription, wanted: Wanted) -> Subscription:
    """Its events as wanted, and enabled."""
    form = {"enabled_events": wanted.events, "disabled": False}
    return endpoint(api.send("POST", f"{ENDPOINTS}/{one.id}", form=form)[""])


def unsubscribe(api: Api, one: Subscription) -> None:
    """Deleted for good."""
    api.send("DELETE", f"{ENDPOINTS}/{one.id}")


def listed(name: str, *columns: Field, **params: Json) -> Stream:
    """A list of Stripe's; they are all paged alike. https://docs.stripe.com/api/pagination"""
    return Stream(
        name,
        f"/v1/{name}",
        last_id("starting_after", size=("limit", 100)),
        order="descending",
        get=get_one(),
        deletes=(Sweep(every="1 day", confirm="get"),),
        columns=(*columns, CREATED),
        params=params,
    )


connector = Connector(
    base_url="{api_base}",
    auth=Bearer("secret_key"),
    owner="payments",
    docs="https://docs.stripe.com/api",
    options={"api_base": Option("Stripe, or a server that behaves like it", default="https://api.stripe.com")},
    headers={"Stripe-Version": VERSION},
    # All that a sandbox or a single endpoint may be asked, a quarter of a live account.
    # docs.stripe.com/rate-limits
    limits={"default": "25/second"},
    # https://docs.stripe.com/api/errors, https://docs.stripe.com/error-low-level
    rules=(
        Rule(status=200, method="GET", body=Body("deleted", True), then=Outcome.GONE),
        Rule(status=(400, 404), body=Body("error.param", "starting_after"), then=Outcome.RESTART_PASS,
             why="the record to go on from was deleted under way"),
        Rule(status=401, then=Outcome.FAIL_CONNECTION, why="Stripe refuses the key: give a valid secret_key"),
        Rule(status=429, body=Body("error.code", "lock_timeout"), then=Outcome.RETRY, wait=Wait(default=0.5)),
        Rule(status=429, then=Outcome.RATE_LIMITED, wait=Wait(default=1)),
        Rule(header=("stripe-should-retry", "true"), then=Outcome.RETRY),
        Rule(status=range(500, 600), header=("stripe-should-retry", "false"), then=Outcome.FAIL_STREAM,
             why="Stripe says that asking again is of no use"),
        Rule(status=409, then=Outcome.RETRY, why="a request with the same idempotency key is under way"),
    ),
    streams=(
        listed("customers", text("email"), text("name"), text("currency"), integer("balance"),
               boolean("delinquent")),
        listed("products", text("name"), boolean("active")),
        listed("prices", text("product"), text("type"), text("currency"), integer("unit_amount"),
               boolean("active")),
        listed("subscriptions", text("customer"), text("status"), epoch("canceled_at"), status="all"),
        listed("invoices", text("customer"), text("number"), text("status"), text("currency"),
               integer("total"), text("parent.subscription_details.subscription", name="subscription")),
        listed("charges", text("customer"), text("status"), text("currency"), integer("amount"),
               integer("amount_refunded"), boolean("paid")),
    ),
    feed=Feed(
        "/v1/events",
        last_id("starting_after", since="created[gte]", size=("limit", 100)),
        effects,
        at=CREATED,
        streams=tuple(STREAM_OF.values()),
        retention="30 days",
        lookback="10 minutes",  # events become visible a little out of order
    ),
    # https://docs.stripe.com/webhooks, https://docs.stripe.com/api/webhook_endpoints
    webhook=Webhook(
        verify=Hmac(
            signature=InHeader("Stripe-Signature"),
            signed="{timestamp}.{body}",
            form=Pairs("v1"),
            window=Window(at=InSignature("t"), past=300),
        ),
        effects=effects,
        name=InBody("type"),
        events=EVENTS,
        ignore=OTHERS,
        delivery=InBody("id"),
        subscriptions=Subscriptions(list=endpoints, create=subscribe, update=change, remove=unsubscribe),
    ),
)  # fmt: skip
