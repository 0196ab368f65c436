"""Stripe's webhooks: its events, its signature as its own library makes it, and its endpoints."""

import json
import time
from collections.abc import Mapping
from typing import Any, get_args

import pytest
from stripe import WebhookSignature
from stripe.params._webhook_endpoint_create_params import WebhookEndpointCreateParams

from connectors import Event, Outcome, Refetch, Subscription, Wanted
from connectors.stripe import EVENTS, OTHERS, connector, effects
from sync.door import OutcomeError
from sync.kit.recording import Exchange, Request, Response
from sync.kit.replay import Replay
from sync.received import Received
from sync.verify import Refused, verify
from tests.connectors.vendors import hook_of

HOOK, SUBSCRIPTIONS = hook_of(connector)
SECRET = "whsec_test_5c8f"
URL = "https://sync.example.com/webhooks/billing"
FOUND = {"id": "we_1", "object": "webhook_endpoint", "url": URL, "enabled_events": ["customer.created"],
         "status": "enabled", "api_version": None}  # fmt: skip
ONE = Subscription(id="we_1", url=URL, events=("customer.created",))
FORM = {"url": URL, "enabled_events": ["customer.created"], "api_version": "2025-09-30.clover",
        "description": "Tidelock"}  # fmt: skip


def answers(method: str, path: str, body: Any, asked: Any = None, status: int = 200, **params: Any) -> Replay:
    """A door that knows one answer."""
    request = Request.of(method, path, params, asked)
    return Replay([Exchange(request, Response(status, {}, json.dumps(body).encode()))], connector.rules)


def happens(kind: str, **thing: Any) -> Event:
    return Event({"id": "evt_1", "type": kind, "created": 1_750_000_000, "data": {"object": thing}}, kind)


def test_every_event_that_is_asked_for_is_one_of_stripes() -> None:
    """As its own library types them; what has our things in its name is asked for, or left out by name."""
    (names,) = get_args(WebhookEndpointCreateParams.__annotations__["enabled_events"])
    known = set(get_args(names))
    assert set(EVENTS) <= known
    ours = {name for name in known if name.split(".")[0] in ("customer", "product", "price", "invoice", "charge")}
    assert {name for name in ours if not HOOK.understands(name)} == {name for name in ours if HOOK.ignores(name)}
    assert not any(HOOK.understands(name) for name in OTHERS)


@pytest.mark.parametrize("name", EVENTS)
def test_every_event_means_something(name: str) -> None:
    """By what is in it."""
    thing = "subscription" if name.startswith("customer.subscription.") else name.partition(".")[0]
    (effect,) = effects(happens(name, object=thing, id="x_1"))
    assert effect.stream == f"{thing}s"


def test_an_event_is_a_hint_to_ask() -> None:
    """What it carries was true then."""
    assert list(effects(happens("charge.updated", object="charge", id="ch_1"))) == [Refetch("charges", "ch_1")]


@pytest.mark.parametrize(("altered", "held"), [(b"", SECRET), (b" ", SECRET), (b"", "whsec_other")])
def test_its_own_librarys_signature_is_taken(altered: bytes, held: str) -> None:
    """And that of another body or secret is not."""
    body, moment = b'{"id": "evt_1", "object": "event"}', int(time.time())
    signature = WebhookSignature._compute_signature(f"{moment}.{body.decode()}", SECRET)
    headers = {"stripe-signature": f"t={moment},v1={signature}"}
    received = Received("POST", URL, {}, headers, body + altered)
    if not altered and held == SECRET:
        verify(HOOK.verify, received, {"webhook_secret": [held]}, time.time())
        return
    with pytest.raises(Refused):
        verify(HOOK.verify, received, {"webhook_secret": [held]}, time.time())


def test_endpoints_are_listed() -> None:
    """Disabled ones too, and never with a secret."""
    page = {"object": "list", "has_more": False, "data": [FOUND, {**FOUND, "id": "we_2", "status": "disabled"}]}
    first, second = SUBSCRIPTIONS.list(answers("GET", "/v1/webhook_endpoints", page, limit=100), {})
    assert first == ONE
    assert (second.id, second.enabled, second.why) == ("we_2", False, "Stripe says that it is disabled")


def test_an_endpoint_is_made_and_shows_its_secret() -> None:
    """In the version whose events this connector reads."""
    door = answers("POST", "/v1/webhook_endpoints", {**FOUND, "secret": SECRET}, FORM)
    made = SUBSCRIPTIONS.create(door, Wanted(url=URL, events=("customer.created",), secret=""))
    assert (made.id, made.secret, made.url) == ("we_1", SECRET, URL)


def test_an_endpoint_is_changed_and_enabled() -> None:
    """Its version stays."""
    asked = {"enabled_events": ["customer.created"], "disabled": False}
    assert SUBSCRIPTIONS.update
    door = answers("POST", "/v1/webhook_endpoints/we_1", FOUND, asked)
    assert SUBSCRIPTIONS.update(door, ONE, Wanted(url=URL, events=("customer.created",), secret="")) == ONE


def test_an_endpoint_is_deleted() -> None:
    """`deleted: true` answers a request to delete; only where a record was asked for it means that there is none."""
    SUBSCRIPTIONS.remove(answers("DELETE", "/v1/webhook_endpoints/we_1", {"id": "we_1", "deleted": True}), ONE)


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (500, {}, Outcome.AMBIGUOUS),
        (500, {"stripe-should-retry": "true"}, Outcome.RETRY),
        (400, {}, Outcome.FAIL_STREAM),
    ],
)
def test_a_create_that_failed_says_how(status: int, headers: Mapping[str, str], outcome: Outcome) -> None:
    """Nobody knows whether a 500 made one, unless Stripe says that it may be sent again."""
    request = Request.of("POST", "/v1/webhook_endpoints", None, FORM)
    door = Replay([Exchange(request, Response(status, headers, b"{}"))], connector.rules)
    with pytest.raises(OutcomeError) as caught:
        SUBSCRIPTIONS.create(door, Wanted(url=URL, events=("customer.created",), secret=""))
    assert caught.value.outcome is outcome
