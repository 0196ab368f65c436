"""The subscriber: one connection's subscriptions in the hands of this process.

Nothing is repeated unasked: a create of which nobody knows is settled by listing again. A secret that we choose is
valid here before the vendor has it; one that the vendor chooses is stored with the row of its subscription, right after
the answer that told it; and one that changes stays valid beside the new one.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from sqlalchemy import Connection, Row

from connectors import ContractError, Outcome, Subscription, Subscriptions, Wanted, Webhook
from sync.door import Account, OutcomeError
from sync.doors import door
from sync.matching import MICROSECOND, Act, Match, Wish, address, chosen_secret, match, next_look, ours, secret_name
from sync.registry import load
from sync.settings import SettingsError, settings
from sync.store import inboxes, subscriptions
from sync.store.database import read, write

KEEP = timedelta(days=1)  # how long an old secret stays valid
KNOWN_IN = 2.5  # seconds until every receiver knows a secret that was set
_REFUSED = frozenset({400, 409, 422})  # a second subscription to one address
Pause = Callable[[float], None]


@dataclass(slots=True, kw_only=True)
class Done:
    """What was done, or would be.

    removed   ids of those that were more than one
    gap       deliveries may be missing
    runs      what was opened to make up for them
    """

    act: str
    id: str = ""
    url: str = ""
    events: tuple[str, ...] = ()
    why: str = ""
    removed: list[str] = field(default_factory=list)
    gap: bool = False
    runs: list[int] = field(default_factory=list)


class Subscriber:
    """Works while the turn is its own."""

    turn: Row[Any]

    def __init__(self, account: Row[Any], *, keep: timedelta = KEEP, pause: Pause = time.sleep) -> None:
        self.account, self.keep, self.pause = account, keep, pause
        self.connector = load(account.connector)
        self.webhook, self.how = _declared(account, self.connector.webhook_for(account.config))
        self.url = url_of(account)
        self.name = secret_name(self.webhook)
        self.api: Any = door(account.connector, self.connector, _caller(account))

    # what is to be done

    def planned(self) -> Done:
        return _done(self._match(self._ours()), None, self.url)

    def do(self) -> Done:
        """What the turn says."""
        if self.turn.data.get("do") == "remove":
            return self._remove_all()
        if self.turn.data.get("rotate"):
            return self._rotate()
        return self._made(self._match(self._ours()))

    def _match(self, found: list[Subscription]) -> Match:
        return match(found, self._wish())

    def _wish(self) -> Wish:
        with read() as connection:
            known = {row.remote: row for row in subscriptions.of(connection, self.account.id)}
            held = inboxes.secrets_of(connection, self.account.id)
        return Wish(
            how=self.how, url=self.url, events=self.webhook.events, known=frozenset(known),
            secret=self.name is None or bool(held.get(self.name)), clock=_clock(),
        )  # fmt: skip

    def _ours(self) -> list[Subscription]:
        return ours(self.how.list(self.api, self.account.config), self.url)

    # doing it

    def _made(self, found: Match) -> Done:
        if found.gap:
            self._note_gap(found.why)
        acts: dict[Act, Callable[[Match], Subscription]] = {
            Act.KEEP: lambda it: _there(it.one),
            Act.RENEW: self._renew,
            Act.UPDATE: self._update,
            Act.REPLACE: self._replace,
            Act.CREATE: self._create,
        }
        one = acts[found.act](found)
        self._save(one)
        rest = [other for other in (found.one, *found.rest) if other and other.id != one.id]
        return self._without(rest, one, _done(found, one, self.url))

    def _without(self, rest: list[Subscription], one: Subscription, done: Done) -> Done:
        for other in rest:
            self._remove(other)
            done.removed.append(other.id)
        with write() as connection:
            subscriptions.keep_turn(connection, self.turn)
            subscriptions.forget(connection, self.account.id, {one.id})
        return done

    def _renew(self, found: Match) -> Subscription:
        one = _there(found.one)
        try:
            return self.how.renew(self.api, one) if self.how.renew else one
        except OutcomeError as error:
            if error.outcome is not Outcome.GONE:
                raise
        return self._create(found)

    def _update(self, found: Match) -> Subscription:
        one = _there(found.one)
        try:
            return self.how.update(self.api, one, self._wanted(self._secret())) if self.how.update else one
        except OutcomeError as error:
            if error.outcome is not Outcome.GONE:
                raise
        return self._create(found)

    def _replace(self, found: Match) -> Subscription:
        """A new one beside the old one, which goes afterwards; before, only where the vendor allows no two."""
        try:
            return self._create(found)
        except OutcomeError as error:
            if error.status not in _REFUSED:
                raise
        self._note_gap("it was removed to be created anew")
        self._remove(_there(found.one))
        return self._create(found)

    def _create(self, found: Match) -> Subscription:
        """A new one with its secret stored, or nothing. What came of a create that nobody knows of is seen in the list;
        if the vendor told the secret in the answer that was lost, that one is of no use, and another is made."""
        wanted = self._wanted(self._secret())
        before = {one.id for one in (found.one, *found.rest) if one}
        try:
            return self._taken(self.how.create(self.api, wanted))
        except OutcomeError as error:
            if error.outcome is not Outcome.AMBIGUOUS:
                raise
        made = [one for one in self._ours() if one.id not in before]
        if made and (self.how.chooses or self.name is None):
            return self._taken(made[0])
        for one in made:
            self._remove(one)
        return self._taken(self.how.create(self.api, wanted))

    def _taken(self, made: Subscription) -> Subscription:
        """Its secret is ours from now on, in the transaction in which it becomes known."""
        with write() as connection:
            left = {name: value for name, value in self.turn.data.items() if name != "rotate"}
            self.turn = subscriptions.mark_turn(connection, self.turn, left)
            if self.name and made.secret and not self.how.chooses:
                inboxes.set_secret(connection, self.account.id, self.name, made.secret, self.keep)
            self._store(connection, made)
        return made

    def _save(self, one: Subscription) -> None:
        with write() as connection:
            subscriptions.keep_turn(connection, self.turn)
            self._store(connection, one)

    def _store(self, connection: Connection, one: Subscription) -> None:
        wait = next_look(self.how, one, _clock())
        subscriptions.save(connection, self.account.id, one, self.url, wait)

    def _remove(self, one: Subscription) -> None:
        try:
            self.how.remove(self.api, one)
        except OutcomeError as error:
            if error.outcome is not Outcome.GONE:
                raise

    def _remove_all(self) -> Done:
        removed = self._ours()
        for one in removed:
            self._remove(one)
        with write() as connection:
            subscriptions.keep_turn(connection, self.turn)
            subscriptions.forget(connection, self.account.id)
        return Done(act="remove", url=self.url, removed=[one.id for one in removed])

    # secrets

    def begin_rotation(self, value: str = "") -> None:
        """A new secret is valid here beside the old one; from now on whoever has the turn brings it to the vendor."""
        if self.name is None:
            raise ContractError(f"deliveries of {self.account.connector} are not signed: there is no secret to change")
        with write() as connection:
            if self.how.chooses:
                new = value or chosen_secret(self.webhook)
                inboxes.set_secret(connection, self.account.id, self.name, new, self.keep)
            elif value:
                raise ContractError(f"{self.account.connector} chooses the secret itself: no other can be given")
            self.turn = subscriptions.mark_turn(connection, self.turn, {**self.turn.data, "rotate": True})
        if self.how.chooses:
            self.pause(KNOWN_IN)

    def _rotate(self) -> Done:
        found = self._match(self._ours())
        if found.one is None:
            done = self._made(found)
        elif self.how.chooses and self.how.rotate:
            one = self.how.rotate(self.api, found.one, self._secret())
            self._save(replace(one, secret=None))
            done = self._without(list(found.rest), one, Done(act="rotate", id=one.id, url=self.url, events=one.events))
        else:
            done = self._made(replace(found, act=Act.REPLACE, why="its secret is changed"))
        with write() as connection:
            self.turn = subscriptions.mark_turn(connection, self.turn, {"do": "sync"})
        return done

    def _wanted(self, secret: str) -> Wanted:
        return Wanted(
            url=address(self.webhook, self.url, secret), events=self.webhook.events, secret=secret,
            config=self.account.config,
        )  # fmt: skip

    def _secret(self) -> str:
        """The secret that the vendor shall sign with, valid here; "" where the vendor chooses."""
        if self.name is None or not self.how.chooses:
            return ""
        with write() as connection:
            held = inboxes.secrets_of(connection, self.account.id).get(self.name, ())
            if held:
                return held[0]
            made = chosen_secret(self.webhook)
            inboxes.set_secret(connection, self.account.id, self.name, made)
            subscriptions.keep_turn(connection, self.turn)
        self.pause(KNOWN_IN)
        return made

    def _note_gap(self, why: str) -> None:
        with write() as connection:
            subscriptions.keep_turn(connection, self.turn)
            rows = subscriptions.of(connection, self.account.id)
            seen = max((row.updated_at for row in rows), default=None)
            subscriptions.open_gap(connection, self.account.id, seen)
            subscriptions.disabled(connection, self.account.id, why)


def url_of(account: Row[Any]) -> str:
    """Where the connection's vendor delivers to; SettingsError where nobody has said where we are reached."""
    base = settings().public_url
    if not base:
        raise SettingsError(
            "TIDELOCK_PUBLIC_URL is not set: name the address at which vendors reach this service, "
            "as in TIDELOCK_PUBLIC_URL=https://sync.example.com"
        )
    return f"{base}/webhooks/{account.name}"


def _declared(account: Row[Any], webhook: Webhook | None) -> tuple[Webhook, Subscriptions]:
    if webhook is None:
        raise ContractError(f"the connector {account.connector} has no webhook")
    if webhook.subscriptions is None:
        raise ContractError(
            f"webhooks of {account.connector} are set up on the vendor's own pages: deliver to {url_of(account)}, then "
            f"`tidelock webhooks secret {account.name}`"
        )
    return webhook, webhook.subscriptions


def _caller(account: Row[Any]) -> Account:
    return Account(
        connection_id=account.id, connection=account.name, config=account.config, credential_id=account.credential_id,
        lane="interactive", stream="webhooks",
    )  # fmt: skip


def _there(one: Subscription | None) -> Subscription:
    if one is None:
        raise AssertionError("an act on a subscription that isn't there")
    return one


def _done(found: Match, one: Subscription | None, url: str) -> Done:
    shown = one or found.one
    return Done(
        act=found.act, id=shown.id if shown else "", url=url, events=shown.events if shown else (), why=found.why,
        removed=[] if one else [other.id for other in found.rest], gap=found.gap,
    )  # fmt: skip


def _clock() -> int:
    return round(time.time() * MICROSECOND)
