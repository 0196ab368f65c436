"""One vendor with one dialect, one connector that describes it, and a connection between them.

The vendor is the simulator on a real socket, the connection is in an installation of `tests.world`: what a test
sees went through claim, fetch and store. `Killed` is a worker's end in the middle of anything.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from itertools import count
from threading import get_ident
from typing import Any

import pytest
from sqlalchemy import RowMapping, event, select

from connectors import Connector, Field, Option, Stream, Timestamp, cursor, get_one, iso
from connectors._pulls import PullFunction
from models import Checkpoint
from sync import reading, schedule
from sync.kit.vendor import Answer, Clock, Collection, Entry, Request, Since, Vendor, moment, serve
from sync.kit.vendor.times import SECOND
from sync.store.database import read
from tests.mirrored import stored
from tests.world import World, planted

NAME = "acme"
NOON = moment(2026, 3, 1, 12)
MINUTE, HOUR, DAY = 60 * SECOND, 3600 * SECOND, 86_400 * SECOND
UPDATED = iso("updated_at")


class Killed(BaseException):
    """The worker's process ends here: nothing catches it, nothing is cleaned up."""


class Rig:
    """A connection to a vendor; `account` is the connection's id."""

    def __init__(self, world: World, vendor: Vendor, url: str, account: int) -> None:
        self.world, self.vendor, self.url, self.account = world, vendor, url, account

    def make(self, many: int, *, apart: int = SECOND, **fields: Any) -> list[Any]:
        """So many notes, each changed `apart` microseconds after the one before; their keys."""
        start = self.vendor.clock.now() - many * apart
        return [
            self.vendor.create("notes", None, {"text": f"note {number}", **fields}, at=start + number * apart)
            for number in range(many)
        ]

    def sync(self, **demand: Any) -> list[RowMapping]:
        return self.world.sync(self.account, **demand)

    def open(self, **demand: Any) -> list[int]:
        return self.world.open(self.account, **demand)

    def until_settled(self, rounds: int = 12) -> None:
        """Let so much time pass that every retry was made and every lost message sent again."""
        for _ in range(rounds):
            self.world.hasten()
            self.world.execute("UPDATE slices SET rung_at = NULL WHERE state = 'ready'")
            self.world.settle()

    def held(self, stream: str = "notes") -> dict[str, Any]:
        """The live records in our table, by key."""
        return stored(self.world, NAME, stream, self.account)

    def truth(self, collection: str = "notes") -> dict[str, Any]:
        return {key: dict(row) for key, row in self.vendor.truth(collection).items()}

    def cursor(self, list_: str = "rows", stream: str = "notes") -> Any:
        """Where the next run starts; None = there is no checkpoint."""
        own = (Checkpoint.connection_id == self.account, Checkpoint.list == list_, Checkpoint.stream == stream)
        with read() as connection:
            return connection.execute(select(Checkpoint.cursor).where(*own)).scalar()

    def slices(self, where: str = "1 = 1") -> list[RowMapping]:
        return self.world.rows("slices", f"connection_id = {self.account} AND {where}")

    def asked(self, path: str = "/v1/notes") -> list[Entry]:
        return [entry for entry in self.vendor.log.since() if entry.path == path]

    def after(self, nth: int, act: Callable[[], object], path: str = "/v1/notes") -> None:
        """Act right after the vendor has made its nth answer (from now on) to a request of this path."""
        number, answer = count(1), self.vendor.answer

        def acting(request: Request) -> Answer:
            made = answer(request)
            if request.path == path and next(number) == nth:
                act()
            return made

        self.vendor.answer = acting  # type: ignore[method-assign]  # the vendor's day takes a turn

    def rewrite(self, change: Callable[[Request, Answer], Answer]) -> None:
        """The vendor answers as `change` says."""
        answer = self.vendor.answer
        self.vendor.answer = lambda request: change(request, answer(request))  # type: ignore[method-assign]  # as above

    def kill(self) -> None:
        """What a worker held when it was killed is found by the tick, when its lease is over."""
        self.world.execute("UPDATE slices SET lease_until = '2020-01-01 00:00:00.000000' WHERE state = 'running'")
        schedule.take_back()


@contextmanager
def rigged(
    world: World,
    patch: pytest.MonkeyPatch,
    collections: Collection | Iterable[Collection],
    *streams: Stream,
    at: int | None = NOON,
    secrets: dict[str, str] | None = None,
    vendor: Mapping[str, Any] | None = None,
    connection: Mapping[str, Any] | None = None,
    span: float = 0.0,
    **connector: Any,
) -> Iterator[Rig]:
    """A vendor with these collections, whose clock stands `at`, and a connector of these streams. Pages land one by
    one, or those of `span` seconds together."""
    patch.setattr(reading, "SPAN", span)
    listed = [collections] if isinstance(collections, Collection) else [*collections]
    made = Vendor(listed, **{"clock": Clock(at=at), **(vendor or {})})
    described = Connector(
        base_url="{url}", owner="tests", streams=streams, options={"url": Option("where", required=True)}, **connector
    )
    planted(patch, NAME, described)
    with serve(made) as server:
        account = world.connect(NAME, {"url": server.url}, secrets, **(connection or {}))
        yield Rig(world, made, server.url, account)


def notes(**dialect: Any) -> Collection:
    """A list of notes that can be asked for what changed since a time, inclusive."""
    return Collection(name="notes", **{"since": Since(param="since"), **dialect})


def stream(pull: PullFunction | None = None, *, at: Field = UPDATED, **changes: Any) -> Stream:
    """The stream of those notes, ten a page."""
    values = {"version": at, "cursor": Timestamp(field=at), "get": get_one(), **changes}
    return Stream("notes", "/v1/notes", pull or listed(), **values)


def listed(size: int = 10, **changes: Any) -> PullFunction:
    return cursor("data", "next_cursor", **{"size": ("limit", size), "since": "since", **changes})


@contextmanager
def killed_at(world: World, step: int) -> Iterator[list[int]]:
    """The worker ends at its step so many: before a statement, or before a commit. Yields the count of steps."""
    steps, worker = [0], get_ident()

    def count_step(*_: Any) -> None:
        if get_ident() != worker:
            return
        steps[0] += 1
        if steps[0] == step:
            raise Killed

    event.listen(world.engine, "before_cursor_execute", count_step)
    event.listen(world.engine, "commit", count_step)
    try:
        with suppress(Killed):
            yield steps
    finally:
        event.remove(world.engine, "before_cursor_execute", count_step)
        event.remove(world.engine, "commit", count_step)


@contextmanager
def killed_on(patch: pytest.MonkeyPatch, target: Any, name: str, nth: int = 1) -> Iterator[None]:
    """The process ends as it calls this function for the nth time."""
    number, original = count(1), getattr(target, name)

    def dying(*given: Any, **named: Any) -> Any:
        if next(number) == nth:
            raise Killed
        return original(*given, **named)

    with patch.context() as patched:
        patched.setattr(target, name, dying)
        with suppress(Killed):
            yield
            raise AssertionError(f"{name} was not called {nth} times")
