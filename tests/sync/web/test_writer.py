"""The writer: answered means committed, in batches, and one bad row hurts only itself."""

import asyncio
import socket
import sqlite3
import threading
import time
from collections import Counter
from secrets import token_hex
from typing import Any

import pytest
from sqlalchemy import create_engine, event, select, text

from models import Delivery
from sync.store import notices
from sync.store.arrivals import Arrival
from sync.store.database import connect, read, write
from sync.web import held
from sync.web import writer as writing
from sync.web.writer import Outcome, Writer
from tests.processes import until

STORED, BAD, AWAY = Outcome.STORED, Outcome.BAD, Outcome.AWAY
URL = {"url": "http://127.0.0.1:9"}


class Loop:
    """A writer in an event loop of its own, for the length of `run`."""

    def __init__(self, world, **options):
        self.world = world
        self.account = world.connect("demo", URL)
        self.rung = []
        self.options = options

    def arrival(self, delivery="", account=None, body=b"{}"):
        return Arrival(account or self.account, delivery or token_hex(8), "{}", body, token_hex(16))

    def run(self, story, *, ending=20.0, **options):
        async def told():
            made = Writer(lambda: self.world.engine, self.rung.append, **{**self.options, **options})
            made.start()
            try:
                return await story(made)
            finally:
                await made.stop(ending)

        return asyncio.run(told())

    def outcomes(self, arrivals, **options):
        async def story(made):
            return await asyncio.gather(*(made.put(one) for one in arrivals))

        return self.run(story, **options)

    def stored(self):
        return {row["delivery"] for row in self.world.rows("deliveries")}


@pytest.fixture
def loop(world):
    return Loop(world)


@pytest.fixture
def one(sqlite_world):
    return Loop(sqlite_world)


def test_what_is_told_is_stored_and_rung_for_after_it(loop):
    arrivals = [loop.arrival() for _ in range(1200)]
    assert loop.outcomes(arrivals) == [STORED] * 1200
    assert loop.stored() == {one.delivery for one in arrivals}
    assert {account for accounts in loop.rung for account in accounts} == {loop.account}


def batches(patch, module=writing, name="store"):
    """The sizes of the batches that are stored from now on."""
    sizes: list[int] = []
    original = getattr(module, name)

    def noted(connection, rows):
        sizes.append(len(rows))
        return original(connection, rows)

    patch.setattr(module, name, noted)
    return sizes


def test_what_comes_while_a_commit_runs_is_one_batch(loop, monkeypatch):
    sizes = batches(monkeypatch)
    assert loop.outcomes([loop.arrival() for _ in range(600)]) == [STORED] * 600
    assert sum(sizes) == 600
    assert len(sizes) < 20
    assert max(sizes) <= writing.BATCH_ROWS


def test_a_batch_has_a_size(one, monkeypatch):
    monkeypatch.setattr(writing, "BATCH_BYTES", 3000)
    sizes = batches(monkeypatch)
    assert one.outcomes([one.arrival(body=b"x" * 1000) for _ in range(30)]) == [STORED] * 30
    assert max(sizes) <= 3


def test_a_repetition_rings_for_nothing(loop):
    assert loop.outcomes([loop.arrival("a")]) == [STORED]
    assert loop.rung == [{loop.account}]
    assert loop.outcomes([loop.arrival("a")]) == [STORED]
    assert loop.rung == [{loop.account}]


# no room


def test_what_has_no_room_is_not_taken(one):
    async def story(made):
        futures = [made.put(one.arrival()) for _ in range(4)]
        assert made.full
        assert futures[3] is None
        await asyncio.gather(*futures[:3])
        assert not made.full
        assert await made.put(one.arrival()) is STORED

    one.run(story, rows=3)


def test_room_is_counted_in_bytes_too(one):
    async def story(made):
        first = made.put(one.arrival(body=b"x" * 900_000))
        assert made.put(one.arrival(body=b"x" * 900_000)) is None
        assert await first is STORED
        assert await made.put(one.arrival(body=b"x" * 900_000)) is STORED
        huge = made.put(one.arrival(body=b"x" * 3_000_000))
        assert made.full
        assert made.put(one.arrival()) is None
        assert await huge is STORED

    one.run(story, size=1_000_000)


