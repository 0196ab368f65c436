"""The web page: readable without a script, safe with any text, and honest about what is missing."""

import http.client
import json
import socket
import threading
from contextlib import contextmanager

import pytest
import uvicorn

from alembic import command
from sync import settings
from sync.store import migrations
from sync.store.database import engine
from sync.web import app

URL = {"url": "http://127.0.0.1:9"}


@contextmanager
def served():
    """The app on a real port."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield listening.getsockname()[1]
        finally:
            server.should_exit = True
            thread.join()


def get(path):
    with served() as port:
        line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
        line.request("GET", path)
        answer = line.getresponse()
        found = answer.status, answer.read().decode(), answer.headers
        line.close()
        return found


@pytest.fixture
def migrated(world):
    command.stamp(migrations._config(engine().url.render_as_string(hide_password=False)), "head")
    return world


def test_the_page_lists_every_stream_with_state_and_owner(migrated):
    migrated.connect("demo", URL, {"secret_key": "x"}, name="acme", owner="crew")
    status, page, headers = get("/")
    assert status == 200
    for word in ("acme", "crew", "customers", "projects", "tasks", "orders", "new"):
        assert word in page
    assert "<script" not in page
    assert "script-src" not in headers["Content-Security-Policy"]
    assert "default-src 'none'" in headers["Content-Security-Policy"]


def test_what_comes_from_outside_is_shown_as_text(migrated):
    migrated.connect("demo", URL, {"secret_key": "x"}, name="acme", state="failing", reason="<b>refused</b>")
    assert "&lt;b&gt;refused" in get("/")[1]


def test_no_connections_says_how_to_make_one(migrated):
    assert "tidelock connect" in get("/")[1]


def test_a_database_that_is_not_migrated_is_a_problem_and_not_a_traceback(world):
    status, page, _ = get("/")
    assert status == 503
    assert "DATABASE_URL" in page or "tidelock init" in page


def test_the_process_is_alive_whatever_is_missing(world):
    assert get("/livez")[0] == 200


def test_ready_means_migrated(migrated):
    status, body, _ = get("/readyz")
    assert (status, json.loads(body)) == (200, {"status": "ready"})


def test_not_ready_says_why(world):
    status, body, _ = get("/readyz")
    assert status == 503
    assert json.loads(body)["status"] == "not ready"


def test_without_its_broker_it_is_degraded_and_still_ready(migrated, monkeypatch):
    monkeypatch.setenv("BROKER_URL", "redis://:geheim@127.0.0.1:9/0")
    settings.settings.cache_clear()
    status, body, _ = get("/readyz")
    assert status == 200
    assert json.loads(body)["status"] == "degraded"
    assert "127.0.0.1:9" in json.loads(body)["broker"]
    assert "geheim" not in body
