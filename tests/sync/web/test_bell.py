"""The bell: one message at once, then not more than a few, and always one after the last."""

import threading
import time
from itertools import pairwise

import pytest

from sync.app import create
from sync.settings import as_broker
from sync.web import bell as ringing
from sync.web.bell import Bell
from tests.processes import until


class Tower:
    """Bells with what they sent, ended in the end."""

    def __init__(self):
        self.sent = []
        self.bells = []
        self.said = []

    def bell(self, send=None, **options):
        made = Bell(send or self.note, logger=self, **options)
        self.bells.append(made)
        made.start()
        return made

    def note(self, account):
        self.sent.append((account, time.monotonic()))

    def error(self, event, **about):
        self.said.append((event, about["reason"]))

    def info(self, event, **about):
        self.said.append((event, about["of"]))

    @property
    def accounts(self):
        return [account for account, _ in self.sent]


@pytest.fixture
def tower():
    made = Tower()
    yield made
    for bell in made.bells:
        bell.stop()


def test_it_rings_at_once_for_everybody(tower):
    bell = tower.bell()
    bell.ring({1, 2})
    until(lambda: len(tower.sent) == 2, "two messages")
    assert sorted(tower.accounts) == [1, 2]
    assert bell._thread.is_alive()


def test_many_at_once_are_few_messages_and_one_comes_last(tower):
    """Whoever looks after the last message finds everything that was stored."""
    bell = tower.bell(pause=0.2)
    for _ in range(500):
        bell.ring([1])
    last = time.monotonic()
    until(lambda: tower.sent and tower.sent[-1][1] >= last, "a message after the last")
    bell.stop()
    times = [at for _, at in tower.sent]
    assert all(later - earlier > 0.15 for earlier, later in pairwise(times))


def test_one_that_rings_a_lot_holds_up_nobody(tower):
    bell = tower.bell(pause=60)
    bell.ring([1])
    until(lambda: tower.accounts == [1], "the first")
    bell.ring([1])
    bell.ring([2])
    until(lambda: tower.accounts == [1, 2], "the second")


def test_the_end_rings_for_what_is_left(tower):
    bell = tower.bell(pause=60)
    bell.ring([1])
    until(lambda: tower.accounts == [1], "the first")
    bell.ring([1, 2])
    bell.stop()
    assert sorted(tower.accounts) == [1, 1, 2]
    assert not bell._thread.is_alive()


def test_a_broker_that_is_away_is_told_once_and_tried_again(tower):
    up = threading.Event()
    tries = []

    def send(account):
        tries.append(account)
        if not up.is_set():
            raise ConnectionRefusedError("nobody there")
        tower.note(account)

    bell = tower.bell(send, retreat=0.02)
    bell.ring([1, 2, 3])
    until(lambda: len(tries) > 4, "several tries")
    assert tower.said == [("bell", "ConnectionRefusedError: nobody there")]
    up.set()
    until(lambda: set(tower.accounts) == {1, 2, 3}, "everybody")
    assert tower.said[1:] == [("well again", "bell")]


def test_a_broker_that_hangs_holds_up_neither_who_rings_nor_the_end(tower):
    go = threading.Event()
    bell = tower.bell(lambda account: go.wait(20))
    bell.ring([1])
    for _ in range(1000):
        bell.ring([2])
    bell.stop(patience=0.05)
    assert bell._thread.is_alive()
    go.set()


def test_at_the_end_a_broker_that_is_away_is_tried_once(tower):
    tries = []

    def send(account):
        tries.append(account)
        raise ConnectionRefusedError

    bell = tower.bell(send, retreat=60)
    bell.ring([1])
    until(lambda: tries == [1], "the first")
    bell.ring([2, 3])
    bell.stop()
    assert not bell._thread.is_alive()
    assert len(tries) <= 2


def test_the_message_is_the_drains_and_interactive(redis_url, monkeypatch):
    """By name and id: no journey is imported for it."""
    app = create(as_broker(redis_url))
    monkeypatch.setattr(ringing, "app", app)
    ringing.send(7)
    with app.connection_for_read() as connection, connection.SimpleQueue("interactive") as queue:
        message = queue.get(timeout=10)
        message.ack()
    assert (message.headers["task"], message.payload[0]) == ("receive.drain", [7])
    app.close()
