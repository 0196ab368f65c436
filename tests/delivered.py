"""A connection with an inbox, for tests of what becomes of deliveries: rows are put into the inbox as the receiver
would, and drained when the test says so.

The connector has three streams: `notes` carry a version and can be asked for one by one; `plains` carry none; `memos`
only come by webhook. Its events are JSON objects with a `type`, see `effects`.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from typing import Any

import pytest
from sqlalchemy import insert, select

from connectors import Delete, InBody, Pull, Refetch, SharedToken, Stream, Upsert, Webhook, get_one, iso, text
from models import Delivery, Inbox
from sync import receive, schedule
from sync.kit.vendor import Since
from sync.store.database import now, read, write
from tests.traps.rig import Rig, listed, notes, rigged, stream
from tests.world import World

UPDATED = iso("updated_at")
_numbers = count(1)


def effects(event: Any) -> Iterator[Any]:
    """told: the event's own copy; hint: ask; gone; several: a list of such; pull; broken: a mistake in here."""
    kind, where, at = event["type"], event.get("stream", "notes"), event.get("at", 0)
    if kind == "told":
        yield Upsert(where, event["row"], at)
    elif kind == "gone":
        yield Delete(where, str(event["id"]), at)
    elif kind == "hint":
        yield Refetch(where, str(event["id"]))
    elif kind == "pull":
        yield Pull(where, event.get("parent"))
    elif kind == "several":
        for one in event["events"]:
            yield from effects(one)
    elif kind == "broken":
        raise KeyError("plan")


WEBHOOK = Webhook(
    verify=SharedToken(token=InBody("token")),
    effects=effects,
    name=InBody("type"),
    events=("told", "gone", "hint", "pull", "several", "broken"),
    ignore=("dull.*",),
)
PLAINS = Stream("plains", "/v1/plains", listed(since=None), get=get_one())
MEMOS = Stream("memos", version=UPDATED, columns=(text("text"),))


class Inboxed:
    """A connection that is delivered to; `rang` are the inboxes that were rung for."""

    def __init__(self, rig: Rig) -> None:
        self.rig, self.world, self.account, self.vendor = rig, rig.world, rig.account, rig.vendor
        self.rang: list[int] = []

    def put(self, body: Any, *, delivery: str = "", **headers: str) -> int:
        """Put one delivery into the inbox; its id."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        with write() as connection:
            statement = insert(Delivery).values(
                connection_id=self.account, delivery=delivery or f"d{next(_numbers)}", headers=json.dumps(headers),
                body=raw, received_at=now(), due_at=now(),
            )  # fmt: skip
            return int(connection.execute(statement.returning(Delivery.id)).scalar_one())

    def beside(self) -> "Inboxed":
        """Another connection to the same vendor."""
        account = self.world.connect("acme", {"url": self.rig.url}, name="other")
        return Inboxed(Rig(self.world, self.vendor, self.rig.url, account)).opened()

    def opened(self) -> "Inboxed":
        with write() as connection:
            connection.execute(insert(Inbox).values(connection_id=self.account, updated_at=now()))
        return self

    def told(self, key: Any, seconds: float, *, stream: str = "notes", **fields: Any) -> dict[str, Any]:
        """An event with a record as it was so many seconds after noon."""
        at = self.vendor.clock.now() + round(seconds * 1_000_000)
        return {"type": "told", "stream": stream, "at": at, "row": {"id": key, "updated_at": spelled(at), **fields}}

    def gone(self, key: Any, seconds: float, *, stream: str = "notes") -> dict[str, Any]:
        at = self.vendor.clock.now() + round(seconds * 1_000_000)
        return {"type": "gone", "stream": stream, "at": at, "id": key}

    def hint(self, key: Any, *, stream: str = "notes") -> dict[str, Any]:
        return {"type": "hint", "stream": stream, "id": key}

    def drain(self, times: int = 1) -> None:
        for _ in range(times):
            receive.drain(self.account)

    def kill(self) -> None:
        """The lease of whoever holds the inbox is over, and the tick finds that."""
        long_ago = "UPDATE inboxes SET lease_until = '2020-01-01 00:00:00.000000' WHERE lease_until IS NOT NULL"
        self.world.execute(long_ago)
        schedule.take_back_inboxes()

    def one(self, unit: int) -> Any:
        """A delivery as it stands."""
        with read() as connection:
            return connection.execute(select(Delivery.__table__).where(Delivery.id == unit)).one()

    def states(self) -> dict[int, str]:
        return {row["id"]: row["state"] for row in self.world.rows("deliveries")}

    def inbox(self) -> Any:
        with read() as connection:
            return connection.execute(select(Inbox.__table__).where(Inbox.connection_id == self.account)).one()

    def holdups(self) -> list[tuple[str, str, int]]:
        with read() as connection:
            rows = connection.exec_driver_sql("SELECT stream, key, delivery_id FROM holdups ORDER BY delivery_id, key")
            return [tuple(row) for row in rows]

    def hasten(self) -> None:
        """Time passes: what waits is due, and messages that nobody answered count as lost."""
        self.world.execute("UPDATE deliveries SET due_at = received_at WHERE state = 'deferred'")
        self.world.execute("UPDATE inboxes SET rung_at = NULL")

    def asked(self, key: Any, stream: str = "notes") -> int:
        """How often the vendor was asked for a record."""
        return len(self.rig.asked(f"/v1/{stream}/{key}"))

    def held(self, stream: str = "notes") -> dict[str, Any]:
        return self.rig.held(stream)


def spelled(at: int) -> str:
    return datetime.fromtimestamp(at / 1_000_000, tz=None).astimezone().isoformat()


@contextmanager
def inboxed(world: World, patch: pytest.MonkeyPatch, **changes: Any) -> Iterator[Inboxed]:
    """A vendor, a connector with a webhook, and a connection with an inbox."""
    collections = [notes(), notes_of("plains")]
    given = {"webhook": WEBHOOK, **changes}
    with rigged(world, patch, collections, stream(), PLAINS, MEMOS, **given) as rig:
        made = Inboxed(rig).opened()
        patch.setattr(receive, "send", made.rang.extend)
        yield made


def notes_of(name: str) -> Any:
    """Another list of such records."""
    return type(notes())(name=name, since=Since(param="since"))
