"""The doorstep: what is known of a connection, for two seconds, at a bounded cost."""

import asyncio
import threading
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event

from connectors import Connector, ContractError, FetchBack, Hmac, InBody, InHeader, Webhook
from sync import doorstep as steps
from sync.doorstep import Away, Doorstep
from sync.store import connections, inboxes
from sync.store.database import connect, write
from tests.world import planted

HOOK = Webhook(
    verify=Hmac(signature=InHeader("X-Signature")),
    effects=lambda event: (),
    name=InHeader("X-Event-Token"),
    events=("*",),
    delivery=(InHeader("X-Delivery"), InBody("id")),
)


@pytest.fixture
def acme(sqlite_world, monkeypatch):
    return added(sqlite_world, monkeypatch, "acme")


def added(world, patch, name, hook=HOOK, **values):
    planted(patch, name, Connector(base_url="https://api.example.com", streams=(), webhook=hook))
    return world.connect(name, {}, **values)


def secret(account, value, keep=None):
    with write() as connection:
        inboxes.set_secret(connection, account, "webhook_secret", value, keep)


def asked(*names, made=None, **options):
    """What stands at the door for each of these, one after the other."""

    async def ask():
        step = made or Doorstep(**options)
        try:
            return [await step.door(name) for name in names]
        finally:
            step.close()

    return asyncio.run(ask())


