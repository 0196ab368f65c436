"""`tidelock webhooks`: looked at, replayed, given up, subscribed to and listened for."""

import json
import socket
import time
from datetime import timedelta
from uuid import uuid4

import pytest

from sync import catching_up, receive, settings, subscriber
from sync.cli import listen
from sync.cli.output import Form
from sync.store import arrivals, connections, inboxes, notices
from sync.store.arrivals import Arrival
from sync.store.database import read, write
from sync.store.notices import REFUSED, UNKNOWN, Count

PUBLIC = "https://sync.example.com"
STAMP = "2026-11-01T00:00:00.000000Z"


@pytest.fixture
def connected(cli, monkeypatch):
    """A connection to the demo vendor, a public address, and messages that go nowhere."""
    monkeypatch.setenv("TIDELOCK_PUBLIC_URL", PUBLIC)
    settings.settings.cache_clear()
    monkeypatch.setattr(subscriber, "KNOWN_IN", 0.0)
    monkeypatch.setattr(catching_up, "send", cli.world.sent.extend)
    monkeypatch.setattr(receive.drain, "apply_async", lambda *_, **__: None)
    assert cli.connect("--no-check").code == 0
    return cli


def account():
    with read() as connection:
        return connections.by_name(connection, "acme")


def event(kind="customer.updated", **row):
    customer = {"id": "cus_x", "name": "Ada", "updated_at": STAMP, "created_at": STAMP, **row}
    return json.dumps({"type": kind, "timestamp": STAMP, "data": customer}).encode()


def deliver(*bodies, headers="{}"):
    """As the receiver would store them."""
    with write() as connection:
        inboxes.ensure(connection, account().id)
        arrivals.store(connection, [Arrival(account().id, uuid4().hex, headers, body, uuid4().hex) for body in bodies])


def drained(cli, *bodies):
    deliver(*bodies)
    receive.drain(account().id)
    return cli("webhooks", "list", "-o", "json").json


# --- looking


WORDS = ("list", "show", "replay", "drop", "status", "sync", "rotate", "remove", "secret", "listen")


@pytest.mark.parametrize("word", WORDS)
def test_every_command_has_help_and_a_choice_of_output(cli, word):
    said = cli("webhooks", word, "--help")
    assert said.code == 0
    assert "--output" in said.out
    assert word in cli("webhooks", "--help").out


def test_deliveries_are_listed_the_newest_first(connected):
    rows = drained(connected, event(id="cus_1"), event(id="cus_2"), event("nonsense.happened"))
    assert [row["state"] for row in rows] == ["ignored", "applied", "applied"]
    assert [row["name"] for row in rows] == ["nonsense.happened", "customer.updated", "customer.updated"]
    assert {row["connection"] for row in rows} == {"acme"}
    shown = connected("webhooks", "list")
    assert "customer.updated" in shown.out
    page = connected("webhooks", "list", "acme", "--limit", "2")
    assert f"--cursor {rows[1]['id']}" in page.err
    rest = connected("webhooks", "list", "--cursor", str(rows[1]["id"]), "-o", "json").json
    assert [row["id"] for row in rest] == [rows[2]["id"]]


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ((), 3), (("acme",), 3), (("--state", "applied"), 2), (("--state", "applied", "--state", "ignored"), 3),
        (("--name", "nonsense.happened"), 1), (("--since", "2020-01-01"), 3), (("--since", "2999-01-01"), 0),
        (("--until", "2020-01-01"), 0), (("--delivery", "msg_9"), 0),
    ],
)  # fmt: skip
def test_filters_leave_out(connected, words, count):
    drained(connected, event(id="cus_1"), event(id="cus_2"), event("nonsense.happened"))
    assert len(connected("webhooks", "list", *words, "-o", "json").json) == count


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("list", "acne"), "Did you mean acme"),
        (("list", "--state", "lost"), "there is no state 'lost'"),
        (("show", "99"), "there is no delivery 99"),
        (("replay", "99"), "there is no such delivery 99"),
        (("replay",), "say which"),
        (("drop",), "say which"),
        (("secret", "acme", "--secret", "other"), "has no secret 'other'; there is webhook_secret"),
        (("secret", "acme", "--from-env", "NOT_SET_AT_ALL"), "NOT_SET_AT_ALL is not set"),
        (("secret", "acme", "--keep", "soon"), "is not a duration"),
    ],
)
def test_what_makes_no_sense_is_told(connected, words, sentence):
    said = connected("webhooks", *words, input="x\n")
    assert said.code == 2
    assert sentence in said.err


