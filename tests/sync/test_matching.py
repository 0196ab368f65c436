"""Matching: what is to be done about the subscriptions that a vendor has, decided without asking anybody."""

from base64 import b64decode
from dataclasses import replace
from typing import Any

import pytest

from connectors import (
    STANDARD_WEBHOOKS,
    ContractError,
    EcdsaP256,
    FetchBack,
    Hmac,
    InBody,
    InHeader,
    InQuery,
    Subscription,
    Subscriptions,
    Verifier,
    Webhook,
)
from sync.matching import Act, Wish, address, chosen_secret, match, next_look, ours, secret_name

URL = "https://sync.example.com/webhooks/acme"
NOW = 1_800_000_000_000_000
HOUR = 3_600_000_000
EVENTS = ("a", "b")


def nothing(*_: Any) -> Any:
    """Matching calls nobody."""


def how(*, update: bool = True, renew: bool = True, chooses: bool = True) -> Subscriptions:
    return Subscriptions(
        list=nothing, create=nothing, remove=nothing, update=nothing if update else None,
        renew=nothing if renew else None, chooses=chooses, early="1 hour", check="10 minutes",
    )  # fmt: skip


def wish(known: str = "", *, secret: bool = True, **given: bool) -> Wish:
    known_ids = frozenset(known.split())
    return Wish(how=how(**given), url=URL, events=EVENTS, known=known_ids, secret=secret, clock=NOW)


def one(id: str = "1", **given: object) -> Subscription:
    return Subscription(**{"id": id, "url": URL, "events": EVENTS, **given})  # type: ignore[arg-type]


def test_ours_are_those_that_deliver_to_our_address() -> None:
    """A token behind it, or a slash at its end, makes no other one; another host or connection does."""
    found = [one("1"), one("2", url=f"{URL}?token=x"), one("3", url=f"{URL}/"), one("4", url=f"{URL}-eu"),
             one("5", url="https://other.example.com/webhooks/acme"), one("6", url="")]  # fmt: skip
    assert [each.id for each in ours(found, URL)] == ["1", "2", "3"]


@pytest.mark.parametrize(
    ("found", "wished", "act", "gap"),
    [
        ([], wish(), Act.CREATE, False),
        ([], wish("1"), Act.CREATE, True),
        ([one()], wish("1"), Act.KEEP, False),
        ([one(events=("b", "a"))], wish("1"), Act.KEEP, False),
        ([one(events=())], wish("1"), Act.KEEP, False),
        ([one(events=("a",))], wish("1"), Act.UPDATE, False),
        ([one(events=("a",))], wish("1", update=False), Act.REPLACE, False),
        ([one(enabled=False, why="off")], wish("1"), Act.UPDATE, True),
        ([one(enabled=False)], wish("1", update=False), Act.REPLACE, True),
        ([one(expires_at=NOW)], wish("1"), Act.REPLACE, True),
        ([one(expires_at=NOW + HOUR)], wish("1"), Act.RENEW, False),
        ([one(expires_at=NOW + HOUR)], wish("1", renew=False), Act.REPLACE, False),
        ([one(expires_at=NOW + HOUR + 1)], wish("1"), Act.KEEP, False),
        ([one()], wish(), Act.UPDATE, False),  # it shall be signed with our secret
        ([one()], wish(update=False), Act.REPLACE, False),
        ([one()], wish(chooses=False), Act.KEEP, False),  # somebody gave us its secret
        ([one()], wish(chooses=False, secret=False), Act.CREATE, False),  # nobody knows it
        ([one()], wish("2", chooses=False), Act.CREATE, True),  # we know the secret of another, which is gone
        ([one(enabled=False)], wish(), Act.UPDATE, False),  # not ours before: nothing of it was missed
    ],
)
def test_what_is_done(found: list[Subscription], wished: Wish, act: Act, gap: bool) -> None:
    """And whether deliveries may be missing."""
    done = match(found, wished)
    assert (done.act, done.gap) == (act, gap)
    assert bool(done.why) == (act is not Act.KEEP)


def test_of_several_the_known_and_working_one_stays() -> None:
    """Whoever made the others."""
    found = [one("1"), one("2", enabled=False), one("3"), one("4")]
    assert match(found, wish("2 3")).one is found[2]
    assert match(found, wish("2")).one is found[1]
    assert match(found, wish()).one is found[0]
    done = match(found, wish("3"))
    assert [each.id for each in done.rest] == ["1", "2", "4"]
    assert (done.act, done.why) == (Act.KEEP, "3 more than needed")


def test_a_look_comes_in_time_for_the_end() -> None:
    """And else as often as declared."""
    assert next_look(how(), one(), NOW) == 600
    assert next_look(how(), one(expires_at=NOW + 2 * HOUR), NOW) == 600
    assert next_look(how(), one(expires_at=NOW + HOUR + 60_000_000), NOW) == 60
    assert next_look(how(), one(expires_at=NOW), NOW) == 1


def hook(verify: Verifier) -> Webhook:
    return Webhook(verify=verify, effects=lambda event: (), name=InBody("type"), events=("a",))


def test_a_chosen_secret_is_as_the_verifier_reads_it() -> None:
    """Long enough, and never the same."""
    standard = chosen_secret(hook(STANDARD_WEBHOOKS))
    assert len(b64decode(standard.removeprefix("whsec_"), validate=True)) == 32
    assert standard.startswith("whsec_")
    assert len(bytes.fromhex(chosen_secret(hook(Hmac(signature=InHeader("x"), key="hex"))))) == 32
    plain = hook(Hmac(signature=InHeader("x")))
    assert len(chosen_secret(plain)) >= 43
    assert chosen_secret(plain) != chosen_secret(plain)


def test_a_public_key_is_not_ours_to_choose() -> None:
    """Nor is there a secret where nothing is signed."""
    for verify in (EcdsaP256(signature=InHeader("x"), signed="{body}"), FetchBack()):
        with pytest.raises(ContractError, match="no secret of ours"):
            chosen_secret(hook(verify))
    assert secret_name(hook(FetchBack())) is None


def test_a_token_goes_along_in_the_address() -> None:
    """Where that is what a delivery is believed by."""
    token = hook(FetchBack(token=InQuery("token")))
    assert address(token, URL, "a/b") == f"{URL}?token=a%2Fb"
    assert address(hook(STANDARD_WEBHOOKS), URL, "a") == URL
    assert address(hook(replace(STANDARD_WEBHOOKS, id=None, signed="{body}")), URL, "a") == URL
