"""Every command: one sentence and an exit code for whatever is missing, JSON alone on standard output."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sync
from sync import settings
from sync.cli import local
from sync.cli.commands import COMMANDS, app
from sync.store import migrations
from tests.sync.cli.conftest import RUNNER
from tests.world import forget

ROOT = Path(sync.__file__).parents[1]
NEEDS_A_DATABASE = [
    ("connect", "acme", "--connector", "demo"), ("disconnect", "acme"), ("check", "acme"), ("discover", "acme"),
    ("run", "acme"), ("backfill", "acme", "--since", "2026-01-01"), ("status",), ("runs",), ("errors",),
    ("replay", "1"), ("drop", "1"), ("approve", "1", "--ceiling", "1"), ("pause", "acme"), ("resume", "acme"),
    ("state", "get", "acme"), ("schema", "plan"), ("apply",),
]  # fmt: skip


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder in which nothing is set up."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "REDIS_URL", "BROKER_URL", "TIDELOCK_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TIDELOCK_HOME", str(tmp_path / "home"))
    forget()
    yield tmp_path
    forget()


def call(*words):
    return RUNNER.invoke(app, list(words))


@pytest.mark.parametrize("words", NEEDS_A_DATABASE, ids=lambda words: words[0])
def test_a_database_that_is_not_migrated_is_exit_code_3(place, words):
    done = call(*words)
    assert done.exit_code == 3
    assert done.stderr == "error: the database has no tables yet: run `tidelock init`.\n"


@pytest.mark.parametrize("words", [("init",), *NEEDS_A_DATABASE], ids=lambda words: words[0])
def test_a_database_that_is_not_there_is_exit_code_4(place, monkeypatch, words):
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:geheim@127.0.0.1:9/none")
    forget()
    done = call(*words)
    assert done.exit_code == 4
    assert "127.0.0.1:9/none" in done.stderr
    assert "DATABASE_URL" in done.stderr
    assert "geheim" not in done.output


def test_init_makes_home_key_and_tables_and_may_be_called_again(place):
    for _ in range(2):
        done = call("init", "-o", "json")
        assert done.exit_code == 0
        assert json.loads(done.stdout)["version"] == migrations.head()
    assert (place / "home" / "key").stat().st_mode & 0o077 == 0
    assert call("status").exit_code == 0


@pytest.mark.parametrize(
    ("dotenv", "sentence"),
    [
        ("DATABASE_URL=mysql://x\n", "DATABASE_URL is 'mysql://x'"),
        ("A=1\nthis is no variable\n", ".env line 2"),
        ("TIDELOCK_TICK_SECONDS=often\n", "TIDELOCK_TICK_SECONDS is 'often'"),
        ("TIDELOCK_ALLOW_PRIVATE=everything\n", "TIDELOCK_ALLOW_PRIVATE"),
    ],
)
def test_a_malformed_dotenv_is_exit_code_2(place, dotenv, sentence):
    (place / ".env").write_text(dotenv)
    forget()
    for words in (("status",), ("doctor",), ("validate",), ("init",)):
        done = call(*words)
        assert done.exit_code == 2
        assert sentence in done.stderr
        assert done.stdout == ""


def test_a_key_that_is_none_is_told_and_not_quoted(place, monkeypatch):
    monkeypatch.setenv("TIDELOCK_KEY", "geheim")
    forget()
    done = call("init")
    assert done.exit_code == 2
    assert "TIDELOCK_KEY" in done.stderr
    assert "geheim" not in done.output


def test_an_unknown_command_or_option_is_exit_code_2():
    assert call("frobnicate").exit_code == 2
    assert call("status", "--frobnicate").exit_code == 2


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_and_a_choice_of_output(name):
    done = call(name, "--help")
    assert done.exit_code == 0
    if name not in {"state", "schema", "webhooks"}:
        assert "--output" in done.stdout


def test_the_page_about_the_command_line_names_every_command_and_exit_code():
    page = (ROOT / "docs" / "cli.md").read_text()
    for name in COMMANDS:
        assert f"`{name}" in page
    for code in range(8):
        assert f"\n| {code} |" in page


def test_connectors_are_listed_with_what_they_ask_for():
    rows = {row["connector"]: row for row in json.loads(call("connectors", "-o", "json").stdout)}
    assert rows["demo"]["secrets"] == ["secret_key"]
    assert rows["demo"]["options"]["url"]["required"]
    assert rows["github"]["about"].startswith("GitHub REST API")
    assert rows["stripe"]["streams"][0] == "customers"
    assert call("connectors").exit_code == 0


def test_schema_plan_says_what_apply_then_does(cli_on_both):
    cli_on_both.connect("--streams", "orders")
    assert cli_on_both("schema", "plan", "-o", "json").json == []
    cli_on_both.world.execute("DROP TABLE demo_orders")
    planned = cli_on_both("schema", "plan", "-o", "json").json
    assert [row["table"] for row in planned] == ["demo_orders"]
    assert cli_on_both("schema", "apply", "-o", "json").json == planned
    assert cli_on_both("schema", "plan", "-o", "json").json == []


def test_the_doctor_names_what_ails_and_what_mends_it(cli):
    rows = {row["what"]: row for row in cli("doctor", "-o", "json").json}
    assert rows["database"]["state"] == rows["redis"]["state"] == rows["clocks"]["state"] == "ok"
    assert rows["clock"]["state"] == "wrong"
    assert "tidelock up" in rows["clock"]["mend"]


def test_the_doctor_bears_with_everything_missing(place, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://127.0.0.1:9/none")
    monkeypatch.setenv("REDIS_URL", "redis://:geheim@127.0.0.1:9/0")
    forget()
    done = call("doctor", "-o", "json")
    assert done.exit_code == 1
    rows = {row["what"]: row for row in json.loads(done.stdout)}
    assert rows["database"]["state"] == rows["redis"]["state"] == rows["broker"]["state"] == "wrong"
    assert "geheim" not in done.output


def test_commands_find_the_service_that_runs_here(place, monkeypatch):
    (place / "home").mkdir()
    monkeypatch.setenv("TIDELOCK_ALLOW_PRIVATE", "10.0.0.0/8")
    forget()
    told = {"REDIS_URL": "redis://told/1", "TIDELOCK_ALLOW_PRIVATE": "10.0.0.0/8,127.0.0.0/8"}
    local.announce(place / "home", told)
    assert (place / "home" / "up.json").stat().st_mode & 0o077 == 0
    local.adopt()
    assert settings.settings().redis_url == "redis://told/1"
    assert len(settings.settings().allow_private) == 2


def test_what_the_environment_says_stands_above_the_service(place, monkeypatch):
    (place / "home").mkdir()
    local.announce(place / "home", {"REDIS_URL": "redis://told/1"})
    monkeypatch.setenv("REDIS_URL", "redis://own/2")
    forget()
    local.adopt()
    assert settings.settings().redis_url == "redis://own/2"


def test_a_service_that_ended_is_not_believed(place):
    (place / "home").mkdir()
    local.announce(place / "home", {"REDIS_URL": "redis://told/1"})
    file = place / "home" / "up.json"
    file.write_text(file.read_text().replace(f'"pid":{os.getpid()}', f'"pid":{ended()}'))
    local.adopt()
    assert settings.settings().redis_url != "redis://told/1"
    local.demand_alone(place / "home")


def ended():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_one_home_serves_one_up(place):
    call("init")
    local.announce(place / "home", {})
    done = call("up")
    assert done.exit_code == 2
    assert "runs already" in done.stderr
