"""Real input: localstripe, a Stripe server written by others, with two thousand customers and their subscriptions.

It speaks a dialect: its lists and its events run from the oldest to the newest, subscriptions have no update
events, and a list that is asked to go on after a deleted record starts again. So only full sweeps can reach
equality here, and the event feed is left out; nothing else of the connector is changed.
"""

import json
import random
import sys
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from connectors.stripe import connector as stripe
from sync.leash import leashed
from tests.mirrored import stored
from tests.processes import Process, until
from tests.world import World, planted

CUSTOMERS = 2000
PLANS = ("gold", "silver")
STREAMS = ("customers", "products", "subscriptions")
LISTS = {"subscriptions": "/v1/subscriptions?status=all&"}
KEY = "sk_test_localstripe"

LAUNCH = """
import socket
from collections import defaultdict
from aiohttp import web
from localstripe import resources
from localstripe.resources import List, Store, StripeObject, UserError

# It pickles everything it knows after each write, to one file for all, and looks through all of it for every list,
# of which a page of customers needs a hundred. The same lists come from an index, in the same order.
kinds = defaultdict(dict)

def put(self, key, value):
    dict.__setitem__(self, key, value)
    kinds[key.partition(":")[0]][key] = value

def drop(self, key):
    dict.__delitem__(self, key)
    del kinds[key.partition(":")[0]][key]

def listed(cls, url, limit=None, starting_after=None, **others):
    if others:
        raise UserError(400, "Unexpected " + ", ".join(others))
    found = List(url, limit=limit, starting_after=starting_after)
    found._list = list(kinds[cls.object].values())
    return found

Store.__setitem__, Store.__delitem__, Store.dump_to_disk = put, drop, lambda self: None
StripeObject._api_list_all = classmethod(listed)
from localstripe.server import app
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
web.run_app(app, sock=listening, print=None, access_log=None)
"""


class Localstripe:
    """Its HTTP API, asked by any number of threads."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self._own = threading.local()
        self._every: list[HTTPConnection] = []
        self.living: dict[str, list[str]] = {stream: [] for stream in STREAMS}
        self.deleted: dict[str, list[str]] = {stream: [] for stream in STREAMS}

    def close(self) -> None:
        for connection in self._every:
            connection.close()

    def ask(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """The status and the decoded answer."""
        if not hasattr(self._own, "connection"):
            self._own.connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
            self._every.append(self._own.connection)
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
        self._own.connection.request(method, path, body=json.dumps(body) if body else None, headers=headers)
        with self._own.connection.getresponse() as answer:
            return answer.status, json.loads(answer.read())

    def post(self, path: str, body: Any) -> Any:
        status, answer = self.ask("POST", path, body)
        assert status == 200, answer
        return answer

    def truth(self, stream: str) -> dict[str, Any]:
        """Everything that it lists, by id."""
        status, listed = self.ask("GET", f"{LISTS.get(stream, f'/v1/{stream}?')}limit=1000000")
        assert status == 200
        assert not listed["has_more"]
        return {row["id"]: row for row in listed["data"]}

    def fill(self) -> None:
        """Two thousand customers, each with a subscription, some with two; and products that nobody uses."""
        for name in PLANS:
            plan = {"id": name, "product": self.product(name), "amount": 900, "currency": "eur", "interval": "month"}
            self.post("/v1/plans", plan)
        with ThreadPoolExecutor(4) as several:
            list(several.map(self.sign_up, range(CUSTOMERS)))
            self.living["products"] = list(several.map(self.product, map(str, range(200))))

    def product(self, name: str) -> str:
        return str(self.post("/v1/products", {"name": name, "type": "service"})["id"])

    def sign_up(self, number: int) -> None:
        """A new customer who subscribes, every tenth one twice."""
        customer = self.post("/v1/customers", {"name": f"Customer {number}", "email": f"{number}@example.com"})["id"]
        self.living["customers"].append(customer)
        for plan in PLANS if number % 10 == 0 else PLANS[:1]:
            asked = {"customer": customer, "items": [{"plan": plan}], "trial_period_days": 14}
            self.living["subscriptions"].append(self.post("/v1/subscriptions", asked)["id"])

    def delete(self, stream: str, key: str) -> None:
        self.living[stream].remove(key)
        self.deleted[stream].append(key)
        status, _ = self.ask("DELETE", f"/v1/{stream}/{key}")
        assert status == 200


@pytest.fixture
def vendor(tmp_path: Path) -> Iterator[Localstripe]:
    """A localstripe of our own, filled."""
    log = tmp_path / "localstripe.log"
    process = Process(leashed([sys.executable, "-c", LAUNCH]), {}, log)
    try:
        until(lambda: log.read_text().endswith("\n"), "localstripe to listen")
        made = Localstripe(int(log.read_text().split()[0]))
        with closing(made):
            made.fill()
            yield made
    finally:
        process.kill()


@pytest.fixture
def short_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message for every page, so that something can happen between any two."""
    monkeypatch.setenv("TIDELOCK_SLICE_SECONDS", "0.001")


