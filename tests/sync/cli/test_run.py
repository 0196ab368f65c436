"""Running by hand: watched to the end, and the exit code says how it ended."""

import pytest
from kombu.exceptions import OperationalError

from sync.cli import run as run_command


def test_a_run_brings_the_records_and_says_so(cli_on_both):
    cli_on_both.connect()
    said = cli_on_both("run", "acme", "-o", "json")
    assert said.code == 0
    rows = {row["stream"]: row for row in said.json}
    assert {row["state"] for row in said.json} == {"done"}
    assert rows["customers"]["inserted"] == len(cli_on_both.world.rows("demo_customers")) == 60
    assert rows["tasks"]["inserted"] > 0


def test_a_second_run_inserts_nothing(cli):
    cli.connect()
    cli("run", "acme")
    again = {row["stream"]: row for row in cli("run", "acme", "-o", "json").json}
    assert sum(row["inserted"] + row["updated"] for row in again.values()) == 0


def test_select_and_full(cli):
    cli.connect()
    cli("run", "acme")
    rows = cli("run", "acme", "--select", "orders", "--full", "-o", "json").json
    assert [row["stream"] for row in rows] == ["orders"]
    assert rows[0]["unchanged"] == len(cli.world.rows("demo_orders"))


def test_without_waiting_it_is_opened_and_left(cli, monkeypatch):
    cli.connect()
    monkeypatch.setattr(run_command, "send", lambda rung: None)
    rows = cli("run", "acme", "--no-wait", "-o", "json").json
    assert {row["state"] for row in rows} <= {"running", "waiting"}


def test_what_is_under_way_is_watched_and_not_opened_again(cli, monkeypatch):
    cli.connect("--streams", "orders")
    monkeypatch.setattr(run_command, "send", lambda rung: None)
    opened = cli("run", "acme", "--no-wait", "-o", "json").json
    again = cli("run", "acme", "--no-wait", "-o", "json")
    assert "being pulled already" in again.err
    assert [row["run"] for row in again.json] == [row["run"] for row in opened]


def test_a_failed_run_is_exit_code_1_with_the_reason(cli, monkeypatch):
    cli.connect("--streams", "orders")

    def fail(rung):
        cli.world.execute("UPDATE slices SET state = 'dead', reason = 'it broke'")
        cli.world.execute("UPDATE runs SET state = 'failed', reason = 'it broke', closed_at = opened_at")

    monkeypatch.setattr(run_command, "send", fail)
    said = cli("run", "acme")
    assert said.code == 1
    assert "it broke" in said.err
    assert cli("status").code == 1


def test_a_connection_that_stops_under_way_ends_the_watch(cli, monkeypatch):
    cli.connect("--streams", "orders")

    def refuse(rung):
        cli.world.execute("UPDATE connections SET state = 'failing', reason = 'the key was refused'")

    monkeypatch.setattr(run_command, "send", refuse)
    said = cli("run", "acme")
    assert said.code == 6
    assert "the key was refused" in said.err


def test_a_broker_that_is_down_is_told_and_what_was_asked_for_is_kept(cli, monkeypatch):
    cli.connect()

    def down(rung):
        raise OperationalError("connection refused")

    monkeypatch.setattr(run_command, "send", down)
    said = cli("run", "acme")
    assert said.code == 5
    assert "BROKER_URL" in said.err
    assert "is written down" in said.err
    assert len(cli.world.rows("runs")) > 0
    assert {row["state"] for row in cli.world.rows("slices")} == {"ready"}


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("run", "acm"), "no connection 'acm'. Did you mean acme"),
        (("run", "acme", "--select", "customer"), "no stream 'customer'"),
        (("backfill", "acme", "--since", "yesterday"), "--since 'yesterday' is not a time"),
        (("backfill", "acme", "--since", "2026-02-01", "--until", "2026-01-01"), "is not before"),
        (("state", "set", "acme", "customers", "soon"), "'soon' is not a time"),
        (("state", "set", "acme", "projects", "7"), "has no cursor"),
        (("state", "get", "acme", "invoices"), "no stream 'invoices'"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(cli, words, sentence):
    cli.connect()
    said = cli(*words)
    assert said.code == 2
    assert sentence in said.err
    assert cli.world.rows("runs") == []


def test_a_paused_connection_runs_only_after_it_is_resumed(cli):
    cli.connect()
    assert cli("pause", "acme", "--reason", "the vendor asked").code == 0
    said = cli("run", "acme")
    assert said.code == 1
    assert "the vendor asked" in said.err
    assert "tidelock resume acme" in said.err
    assert cli("status", "-o", "json").json[0]["state"] == "paused"
    assert cli("resume", "acme").code == 0
    assert cli("run", "acme").code == 0


def test_a_backfill_goes_through_its_own_lane_and_moves_no_checkpoint(cli):
    cli.connect("--streams", "customers")
    cli("run", "acme")
    before = cli.world.rows("checkpoints")
    said = cli("backfill", "acme", "--since", "2026-01-01", "-o", "json")
    assert said.code == 0
    assert cli.world.rows("checkpoints") == before
    assert cli.world.rows("runs")[-1]["lane"] == "backfill"


def test_the_state_is_shown_set_and_forgotten(cli):
    cli.connect("--streams", "customers,orders")
    cli("run", "acme")
    shown = {(row["stream"], row["list"]): row for row in cli("state", "get", "acme", "-o", "json").json}
    assert shown["customers", "rows"]["starts_at"].startswith("2026-")
    assert cli("state", "set", "acme", "customers", "2026-03-01T00:00+01:00").code == 0
    (row,) = [r for r in cli("state", "get", "acme", "customers", "-o", "json").json if r["list"] == "rows"]
    assert row["starts_at"] == "2026-02-28T23:00:00.000000Z"
    assert cli("state", "set", "acme", "orders", "seventeen").code == 2
    assert cli("state", "set", "acme", "orders", "17").code == 0
    assert cli("state", "get", "acme", "orders", "-o", "json").json[0]["cursor"] == 17
    assert cli("state", "reset", "acme", "-o", "json").json["forgotten"] == 3
    assert cli("state", "get", "acme", "-o", "json").json == []


def test_runs_are_listed_newest_first(cli):
    cli.connect("--streams", "orders")
    cli("run", "acme")
    cli("run", "acme")
    rows = cli("runs", "acme", "-o", "json").json
    assert [row["id"] for row in rows] == sorted((row["id"] for row in rows), reverse=True)
    assert rows[0]["connection"] == "acme"
    assert cli("runs", "--failed", "-o", "json").json == []
