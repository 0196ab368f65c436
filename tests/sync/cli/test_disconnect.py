"""Disconnecting says what becomes of rows, secrets and subscriptions, and then does that."""

import pytest


@pytest.fixture
def synced(cli_on_both):
    cli_on_both.connect("--streams", "customers,orders")
    assert cli_on_both("run", "acme").code == 0
    return cli_on_both


def test_rows_stay_unless_they_are_to_go(synced):
    said = synced("disconnect", "acme", "--yes", "-o", "json")
    assert said.code == 0
    kept = sum(len(synced.world.rows(table)) for table in ("demo_customers", "demo_orders"))
    assert said.json["rows_kept"] == kept > 0
    for word in ("records", "secrets", "subscriptions"):
        assert word in said.err
    for table in ("connections", "credentials", "runs", "slices", "checkpoints", "schedules"):
        assert synced.world.rows(table) == []


def test_rows_go_where_that_was_said(synced):
    before = len(synced.world.rows("demo_customers"))
    said = synced("disconnect", "acme", "--yes", "--drop-rows", "-o", "json")
    assert said.json["rows_deleted"] >= before
    assert synced.world.rows("demo_customers") == []


def test_it_asks_first(synced):
    assert synced("disconnect", "acme", input="n\n").code == 2
    assert len(synced.world.rows("connections")) == 1
    assert synced("disconnect", "acme", input="y\n").code == 0


def test_secrets_that_another_connection_uses_stay(synced):
    world = synced.world
    credential = world.rows("credentials")[0]["id"]
    world.connect("demo", {"url": synced.url}, name="other")
    world.execute("UPDATE connections SET credential_id = :credential", credential=credential)
    assert "another connection uses them" in synced("disconnect", "acme", "--yes").err
    assert len(world.rows("credentials")) == 1


def test_an_unknown_connection_is_told(cli):
    said = cli("disconnect", "acme", "--yes")
    assert said.code == 2
    assert "no connection 'acme'" in said.err