@contextmanager
def counted(world):
    """The statements that are executed."""
    statements = []

    def note(_conn, _cursor, statement, *_):
        statements.append(statement)

    event.listen(world.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(world.engine, "before_cursor_execute", note)


def test_a_door_is_what_the_receiver_needs(sqlite_world, acme):
    secret(acme, "first")
    secret(acme, "second", timedelta(hours=1))
    (door,) = asked("acme")
    assert (door.id, door.webhook, door.missing) == (acme, HOOK, ())
    assert door.secrets == {"webhook_secret": ("second", "first")}
    assert door.hidden == {"x-signature"}
    assert door.wanted == {"x-event-token", "x-delivery"}
    assert "first" not in repr(door)


def test_what_is_not_set_is_missing(sqlite_world, monkeypatch, acme):
    added(sqlite_world, monkeypatch, "open", replace(HOOK, verify=FetchBack()))
    assert [door.missing for door in asked("acme", "open")] == [("webhook_secret",), ()]


def test_where_there_is_no_door(sqlite_world, monkeypatch, acme):
    added(sqlite_world, monkeypatch, "paused", state="paused")
    added(sqlite_world, monkeypatch, "without", None)
    added(sqlite_world, monkeypatch, "failing", state="failing")
    assert [door is None for door in asked("unknown", "paused", "without", "", "failing", "acme")] == [
        True, True, True, True, False, False,
    ]  # fmt: skip


def test_where_there_is_a_door_there_is_an_inbox(world, monkeypatch):
    """Else nothing would ever look for what was let in."""
    account = added(world, monkeypatch, "acme")
    asked("acme", "acme")
    with write() as connection:
        rows = connection.exec_driver_sql("SELECT connection_id, fence FROM inboxes").all()
    assert [tuple(row) for row in rows] == [(account, 0)]


def test_what_is_known_is_known_for_a_while(sqlite_world, acme):
    async def secrets(step):
        return (await step.door("acme")).secrets

    async def story():
        step = Doorstep(ttl=60)
        assert await secrets(step) == {}
        secret(acme, "geheim")
        with counted(sqlite_world) as statements:
            for _ in range(100):
                assert await secrets(step) == {}
        assert statements == []
        step.forget("acme")
        assert await secrets(step) == {"webhook_secret": ("geheim",)}
        step.close()

    asyncio.run(story())


def test_what_changes_is_seen_soon(sqlite_world, acme):
    """Paused, renamed, removed: within the time to live."""

    async def story():
        step = Doorstep(ttl=0.0)
        assert await step.door("acme")
        with write() as connection:
            connections.set_state(connection, acme, "paused", "why not")
        assert await step.door("acme") is None
        with write() as connection:
            connections.set_state(connection, acme, "active", None)
        assert await step.door("acme")
        sqlite_world.execute("DELETE FROM connections")
        assert await step.door("acme") is None
        step.close()

    asyncio.run(story())


def test_a_flood_of_names_costs_one_look(sqlite_world, acme):
    """And leaves nothing behind; what exists is found in the midst of it."""

    async def story():
        step = Doorstep(ttl=60)
        with counted(sqlite_world) as statements:
            names = [f"guess-{number}" for number in range(2000)]
            found = await asyncio.gather(*(step.door(name) for name in [*names, "acme"]))
            found += await asyncio.gather(*(step.door(f"{name}!") for name in names))
        assert [door for door in found if door] == [await step.door("acme")]
        assert len([one for one in statements if one.startswith("SELECT")]) <= 3
        assert len(step._doors) == 1
        step.close()

    asyncio.run(story())


def test_who_asks_at_once_shares_a_look(sqlite_world, acme):
    async def story():
        step = Doorstep(ttl=60)
        await step.door("unknown")
        with counted(sqlite_world) as statements:
            doors = await asyncio.gather(*(step.door("acme") for _ in range(64)))
        assert len({id(door) for door in doors}) == 1
        assert len([one for one in statements if one.startswith("SELECT")]) == 1
        step.close()

    asyncio.run(story())


def test_doors_of_what_is_gone_are_forgotten(sqlite_world, acme):
    async def story():
        step = Doorstep(ttl=0.0)
        await step.door("acme")
        sqlite_world.execute("DELETE FROM connections")
        await step.door("other")
        assert step._doors == {}
        step.close()

    asyncio.run(story())


def test_what_cannot_be_known_is_not_unknown(sqlite_world, monkeypatch, acme, capsys):
    """A database that is away, a connector that can't be loaded, secrets that don't open: told to people, once."""
    away = connect("postgresql+psycopg://127.0.0.1:9/nowhere")
    for name in ("acme", "unknown"):
        with pytest.raises(Away):
            asked(name, target=lambda: away)

    def broken(config):
        raise ContractError("there is no such verifier")

    added(sqlite_world, monkeypatch, "broken", broken)
    secret(acme, "geheim")
    sqlite_world.execute("UPDATE inboxes SET sealed = :sealed", sealed=b"k" * 40)

    async def story():
        step = Doorstep(ttl=0.0)
        for name, said in {"broken": "no such verifier", "acme": "add it"}.items():
            for _ in range(3):
                with pytest.raises(Away, match=said):
                    await step.door(name)
        step.close()

    capsys.readouterr()
    asyncio.run(story())
    told = capsys.readouterr().out
    assert told.count("no such verifier") == told.count("add it") == 1


def test_a_trouble_that_is_over_is_over(sqlite_world, acme):
    async def story():
        away = connect("postgresql+psycopg://127.0.0.1:9/nowhere")
        targets = [away]
        step = Doorstep(lambda: targets[-1], ttl=0.0)
        with pytest.raises(Away):
            await step.door("acme")
        targets.append(sqlite_world.engine)
        assert await step.door("acme")
        step.close()

    asyncio.run(story())


def test_a_look_that_hangs_is_given_up(sqlite_world, acme, monkeypatch):
    go = threading.Event()
    found = Doorstep._found
    monkeypatch.setattr(Doorstep, "_found", lambda self, name: (go.wait(20), found(self, name))[1])

    async def story():
        step = Doorstep(ttl=60, patience=0.1)
        for _ in range(2):
            with pytest.raises(Away, match="did not answer"):
                await step.door("acme")
        go.set()
        step._patience = steps.PATIENCE
        assert await step.door("acme")
        step.close()

    asyncio.run(story())


def test_a_secret_that_comes_by_itself_is_seen_at_once(sqlite_world, acme):
    async def story():
        step = Doorstep(ttl=60)
        door = await step.door("acme")
        assert door
        assert await step.capture("acme", door, "webhook_secret", "geheim")
        assert not await step.capture("acme", door, "webhook_secret", "stolen")
        later = await step.door("acme")
        assert later
        assert later.secrets == {"webhook_secret": ("geheim",)}
        sqlite_world.engine.dispose()
        step._target = lambda: connect("postgresql+psycopg://127.0.0.1:9/nowhere")
        with pytest.raises(Away):
            await step.capture("acme", door, "webhook_secret", "stolen")
        step.close()

    asyncio.run(story())