def test_after_the_end_nothing_is_taken(one):
    made = []

    async def story(writer):
        made.append(writer)
        assert writer.alive

    one.run(story)
    assert made[0].put(one.arrival()) is None
    assert not made[0].alive


def test_the_end_waits_for_what_was_taken(loop):
    futures: list[Any] = []

    async def story(made):
        futures.extend(made.put(loop.arrival()) for _ in range(700))
        made.count(loop.account, notices.REFUSED, "wrong signature", "wrong signature")

    loop.run(story)
    assert [future.result() for future in futures] == [STORED] * 700
    assert len(loop.stored()) == 700
    with read() as connection:
        assert [row.times for row in notices.listed(connection)] == [1]


# bad rows


def test_a_bad_row_hurts_only_itself(loop):
    """It belongs to nobody; its neighbours are stored, in the same transaction, and it is told to people."""
    nobody = loop.account + 1000
    arrivals = [loop.arrival(account=nobody if number == 57 else None) for number in range(200)]
    outcomes = loop.outcomes(arrivals)
    assert [number for number, outcome in enumerate(outcomes) if outcome is not STORED] == [57]
    assert outcomes[57] is BAD
    assert len(loop.stored()) == 199


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite stores all of these
@pytest.mark.parametrize("delivery", ["a\0b", "\ud800", token_hex(50_000)], ids=["nul", "surrogate", "huge"])
def test_what_the_database_refuses_is_counted_and_logged_without_its_content(loop, delivery):
    said = []

    class Log:
        def error(self, event, **about):
            said.append((event, about))

    outcomes = loop.outcomes([loop.arrival("a"), loop.arrival(delivery), loop.arrival("b")], logger=Log())
    assert outcomes == [STORED, BAD, STORED]
    with read() as connection:
        (notice,) = notices.listed(connection)
    assert (notice.connection_id, notice.name, notice.times) == (loop.account, "it can't be stored", 1)
    ((happened, about),) = said
    assert happened == "delivery can't be stored"
    assert about["reason"] == notice.sample
    assert len(notice.sample) < 300


def test_what_is_nobodys_fault_is_no_rows_fault(loop):
    """Without its table nothing is bad: it is to be tried again."""
    loop.world.execute("ALTER TABLE deliveries RENAME TO elsewhere")
    assert loop.outcomes([loop.arrival() for _ in range(5)]) == [AWAY] * 5
    loop.world.execute("ALTER TABLE elsewhere RENAME TO deliveries")
    assert loop.outcomes([loop.arrival()]) == [STORED]


# a database that is away


