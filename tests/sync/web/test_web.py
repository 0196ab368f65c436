"""The web page: readable without a script, safe with any text, and honest about what is missing."""

import json
import time

import pytest

from alembic import command
from sync import settings
from sync.store import migrations
from sync.store.database import connect, engine
from sync.web import writer
from sync.web.bell import Bell
from tests.processes import until
from tests.sync.web.site import connected, serving, webhook

URL = {"url": "http://127.0.0.1:9"}


@pytest.fixture
def get(world, monkeypatch):
    """Asks the app on a real port: status, text and headers."""

    def ask(path):
        with serving(world, monkeypatch) as site:
            status, body, headers = site.ask("GET", path)
            return status, body.decode(), headers

    return ask


@pytest.fixture
def migrated(world):
    command.stamp(migrations._config(engine().url.render_as_string(hide_password=False)), "head")
    return world


def test_the_page_lists_every_stream_with_state_and_owner(migrated, get):
    migrated.connect("demo", URL, {"secret_key": "x"}, name="acme", owner="crew")
    status, page, headers = get("/")
    assert status == 200
    for word in ("acme", "crew", "customers", "projects", "tasks", "orders", "new"):
        assert word in page
    assert "<script" not in page
    assert "script-src" not in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_what_comes_from_outside_is_shown_as_text(migrated, get):
    migrated.connect("demo", URL, {"secret_key": "x"}, name="acme", state="failing", reason="<b>refused</b>")
    assert "&lt;b&gt;refused" in get("/")[1]


def test_no_connections_says_how_to_make_one(migrated, get):
    assert "tidelock connect" in get("/")[1]


def test_a_database_that_is_not_migrated_is_a_problem_and_not_a_traceback(world, get):
    status, page, _ = get("/")
    assert status == 503
    assert "DATABASE_URL" in page or "tidelock init" in page


def test_the_process_is_alive_whatever_is_missing(world, get):
    assert get("/livez")[0] == 200


def test_a_process_that_stores_nothing_any_more_is_dead(sqlite_world, monkeypatch):
    """Its thread has ended, or has been at one commit for a minute."""
    with serving(sqlite_world, monkeypatch) as site:
        made = site.reception.writer
        made._began = time.monotonic() - writer.STUCK
        assert site.ask("GET", "/livez")[0] == 503
        made._began = None
        assert site.ask("GET", "/livez")[0] == 200
        made._stopping = True
        made._rouse()
        until(lambda: not made._thread.is_alive(), "the end of the thread")
        status, body, _ = site.ask("GET", "/livez")
        assert (status, json.loads(body)["status"]) == (503, "dead")


def test_ready_means_migrated(migrated, get):
    status, body, _ = get("/readyz")
    assert (status, json.loads(body)) == (200, {"status": "ready"})


def test_not_ready_says_why(world, get):
    status, body, _ = get("/readyz")
    assert status == 503
    assert json.loads(body)["status"] == "not ready"


def test_without_its_broker_it_is_degraded_and_still_ready(migrated, monkeypatch, get):
    monkeypatch.setenv("BROKER_URL", "redis://:geheim@127.0.0.1:9/0")
    settings.settings.cache_clear()
    status, body, _ = get("/readyz")
    assert status == 200
    assert json.loads(body)["status"] == "degraded"
    assert "127.0.0.1:9" in json.loads(body)["broker"]
    assert "geheim" not in body


def test_a_database_that_hangs_is_not_ready_and_not_waited_for(sqlite_world, monkeypatch):
    """However often it is asked, one thread waits."""
    looks = []

    def hang():
        looks.append(1)
        time.sleep(1.0)
        return connect("postgresql+psycopg://127.0.0.1:9/nowhere")

    def slow(made):
        made.readiness._target, made.readiness._patience = hang, 0.1

    with serving(sqlite_world, monkeypatch, slow) as site:
        for _ in range(3):
            status, body, _ = site.ask("GET", "/readyz")
            assert (status, json.loads(body)["database"]) == (503, "it did not answer in 0.1 s")
        assert looks == [1]
        assert site.ask("GET", "/livez")[0] == 200


def test_without_a_broker_deliveries_are_taken(sqlite_world, monkeypatch):
    connected(sqlite_world, monkeypatch, webhook())

    def refuse(account):
        raise ConnectionRefusedError

    def mute(made):
        made.bell = Bell(refuse)
        made.writer._stored = made.bell.ring

    with serving(sqlite_world, monkeypatch, mute) as site:
        assert site.post() == 202
    assert len(site.stored()) == 1
