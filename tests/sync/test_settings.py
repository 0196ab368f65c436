"""Settings: every wrong variable names itself, and what is published is what is read."""

import re
from dataclasses import fields
from ipaddress import ip_network
from pathlib import Path

import pytest

import sync
from sync.settings import Settings, SettingsError, environment, read, variable

EXAMPLE = Path(sync.__file__).parents[1] / ".env.example"
NOT_READ_HERE = {"STRIPE_SECRET_KEY", "GITHUB_TOKEN", "PORT", "WORKER_CONCURRENCY"}  # by connections, by the Procfile


def test_everything_has_a_default():
    """With an empty environment the service runs on this machine alone."""
    found = read({})
    assert found.database_url == "sqlite:///.tidelock/tidelock.db"
    assert found.broker_url == found.redis_url == "redis://127.0.0.1:6379/0"


def test_values_become_what_they_mean(tmp_path):
    found = read(
        {
            "TIDELOCK_HOME": str(tmp_path), "TIDELOCK_ALLOW_PRIVATE": "127.0.0.0/8, 10.1.0.0/16",
            "TIDELOCK_TICK_SECONDS": "0.5", "TIDELOCK_IN_FLIGHT": "7", "TIDELOCK_LOG_FORMAT": "JSON",
        }
    )  # fmt: skip
    assert found.database_url == f"sqlite:///{tmp_path}/tidelock.db"
    assert found.allow_private == (ip_network("127.0.0.0/8"), ip_network("10.1.0.0/16"))
    assert (found.tick_seconds, found.in_flight, found.log_format) == (0.5, 7, "json")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("postgres://db/x", "postgresql+psycopg://db/x"),
        ("postgresql://db/x", "postgresql+psycopg://db/x"),
        ("postgresql+psycopg://db/x", "postgresql+psycopg://db/x"),
        ("sqlite:///x.db", "sqlite:///x.db"),
    ],
)
def test_a_bare_postgresql_url_gets_the_driver_that_is_there(given, url):
    assert read({"DATABASE_URL": given}).database_url == url


def test_paths_follow_the_public_address():
    assert read({"TIDELOCK_PUBLIC_URL": "https://sync.example.com/"}).public_url == "https://sync.example.com"


@pytest.mark.parametrize(
    ("given", "broker"),
    [
        ("redis://r:6379/1", "redis://r:6379/1"),
        ("unix:///run/redis.sock?db=2", "redis+socket:///run/redis.sock?virtual_host=2"),
    ],
)
def test_the_broker_is_redis_in_celerys_spelling(given, broker):
    assert read({"REDIS_URL": given}).broker_url == broker
    assert read({"REDIS_URL": given, "BROKER_URL": "amqp://rabbit//"}).broker_url == "amqp://rabbit//"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("DATABASE_URL", "mysql://db/x", "mysql:// is neither"),
        ("DATABASE_URL", "tidelock.db", "neither"),
        ("TIDELOCK_ALLOW_PRIVATE", "127.0.0.0/8,localhost", "localhost"),
        ("TIDELOCK_ALLOW_PRIVATE", "10.0.0.0/40", "10.0.0.0/40"),
        ("TIDELOCK_TICK_SECONDS", "soon", "soon"),
        ("TIDELOCK_SLICE_SECONDS", "0", "not a number above zero"),
        ("TIDELOCK_LEASE_SECONDS", "-5", "not a number above zero"),
        ("TIDELOCK_IN_FLIGHT", "many", "many"),
        ("TIDELOCK_IN_FLIGHT", "0.5", "0.5"),
        ("TIDELOCK_REQUEST_SECONDS", "", None),
        ("TIDELOCK_REQUEST_SECONDS", "inf", "not a number above zero"),
        ("TIDELOCK_LEASE_SECONDS", "nan", "not a number above zero"),
        ("TIDELOCK_MAX_BODY", "64MB", "64MB"),
        ("TIDELOCK_PUBLIC_URL", "sync.example.com", "no https:// or http:// address"),
        ("TIDELOCK_PUBLIC_URL", "https://sync.example.com/?a=b", "no https:// or http:// address"),
        ("TIDELOCK_LOG_LEVEL", "loud", "none of debug, info, warning, error"),
        ("TIDELOCK_LOG_FORMAT", "xml", "none of console, json"),
    ],
)
def test_a_wrong_variable_names_itself(name, value, says):
    """... and its value; an empty one counts as not given."""
    if says is None:
        assert read({name: value}) == read({})
        return
    with pytest.raises(SettingsError, match=f"^{name} is .*{re.escape(says)}"):
        read({name: value})


def test_the_environment_stands_above_the_file(tmp_path):
    file = tmp_path / ".env"
    file.write_text("TIDELOCK_IN_FLIGHT=3\nexport TIDELOCK_LOG_LEVEL='debug' # why\n\nTIDELOCK_TICK_SECONDS=2\n")
    found = read({"TIDELOCK_IN_FLIGHT": "5"}, file)
    assert (found.in_flight, found.log_level, found.tick_seconds) == (5, "debug", 2.0)


def test_a_malformed_line_is_told_by_number(tmp_path):
    file = tmp_path / ".env"
    file.write_text("TIDELOCK_IN_FLIGHT=3\nthis is = no 'variable\n")
    with pytest.raises(SettingsError, match=r"\.env line 2: .*is not NAME=value"):
        read({}, file)


def test_a_file_that_is_no_text_is_told(tmp_path):
    file = tmp_path / ".env"
    file.write_bytes(b"TIDELOCK_IN_FLIGHT=\xff\xfe\n")
    with pytest.raises(SettingsError, match=r"\.env is not UTF-8 text"):
        read({}, file)


def test_what_children_get_is_both(tmp_path, monkeypatch):
    (tmp_path / ".env").write_text("ACME_TOKEN=geheim\nHOME=/nowhere\n")
    found = environment(tmp_path / ".env")
    assert found["ACME_TOKEN"] == "geheim"
    assert found["HOME"] != "/nowhere"


def test_the_example_names_every_variable_and_no_other():
    """Taken as it is, and with every line switched on, it can be read."""
    lines = re.findall(r"^#?([A-Z_]+)=(.*)$", EXAMPLE.read_text(), re.MULTILINE)
    assert {name for name, _ in lines} == {variable(field.name) for field in fields(Settings)} | NOT_READ_HERE
    read({name: value for name, value in lines if name not in NOT_READ_HERE})
    assert read({}, EXAMPLE) == read({})