def test_one_delivery_is_shown_whole(connected):
    deliver(event(name="Ada Lövelace"), b"\xff\x00binary", headers='{"webhook-id": "msg_1"}')
    receive.drain(account().id)
    binary, text = connected("webhooks", "list", "-o", "json").json
    told = connected("webhooks", "show", str(text["id"]), "-o", "json").json
    assert json.loads(told["body"])["data"]["name"] == "Ada Lövelace"
    assert told["body_is"] == "text"
    assert told["headers"] == {"webhook-id": "msg_1"}
    shown = connected("webhooks", "show", str(binary["id"]))
    assert b"\xff\x00binary".hex() in shown.out
    assert "dead" in shown.out
    assert "not UTF-8" in shown.out
    dead = connected("webhooks", "show", str(binary["id"]), "-o", "json").json
    assert (dead["body_is"], dead["history"][-1]["after"]) == ("hex", "dead")


# --- deciding


def test_a_dead_one_is_replayed_by_its_number(connected):
    (row,) = drained(connected, b"no json")
    assert row["state"] == "dead"
    said = connected("webhooks", "replay", str(row["id"]), "-o", "json")
    assert (said.code, said.json) == (0, {"replayed": 1, "without_content": 0})
    assert connected("webhooks", "list", "-o", "json").json[0]["state"] == "received"


def test_a_filter_is_counted_and_confirmed(connected):
    drained(connected, b"no json", b"none either", event())
    asked = connected("webhooks", "replay", "--state", "dead", input="n\n")
    assert asked.code == 2
    assert "2 deliveries would be applied again" in asked.err
    assert len(connected("webhooks", "list", "--state", "dead", "-o", "json").json) == 2
    assert connected("webhooks", "replay", "--state", "dead", "--connection", "acme", "--yes", "-o", "json").json == {
        "replayed": 2, "without_content": 0,
    }  # fmt: skip


def test_a_replay_of_all_changes_nothing_that_is_newer(connected):
    drained(connected, event(name="Ada"))
    drained(connected, event(name="Bea", updated_at="2026-11-02T00:00:00.000000Z"))
    connected("webhooks", "replay", "--all", "--yes")
    receive.drain(account().id)
    assert {row["state"] for row in connected("webhooks", "list", "-o", "json").json} == {"applied"}
    (row,) = connected.world.rows("demo_customers", "key = 'cus_x'")
    assert row["name"] == "Bea"


def test_what_lost_its_content_is_said_and_left(connected):
    (row,) = drained(connected, event())
    connected.world.execute("UPDATE deliveries SET headers = '', body = x''")
    said = connected("webhooks", "replay", "--all", "--yes")
    assert "1 have lost their content" in said.err
    assert connected("webhooks", "show", str(row["id"])).out.count("(no body)") == 1


def test_given_up_with_a_reason(connected):
    (row,) = drained(connected, b"no json")
    said = connected("webhooks", "drop", str(row["id"]), "--reason", "a test of the vendor's", "-o", "json")
    assert said.json == {"dropped": 1}
    (row,) = connected("webhooks", "list", "-o", "json").json
    assert row["state"] == "ignored"
    assert "a test of the vendor's" in row["reason"]
    assert connected("webhooks", "drop", "--all", input="y\n").err.startswith("0 deliveries would be ignored")


# --- status