class Business:
    """What goes on at the vendor while we look: records are made, changed and deleted, under the list's very feet."""

    def __init__(self, vendor: Localstripe, seed: int) -> None:
        self.vendor = vendor
        self.chance = random.Random(seed)
        self.turn = 0

    def goes_on(self, tokens: Iterable[str]) -> None:
        """One turn; at every fifteenth the records are deleted after which lists would go on."""
        self.turn += 1
        changed = {"metadata": {"turn": str(self.turn)}}
        for key in self.any("customers", 3):
            self.vendor.post(f"/v1/customers/{key}", {"name": f"Renamed {self.turn}", **changed})
        for key in self.any("subscriptions", 3):
            self.vendor.post(f"/v1/subscriptions/{key}", changed)
        self.vendor.ask("DELETE", f"/v1/subscriptions/{self.any('subscriptions')[0]}")  # it stays, as "canceled"
        self.vendor.sign_up(CUSTOMERS + self.turn)
        for stream in ("customers", "products")[: 2 if self.turn % 3 == 0 else 1]:
            self.vendor.delete(stream, self.any(stream)[0])
        for key in tokens if self.turn % 15 == 0 else ():
            if key in self.vendor.living["customers"]:
                self.vendor.delete("customers", key)

    def any(self, stream: str, many: int = 1) -> list[str]:
        return self.chance.sample(self.vendor.living[stream], many)


def tokens(world: World) -> list[str]:
    """The records after which the lists go on."""
    asks = [row["ask"] for row in world.rows("slices", "state IN ('ready', 'deferred')")]
    return [ask["page"] for ask in (json.loads(ask) if isinstance(ask, str) else ask for ask in asks) if ask["page"]]


def sync_while(world: World, account: int, business: Business | None, most: int = 400) -> list[Any]:
    """A full sync, message by message, while business goes on between the first thirty; its runs."""
    opened = world.open(account, full=True)
    for message in range(most):
        if not world.ring() and not world.sent:
            world.hasten()
            world.ring()
        if not world.deliver():
            return [row for row in world.rows("runs") if row["id"] in opened]
        if business and message < 30:
            business.goes_on(tokens(world))
    raise AssertionError(f"still busy after {most} messages: {world.rows('slices')[-3:]}")


@pytest.mark.slow
@pytest.mark.servers
def test_equality_with_a_server_written_by_others(short_slices, vendor, world, monkeypatch):
    """Two full syncs while customers, subscriptions and products are made, changed and deleted, then one in peace:
    payload by key, the tables equal the source, as listed and as asked for one by one."""
    planted(monkeypatch, "stripe", replace(stripe, feed=None, limits={}))
    account = world.connect("stripe", {"api_base": vendor.url}, {"secret_key": KEY}, streams=list(STREAMS))
    business = Business(vendor, seed=2)

    sync_while(world, account, business)
    loaded = {stream: stored(world, "stripe", stream) for stream in STREAMS}
    assert len(loaded["customers"]) > CUSTOMERS * 0.9
    sync_while(world, account, business)
    settled = sync_while(world, account, None)

    assert [run["state"] for run in settled] == ["done"] * len(STREAMS)
    for stream in STREAMS:
        held = stored(world, "stripe", stream)
        assert held == vendor.truth(stream), stream
        assert not held.keys() & vendor.deleted[stream]
    assert len(loaded["customers"].keys() & vendor.deleted["customers"]) > 20
    for key in random.Random(3).sample(vendor.living["customers"], 20):
        assert vendor.ask("GET", f"/v1/customers/{key}") == (200, stored(world, "stripe", "customers")[key])
