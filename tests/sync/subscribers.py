"""Subscribing in tests: a demo vendor with webhooks, a connection to it, and what both sides have."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Row, text

from connectors import Api, Connector, Subscription, Subscriptions, Wanted, Webhook
from connectors.demo import WEBHOOKS, connector
from sync.kit.vendor import Vendor
from sync.kit.vendor.demo import KEY
from sync.kit.vendor.hooks import Hook
from sync.store import connections, inboxes, subscriptions
from sync.store.database import read, write
from tests.world import World

PUBLIC = "https://sync.example.com"
URL = f"{PUBLIC}/webhooks/acme"


@dataclass
class Scene:
    """One connection, `acme`, to one vendor. `paused` are the pauses that were asked for."""

    world: World
    vendor: Vendor
    url: str
    account_id: int = 0
    paused: list[float] = field(default_factory=list)
    tended: list[int] = field(default_factory=list)
    at_pause: Callable[[], None] = lambda: None

    @property
    def account(self) -> Row[Any]:
        with read() as connection:
            return connections.get(connection, self.account_id)

    def connect(self, name: str = "acme", **values: Any) -> int:
        self.account_id = self.world.connect("demo", {"url": self.url}, {"secret_key": KEY}, name, **values)
        return self.account_id

    def pause(self, seconds: float) -> None:
        self.paused.append(seconds)
        self.at_pause()

    # the vendor's side

    @property
    def hooks(self) -> list[Hook]:
        assert self.vendor.postman
        return self.vendor.postman.hooks.every()

    def disable(self, reason: str = "too many failures") -> None:
        assert self.vendor.postman
        self.vendor.postman.hooks.disable(self.hooks[0].id, reason)

    def asked(self, *methods: str) -> list[str]:
        """The requests about subscriptions, by method and path."""
        entries = [one for one in self.vendor.log.since() if one.path.startswith(WEBHOOKS)]
        return [f"{one.method} {one.path}" for one in entries if not methods or one.method in methods]

    # our side

    @property
    def secrets(self) -> tuple[str, ...]:
        with read() as connection:
            return inboxes.secrets_of(connection, self.account_id).get("webhook_secret", ())

    def give(self, secret: str) -> None:
        with write() as connection:
            inboxes.set_secret(connection, self.account_id, "webhook_secret", secret)

    @property
    def rows(self) -> list[Row[Any]]:
        with read() as connection:
            return list(subscriptions.of(connection, self.account_id))

    @property
    def turn(self) -> Row[Any] | None:
        with read() as connection:
            rows = subscriptions.listed(connection, self.account_id)
        return next((row for row in rows if row.remote == subscriptions.TURN), None)

    @property
    def gap(self) -> Any:
        with read() as connection:
            found = connection.execute(
                text("SELECT gap_at FROM inboxes WHERE connection_id = :id"), {"id": self.account_id}
            )
            return found.scalar()

    def hasten(self) -> None:
        """Time passes: everybody should look now."""
        self.world.execute("UPDATE subscriptions SET due_at = updated_at")


def variant(**changes: Any) -> Connector:
    """The demo connector, its subscriptions otherwise."""
    webhook = connector.webhook
    assert isinstance(webhook, Webhook)
    assert webhook.subscriptions
    return replace(connector, webhook=replace(webhook, subscriptions=replace(webhook.subscriptions, **changes)))


def told_by_the_vendor() -> Connector:
    """A vendor that chooses the secret and shows it once, and where nothing can be changed but its being enabled."""

    def create(api: Api, wanted: Wanted) -> Subscription:
        found = api.send("POST", WEBHOOKS, json={"url": wanted.url, "events": wanted.events})
        return replace(_one(found[""]), secret=str(found["secret"]))

    def update(api: Api, one: Subscription, wanted: Wanted) -> Subscription:
        about = {"events": wanted.events, "enabled": True}
        return _one(api.send("PATCH", f"{WEBHOOKS}/{one.id}", json=about)[""])

    return variant(create=create, update=update, renew=None, rotate=None, chooses=False)


def _one(found: Any) -> Subscription:
    webhook = connector.webhook
    assert isinstance(webhook, Webhook)
    assert isinstance(webhook.subscriptions, Subscriptions)
    return Subscription(
        id=found["id"], url=found["url"], events=tuple(found["events"]), enabled=found["enabled"],
        why=found["reason"] or "",
    )  # fmt: skip