def test_status_tells_what_came_what_waits_and_what_is_wrong(connected):
    drained(connected, event(id="cus_1"), b"no json")
    deliver(event(id="cus_2"))
    with write() as connection:
        notices.count(connection, [Count(account().id, REFUSED, "too old", 3, "too old")])
        notices.count(connection, [Count(account().id, UNKNOWN, "moon.rose", 1, "moon.rose")])
    said = connected("webhooks", "status", "acme", "-o", "json")
    (view,) = said.json
    assert said.code == 1
    assert (view["received"], view["applied"], view["dead"], view["refused"], view["unknown"]) == (1, 1, 1, 3, 1)
    assert view["url"] == f"{PUBLIC}/webhooks/acme"
    assert view["waits_since"]
    assert view["problem"].startswith("1 are dead")
    assert view["missing_secrets"] == ["webhook_secret"]
    assert {one["name"] for one in view["notices"]} == {"too old", "moon.rose"}
    shown = connected("webhooks", "status", "acme")
    assert "moon.rose" in shown.out
    connected("webhooks", "drop", "--all", "--yes")
    assert "webhook_secret is not set" in connected("webhooks", "status").out
    connected("webhooks", "secret", "acme", input="whsec_c2VjcmV0\n")
    assert connected("webhooks", "status").code == 0


def test_connections_without_a_webhook_are_left_out(connected, tmp_path):
    (tmp_path / "data").mkdir()
    streams = '{"people": {"glob": "*.csv", "key": "id"}}'
    made = connected("connect", "exports", "--connector", "files", "--option", f"folder={tmp_path / 'data'}",
                     "--option", f"streams={streams}", "--no-check", "--owner", "crew")  # fmt: skip
    assert made.code == 0, made.err
    assert [view["connection"] for view in connected("webhooks", "status", "-o", "json").json] == ["acme"]


# --- subscriptions


def test_the_vendor_is_made_to_match(connected, vendor):
    planned = connected("webhooks", "sync", "--dry-run", "-o", "json").json
    assert [(one["connection"], one["done"], one["why"]) for one in planned] == [("acme", "create", "there is none")]
    assert vendor.vendor.postman.hooks.every() == []
    made = connected("webhooks", "sync", "acme", "-o", "json")
    assert (made.code, made.json[0]["done"]) == (0, "create")
    (hook,) = vendor.vendor.postman.hooks.every()
    assert hook.url == f"{PUBLIC}/webhooks/acme"
    assert connected("webhooks", "sync", "-o", "json").json[0]["done"] == "keep"
    (view,) = connected("webhooks", "status", "-o", "json").json
    assert (view["subscription"], view["subscriptions"][0]["id"], view["problem"]) == ("active", hook.id, "")
    with read() as connection:
        (before,) = inboxes.secrets_of(connection, account().id)["webhook_secret"]
    assert before not in f"{made.out}{made.err}{connected('webhooks', 'status', 'acme').out}"
    assert connected("webhooks", "rotate", "acme", "--keep", "2h", "-o", "json").json[0]["done"] == "rotate"
    assert hook.secret != before
    said = connected("webhooks", "remove", "acme", input="n\n")
    assert said.code == 2
    assert len(vendor.vendor.postman.hooks.every()) == 1
    assert connected("webhooks", "remove", "acme", "--yes").code == 0
    assert vendor.vendor.postman.hooks.every() == []


def test_a_given_secret_is_brought_to_a_vendor_that_takes_ours(connected, vendor, monkeypatch):
    connected("webhooks", "sync")
    monkeypatch.setenv("HOOK_SECRET", "whsec_Z2l2ZW4gYnkgYSBwZXJzb24=")
    said = connected("webhooks", "secret", "acme", "--from-env", "HOOK_SECRET", "-o", "json")
    assert said.code == 0
    (hook,) = vendor.vendor.postman.hooks.every()
    assert hook.secret == "whsec_Z2l2ZW4gYnkgYSBwZXJzb24="
    with read() as connection:
        assert len(inboxes.secrets_of(connection, account().id)["webhook_secret"]) == 2


def test_a_secret_without_a_subscription_is_only_set(connected):
    said = connected("webhooks", "secret", "acme", input="whsec_b25l\n")
    assert "webhook_secret of acme is set" in said.err
    assert "whsec_b25l" not in said.out + said.err
    with read() as connection:
        assert inboxes.secrets_of(connection, account().id) == {"webhook_secret": ("whsec_b25l",)}
    connected("webhooks", "secret", "acme", "--keep", "1 hour", input="whsec_dHdv\n")
    with read() as connection:
        assert inboxes.secrets_of(connection, account().id)["webhook_secret"] == ("whsec_dHdv", "whsec_b25l")