@pytest.fixture
def deaf():
    """A server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield connect(f"postgresql+psycopg://x@127.0.0.1:{listening.getsockname()[1]}/x")


def test_a_database_that_is_not_there_is_told_at_once(one):
    away = connect("postgresql+psycopg://127.0.0.1:9/nowhere")

    async def story(made):
        made._held._target = lambda: away
        outcomes = await asyncio.gather(*(made.put(one.arrival()) for _ in range(3)))
        made._held._target = lambda: one.world.engine
        return outcomes, await made.put(one.arrival())

    assert one.run(story) == ([AWAY] * 3, STORED)


def test_a_database_that_hangs_is_not_waited_for(one, deaf):
    async def story(made):
        made._held._target = lambda: deaf
        outcomes = await asyncio.gather(*(made.put(one.arrival()) for _ in range(3)))
        assert made.alive
        made._began -= writing.STUCK
        assert not made.alive
        return outcomes

    assert one.run(story, ending=0.1, patience=0.1) == [AWAY] * 3
    assert one.stored() == set()


def test_what_was_given_up_is_not_stored_later_but_what_follows_is(one, monkeypatch):
    """While the lock is another's, nobody is kept waiting; and when it is free, all goes on."""
    monkeypatch.setattr(held, "PATIENCE", 3)
    other = sqlite3.connect(one.world.engine.url.database, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")

    async def story(made):
        first = made.put(one.arrival("held up"))
        await asyncio.to_thread(until, lambda: not made._queue, "the first batch")
        second = made.put(one.arrival("behind it"))
        assert [await first, await second] == [AWAY, AWAY]
        other.execute("ROLLBACK")
        return await made.put(one.arrival("after it"))

    assert one.run(story, patience=0.1) is STORED
    other.close()
    assert one.stored() >= {"after it"}
    assert "behind it" not in one.stored()


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_connection_that_was_cut_while_it_rested_is_opened_again(loop):
    async def story(made):
        outcomes = []
        for _ in range(3):
            outcomes.append(await made.put(loop.arrival()))
            await asyncio.to_thread(cut, loop.world)
        return outcomes

    assert loop.run(story) == [STORED] * 3
    assert len(loop.rung) == 3


def cut(world):
    """End every connection to this database but our own."""
    with write() as connection:
        query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> "
        connection.execute(text(query + "pg_backend_pid()"))


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_whatever_is_cut_off_what_was_told_is_stored(loop):
    """Connections end in the middle of everything: a 2xx stays true, and the rest is told to come again."""
    told: dict[str, Outcome] = {}
    over = threading.Event()
    killer = create_engine(loop.world.engine.url)

    def kill():
        query = (
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid <> pg_backend_pid() AND application_name = 'tidelock'"
        )
        while not over.wait(0.01):
            with killer.connect() as connection:
                connection.execute(text(query))

    async def story(made):
        killing = threading.Thread(target=kill)
        killing.start()
        try:
            for _ in range(40):
                arrivals = [loop.arrival() for _ in range(50)]
                outcomes = await asyncio.gather(*(made.put(one) for one in arrivals))
                told.update(zip((one.delivery for one in arrivals), outcomes, strict=True))
        finally:
            over.set()
            await asyncio.to_thread(killing.join)

    loop.run(story)
    with killer.connect() as connection:
        stored = set(connection.execute(select(Delivery.delivery)).scalars())
    killer.dispose()
    counts = Counter(told.values())
    assert counts.keys() <= {STORED, AWAY}
    assert counts[STORED] > 0
    assert {delivery for delivery, outcome in told.items() if outcome is STORED} <= stored


# how it is stored


def test_sqlite_commits_reach_the_disk(one):
    """On the writer's own connection: others keep what they have."""
    modes = []

    async def story(made):
        assert await made.put(one.arrival()) is STORED
        raw = made._held._connection.connection.dbapi_connection
        modes.append(raw.execute("PRAGMA synchronous").fetchone()[0])

    one.run(story)
    with read() as connection:
        modes.append(connection.exec_driver_sql("PRAGMA synchronous").scalar_one())
    assert modes == [2, 1]


def test_one_connection_serves_all(loop):
    opened = []
    event.listen(loop.world.engine, "connect", lambda *_: opened.append(1))
    before = len(opened)

    async def story(made):
        for _ in range(5):
            assert await made.put(loop.arrival()) is STORED

    loop.run(story)
    assert len(opened) - before <= 1


# what is counted


def test_counters_are_stored_about_once_a_second(one, monkeypatch):
    monkeypatch.setattr(writing, "FLUSH", 0.2)
    flushes = batches(monkeypatch, notices, "count")

    async def story(made):
        for _ in range(50):
            made.count(one.account, notices.REFUSED, "wrong signature", "wrong signature")
            await asyncio.sleep(0.01)
        return time.monotonic()

    began = time.monotonic()
    lasted = one.run(story) - began
    with read() as connection:
        assert [row.times for row in notices.listed(connection)] == [50]
    assert len(flushes) <= lasted / 0.2 + 3


def test_counters_outlive_a_database_that_is_away(one, monkeypatch):
    monkeypatch.setattr(writing, "FLUSH", 0.05)
    away = connect("postgresql+psycopg://127.0.0.1:9/nowhere")

    async def story(made):
        made._held._target = lambda: away
        for name in ("a", "b", "a"):
            made.count(one.account, notices.REFUSED, name, name)
        await asyncio.sleep(0.2)
        made.count(one.account, notices.REFUSED, "a", "the last")
        made._held._target = lambda: one.world.engine
        await asyncio.to_thread(until, listed, "the notices")

    def listed():
        with read() as connection:
            return sorted((row.name, row.times, row.sample) for row in notices.listed(connection))

    one.run(story)
    assert listed() == [("a", 3, "the last"), ("b", 1, "b")]


def test_kinds_of_refusals_are_bounded_in_memory(one):
    async def story(made):
        made._held._target = lambda: connect("postgresql+psycopg://127.0.0.1:9/nowhere")
        for number in range(5000):
            made.count(one.account, notices.REFUSED, f"reason {number}", "")
        assert len(made._counts) <= 2000

    one.run(story)
