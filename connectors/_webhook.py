"""Webhooks: how a vendor's deliveries are believed, told apart and understood, and how they are asked for."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from connectors._ask import Effect, Json
from connectors._durations import seconds
from connectors._errors import ContractError
from connectors._places import InBody, InHeader, Place
from connectors._pulls import Api
from connectors._verifiers import Verifier


class Event(dict[str, Json]):
    """One event: its JSON object as sent, with what stood around it.

    name     what happened, as `Webhook.name` says; "" where it doesn't
    headers  the delivery's headers, names in lower case; none for an event out of a feed
    """

    __slots__ = ("headers", "name")

    def __init__(self, content: Mapping[str, Json], name: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(content)
        self.name = name
        self.headers: Mapping[str, str] = headers or {}


EffectsFunction: TypeAlias = Callable[[Event], Iterable[Effect]]


@dataclass(frozen=True, slots=True)
class Echo:
    """A signed POST whose body has the field `field`, and `when` as given, is answered with that field's value: Slack's
    `url_verification`."""

    field: str
    when: tuple[str, Json] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Challenge:
    """A GET is answered with the parameter `echo`, where `token` is the connection's secret of the name `secret`:
    Meta's `hub.challenge`. Without a `secret` whoever asks is answered."""

    echo: str
    token: str = ""
    secret: str = ""


@dataclass(frozen=True, slots=True)
class Capture:
    """The first POST brings the secret with which all later ones are signed, at the path `field`: Notion's
    `verification_token`. It is taken only while the connection has no secret."""

    field: str


@dataclass(frozen=True, slots=True)
class Ping:
    """A verified delivery that only asks whether somebody is there: answered, and not kept."""

    place: Place
    equals: str


Handshake: TypeAlias = Echo | Challenge | Capture | Ping


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """One subscription as the vendor has it.

    id          the vendor's id of it
    url         where it delivers to
    events      what it delivers; () = everything
    secret      the signing secret, in the one answer in which the vendor shows it; None = not shown, or ours
    expires_at  when it ends, microseconds since 1970; None = it doesn't
    enabled     whether it delivers; `why` not, in the vendor's words
    data        what else the vendor wants to be told when it is renewed or removed
    """

    id: str
    url: str
    events: tuple[str, ...] = ()
    secret: str | None = None
    expires_at: int | None = None
    enabled: bool = True
    why: str = ""
    data: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A subscription as it shall be: where to, of what, signed with `secret` where the vendor lets us choose one."""

    url: str
    events: tuple[str, ...]
    secret: str
    config: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscriptions:
    """How webhook subscriptions are made at the vendor. Every function gets `api` first.

    list      list(api, config) -> the subscriptions there are, whoever made them
    create    create(api, wanted) -> the new one
    update    update(api, one, wanted) -> as it is now: other events, enabled again; None = removed and created anew
    renew     renew(api, one) -> with its new end; None = they don't end
    rotate    rotate(api, one, secret) -> with the new secret; None = removed and created anew
    remove    remove(api, one)
    early     how long before its end it is renewed
    check     how often it is looked at whether it still delivers
    chooses   whether we choose the signing secret; else the vendor does, and shows it in `create`'s answer
    """

    list: Callable[[Api, Mapping[str, Json]], Iterable[Subscription]]
    create: Callable[[Api, Wanted], Subscription]
    remove: Callable[[Api, Subscription], None]
    update: Callable[[Api, Subscription, Wanted], Subscription] | None = None
    renew: Callable[[Api, Subscription], Subscription] | None = None
    rotate: Callable[[Api, Subscription, str], Subscription] | None = None
    early: str = "1 day"
    check: str = "1 hour"
    chooses: bool = False

    def __post_init__(self) -> None:
        seconds(self.early)
        seconds(self.check)


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """What a vendor delivers by itself.

    verify     how a delivery proves that it comes from the vendor
    effects    effects(event) -> what an event means; the same function serves the feed, the webhook and a replay
    name       where the name of an event stands: InHeader("X-GitHub-Event"), InBody("type")
    events     the names that `effects` understands; "customer.*" is every name that begins so
    ignore     the names that are of no concern. A name that is in neither is told, once
    delivery   where the delivery's id stands, the same on every repetition; several make it together; () = its digest
    each       the path of the list where one delivery carries several events; "" = the body; None = one event
    handshakes what is answered before, or beside, deliveries
    subscriptions   how the vendor is asked for deliveries; None = a person does it on the vendor's pages
    max_body   bytes of one delivery, all that the vendor may send
    """

    verify: Verifier
    effects: EffectsFunction
    name: Place
    events: tuple[str, ...]
    ignore: tuple[str, ...] = ()
    delivery: Place | tuple[Place, ...] = ()
    each: str | None = None
    handshakes: tuple[Handshake, ...] = ()
    subscriptions: Subscriptions | None = None
    max_body: int = 5 * 1024 * 1024

    def __post_init__(self) -> None:
        for place in (self.name, *self.deliveries):
            if not isinstance(place, InHeader | InBody):
                raise ContractError(f"webhook: {place} is no place of a name or an id: InHeader(...) or InBody(...)")

    @property
    def deliveries(self) -> tuple[Place, ...]:
        """The places that make a delivery's id."""
        return self.delivery if isinstance(self.delivery, tuple) else (self.delivery,)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that a connection must have to be delivered to."""
        challenges = (one.secret for one in self.handshakes if isinstance(one, Challenge) and one.secret)
        return tuple(dict.fromkeys((*self.verify.secrets, *challenges)))

    def understands(self, name: str) -> bool:
        """Whether `effects` was written for events of this name."""
        return any(_matches(name, one) for one in self.events)

    def ignores(self, name: str) -> bool:
        """Whether events of this name are of no concern."""
        return any(_matches(name, one) for one in self.ignore)


def _matches(name: str, pattern: str) -> bool:
    return name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