def test_one_connection_that_fails_stops_no_other(connected, vendor):
    assert connected.connect("--no-check", name="other").code == 0
    vendor.vendor.faults.set([])
    connected.world.execute("UPDATE connections SET config = :c WHERE name = 'acme'", c='{"url": "http://127.0.0.1:1"}')
    said = connected("webhooks", "sync", "-o", "json")
    assert said.code == 7
    assert {one["connection"]: one["done"] for one in said.json} == {"acme": "failing", "other": "create"}


def test_without_a_public_address_the_variable_is_named(connected, monkeypatch):
    monkeypatch.delenv("TIDELOCK_PUBLIC_URL")
    settings.settings.cache_clear()
    said = connected("webhooks", "sync", "acme")
    assert said.code == 2
    assert "TIDELOCK_PUBLIC_URL" in said.err


# --- pausing


def test_what_was_delivered_while_it_was_paused_is_pulled(connected):
    """In full: nothing tells what was deleted meanwhile."""
    connected("webhooks", "secret", "acme", input="whsec_b25l\n")
    connected("pause", "acme")
    said = connected("resume", "acme")
    assert "runs make up for them" in said.err
    runs = connected.world.rows("runs")
    assert {run["cause"] for run in runs} == {catching_up.CAUSE}
    assert all(run["full"] for run in runs if run["list"] == "rows")
    with read() as connection:
        found = connection.exec_driver_sql("SELECT gap_at FROM inboxes").scalar()
    assert found is None


def test_who_is_not_delivered_to_missed_nothing(connected):
    connected("pause", "acme")
    assert connected("resume", "acme").code == 0
    assert connected.world.rows("runs") == []


# --- listening


@pytest.fixture
def listened(connected, monkeypatch):
    """A receiver on this machine, and its watch."""
    said: list[str] = []
    monkeypatch.setattr(listen, "say", said.append)
    with listen._bound("127.0.0.1", 0) as bound, listen._served(bound) as server:
        watch = listen.Watch(Form.TABLE)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}", watch, said
    assert not server.is_alive()


def until(watch, holds):
    ends = time.monotonic() + 20
    while not holds():
        watch.look()
        assert time.monotonic() < ends, "it did not come about"
        time.sleep(0.02)


def test_what_comes_is_applied_here_and_printed(connected, vendor, listened, monkeypatch, capsys):
    """From a vendor's edit to the record, without a worker."""
    url, watch, said = listened
    monkeypatch.setenv("TIDELOCK_PUBLIC_URL", url)
    settings.settings.cache_clear()
    assert connected("webhooks", "sync", "acme").code == 0
    key = vendor.vendor.create("customers", None, {"name": "Ada"})
    until(watch, lambda: connected.world.rows("demo_customers", f"key = '{key}'"))
    until(watch, lambda: "applied" in capsys.readouterr().out)
    assert said == []


def test_what_is_refused_is_said(connected, vendor, listened, monkeypatch):
    url, watch, said = listened
    monkeypatch.setenv("TIDELOCK_PUBLIC_URL", url)
    settings.settings.cache_clear()
    connected("webhooks", "sync", "acme")
    with write() as connection:
        inboxes.set_secret(connection, account().id, "webhook_secret", "whsec_b3RoZXI=", timedelta(0))
    ends = time.monotonic() + 20
    while not said:
        vendor.vendor.create("customers", None, {"name": "Ada"})
        watch.look()
        assert time.monotonic() < ends
        time.sleep(0.2)
    assert "refused" in said[0]


def test_a_port_that_is_taken_is_told(connected):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        said = connected("webhooks", "listen", "--port", str(taken.getsockname()[1]))
    assert said.code == 2
    assert "give another --port" in said.err


def test_ctrl_c_ends_it(connected, monkeypatch):
    def look(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(listen.Watch, "look", look)
    said = connected("webhooks", "listen", "--port", "0")
    assert said.code == 0
    assert "Listening: http://127.0.0.1:" in said.err
