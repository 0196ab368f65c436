"""Matching: which of the vendor's subscriptions are ours, and what makes them as they should be. It asks nobody.

Ours are those that deliver to our address, whoever made them. One of them stays, the others go; subscriptions to other
addresses are nobody's business here.
"""

import secrets
from base64 import b64encode
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import quote

from connectors import ContractError, InQuery, Subscription, Subscriptions, Webhook, seconds

MICROSECOND = 1_000_000
BYTES = 32  # of a secret that we choose


class Act(StrEnum):
    """What is done to the one that stays; each is also what was done, for those who look."""

    KEEP = "keep"
    RENEW = "renew"
    UPDATE = "update"
    REPLACE = "replace"
    CREATE = "create"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a connection wants of its vendor.

    url      our address, without secrets
    events   what shall be delivered
    known    the ids of the subscriptions that we know of: with the secrets that we have
    secret   whether we have a secret, wherever it came from
    clock    microseconds since 1970
    """

    how: Subscriptions
    url: str
    events: tuple[str, ...]
    known: frozenset[str]
    secret: bool
    clock: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """What is to be done.

    act   to `one`, which is there unless it is made anew
    rest  the others of ours, to be removed once one is as it should be
    why   in a sentence; "" where nothing is to be done
    gap   we had one, and it does not deliver
    """

    act: Act
    one: Subscription | None
    rest: tuple[Subscription, ...] = ()
    why: str = ""
    gap: bool = False


def ours(found: Iterable[Subscription], url: str) -> list[Subscription]:
    """Those that deliver to our address; what stands behind a question mark is a token."""
    return [one for one in found if one.url.partition("?")[0].rstrip("/") == url]


def match(found: Sequence[Subscription], wish: Wish) -> Match:
    """What makes these subscriptions of ours as wished."""
    one = _best(found, wish)
    rest = tuple(other for other in found if other is not one)
    if one is None:
        why = "there is none" if not found else "nobody knows the secret of the one there is"
        return Match(act=Act.CREATE, one=None, rest=rest, why=why, gap=bool(wish.known))
    act, why = _needed(one, wish)
    if not why and rest:
        why = f"{len(rest)} more than needed"
    return Match(act=act, one=one, rest=rest, why=why, gap=not _delivers(one, wish) and one.id in wish.known)


def _best(found: Sequence[Subscription], wish: Wish) -> Subscription | None:
    """The one that stays: its deliveries can be believed, it delivers, and it is the one we know."""
    usable = [one for one in found if _believed(one, wish)]
    return max(usable, key=lambda one: (one.id in wish.known, _delivers(one, wish)), default=None)


def _believed(one: Subscription, wish: Wish) -> bool:
    """Whether we have its secret, or can give it ours. Where we know of none, a secret that somebody gave us is that of
    the one there is."""
    return wish.how.chooses or one.id in wish.known or (wish.secret and not wish.known)


def _delivers(one: Subscription, wish: Wish) -> bool:
    return one.enabled and (one.expires_at is None or one.expires_at > wish.clock)


def _needed(one: Subscription, wish: Wish) -> tuple[Act, str]:
    change = Act.UPDATE if wish.how.update else Act.REPLACE
    if not one.enabled:
        return change, one.why or "it is disabled"
    if not _delivers(one, wish):
        return Act.REPLACE, "it has expired"
    if one.events and set(one.events) != set(wish.events):
        return change, "it delivers other events"
    if wish.how.chooses and one.id not in wish.known:
        return change, "it is not known to have our secret"
    if _ends_soon(one, wish):
        return (Act.RENEW if wish.how.renew else Act.REPLACE), "it expires soon"
    return Act.KEEP, ""


def _ends_soon(one: Subscription, wish: Wish) -> bool:
    early = round(seconds(wish.how.early) * MICROSECOND)
    return one.expires_at is not None and one.expires_at - early <= wish.clock


def next_look(how: Subscriptions, one: Subscription, clock: int) -> float:
    """Seconds until somebody should look at it again: as often as declared, and in time for its end."""
    check = seconds(how.check)
    if one.expires_at is None:
        return check
    left = (one.expires_at - clock) / MICROSECOND - seconds(how.early)
    return min(check, max(left, 1.0))


def secret_name(webhook: Webhook) -> str | None:
    """The secret that signs; None where deliveries prove nothing."""
    return next(iter(webhook.verify.secrets), None)


def chosen_secret(webhook: Webhook) -> str:
    """A secret of ours, in the spelling that the verifier reads; ContractError where a vendor signs with a key of its
    own."""
    verifier: Any = webhook.verify
    key = getattr(verifier, "key", "text")
    if "public_key" in (secret_name(webhook) or "public_key"):
        raise ContractError("deliveries are proved by a key of the vendor's: no secret of ours can be chosen")
    raw = secrets.token_bytes(BYTES)
    text = {"base64": b64encode(raw).decode(), "hex": raw.hex()}.get(key) or secrets.token_urlsafe(BYTES)
    return f"{getattr(verifier, 'strip', '')}{text}"


def address(webhook: Webhook, url: str, secret: str) -> str:
    """Where to deliver to: our address, with the token where that is what a delivery is believed by."""
    token = getattr(webhook.verify, "token", None)
    return f"{url}?{quote(token.name)}={quote(secret, safe='')}" if isinstance(token, InQuery) and secret else url
