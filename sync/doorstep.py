"""The doorstep: what the receiver must know of a connection, kept for two seconds.

Who is asked for by a name that no connection has costs no look of its own: the names that there are, are read once in
the same two seconds, however many others are tried. All looks happen in threads, and one that takes too long is given
up, so that a database that hangs holds up nobody.
"""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import structlog
from sqlalchemy import Engine, bindparam, select
from sqlalchemy.exc import SQLAlchemyError

from connectors import InHeader, Place, TidelockError, Webhook
from models import Connection as Account
from models import Inbox
from sync.log import Complaints
from sync.registry import load
from sync.store import inboxes
from sync.store.database import engine, glance, now, write

log = structlog.get_logger()
T = TypeVar("T")

TTL = 2.0  # seconds
PATIENCE = 5.0  # seconds that a look may take

_accounts: Any = Account.__table__
_inboxes: Any = Inbox.__table__
_open = _accounts.c.state != "paused"
_names = select(_accounts.c.name).where(_open)
_one = (
    select(
        _accounts.c.id,
        _accounts.c.connector,
        _accounts.c.config,
        _inboxes.c.connection_id.label("inbox"),
        _inboxes.c.sealed,
        now().label("clock"),
    )
    .outerjoin(_inboxes, _inboxes.c.connection_id == _accounts.c.id)
    .where(_accounts.c.name == bindparam("name"), _open)
)


class Away(TidelockError):
    """It can't be known now whether there is such a connection, or how its deliveries are believed."""


@dataclass(frozen=True, slots=True)
class Door:
    """A connection that is delivered to.

    secrets  by name, those that are valid now
    missing  the names of the secrets without which it believes nothing, and which are not set
    hidden   the headers in which a delivery's proof stands, in lower case: not to be kept
    wanted   the headers without which it would not be understood
    """

    id: int
    webhook: Webhook
    secrets: inboxes.Secrets = field(repr=False)
    missing: tuple[str, ...]
    hidden: frozenset[str]
    wanted: frozenset[str]


@dataclass(frozen=True, slots=True)
class _Seen:
    """The result of a look, and until when it counts; `away` = why there is none."""

    until: float
    door: Door | None = None
    away: str = ""


class Doorstep:
    """Doors by the names of connections, for one event loop."""

    def __init__(self, target: Callable[[], Engine] = engine, *, ttl: float = TTL, patience: float = PATIENCE) -> None:
        self._target, self._ttl, self._patience = target, ttl, patience
        self._doors: dict[str, _Seen] = {}
        self._names: frozenset[str] = frozenset()
        self._names_until = -1.0
        self._names_away = ""
        self._looks: dict[str, asyncio.Future[Any]] = {}
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="doorstep")
        self._complaints = Complaints()

    async def door(self, name: str) -> Door | None:
        """The door of the connection of this name; None where there is none, it is paused, or has no webhook. Away
        where nobody can say."""
        seen = self._doors.get(name)
        if seen is None or seen.until <= time.monotonic():
            if seen is None and not await self._known(name):
                return None
            seen = await self._shared(name, partial(self._look, name))
        if seen.away:
            raise Away(seen.away)
        return seen.door

    def forget(self, name: str) -> None:
        """Look again at the next request: something about the connection was changed."""
        self._doors.pop(name, None)

    async def capture(self, name: str, door: Door, secret: str, value: str) -> bool:
        """Take a secret that came by itself, for a connection that has none; False = it has one by now."""
        try:
            return await self._in_time(self._begun(partial(self._capture, door.id, secret, value)))
        finally:
            self.forget(name)

    def close(self) -> None:
        """No look is begun from now on."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def _known(self, name: str) -> bool:
        if self._names_until <= time.monotonic():
            await self._shared("", self._look_for_names)
        if self._names_away:
            raise Away(self._names_away)
        return name in self._names

    async def _shared(self, key: str, look: Callable[[], T]) -> T:
        """What this look finds; who asks for the same meanwhile waits for the same look."""
        under_way = self._looks.get(key)
        if under_way is None:
            under_way = self._looks[key] = self._begun(look)
            under_way.add_done_callback(lambda _: self._looks.pop(key, None))
        return await self._in_time(under_way)

    def _begun(self, look: Callable[[], T]) -> asyncio.Future[T]:
        return asyncio.get_running_loop().run_in_executor(self._threads, look)

    async def _in_time(self, under_way: asyncio.Future[T]) -> T:
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(under_way)
        except TimeoutError:
            raise Away(f"the database did not answer in {self._patience:g} s") from None

    # in threads

    def _look_for_names(self) -> None:
        try:
            with glance(self._target()) as connection:
                self._names = frozenset(connection.execute(_names).scalars())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is said, and looked at again
            self._names_away = self._wrong(error)
        else:
            self._names_away = ""
            self._complaints.well(log, "webhook", connection="")
            self._doors = {name: seen for name, seen in list(self._doors.items()) if name in self._names}
        self._names_until = time.monotonic() + self._ttl

    def _look(self, name: str) -> _Seen:
        try:
            door, away = self._found(name), ""
            self._complaints.well(log, "webhook", connection=name)
        except Exception as error:  # noqa: BLE001 - a connector may raise anything
            door, away = None, self._wrong(error, name)
        seen = _Seen(time.monotonic() + self._ttl, door, away)
        self._doors[name] = seen
        return seen

    def _found(self, name: str) -> Door | None:
        with glance(self._target()) as connection:
            row = connection.execute(_one, {"name": name}).one_or_none()
        webhook = load(row.connector).webhook_for(row.config or {}) if row else None
        return self._made(row, webhook) if row and webhook else None

    def _made(self, row: Any, webhook: Webhook) -> Door:
        """A delivery is only let in where there is an inbox, by which it is found again."""
        if row.inbox is None:
            with write(self._target()) as connection:
                inboxes.ensure(connection, row.id)
        secrets = inboxes.opened(row.id, row.sealed, row.clock)
        return Door(row.id, webhook, secrets, _missing(webhook, secrets), *_headers(webhook))

    def _capture(self, connection_id: int, secret: str, value: str) -> bool:
        try:
            with write(self._target()) as connection:
                return inboxes.capture(connection, connection_id, secret, value)
        except SQLAlchemyError as error:
            raise Away(str(error)) from error

    def _wrong(self, error: Exception, name: str = "") -> str:
        reason = str(error) if isinstance(error, TidelockError) else f"{type(error).__name__}: {error}"
        self._complaints.wrong(log, "webhook", reason, connection=name)
        return reason


def _missing(webhook: Webhook, secrets: Mapping[str, tuple[str, ...]]) -> tuple[str, ...]:
    return tuple(name for name in webhook.verify.secrets if not secrets.get(name))


def _headers(webhook: Webhook) -> tuple[frozenset[str], frozenset[str]]:
    """Those that prove, and those that say what it is."""
    proofs = (getattr(webhook.verify, part, None) for part in ("signature", "token"))
    return _named(proofs), _named((webhook.name, *webhook.deliveries))


def _named(places: Iterable[Place | None]) -> frozenset[str]:
    return frozenset(place.name.lower() for place in places if isinstance(place, InHeader))
