"""Connecting: what doesn't fit the connector is told, what fits is made so once, and again changes nothing."""

from dataclasses import replace

import pytest

from connectors import TidelockError
from sync.connecting import apply, checked, compare
from sync.declared import Declared
from sync.store import connections, credentials, inboxes
from sync.store.database import read

WANTED = Declared(
    name="acme",
    connector="demo",
    options={"url": "http://127.0.0.1:1"},
    secrets={"secret_key": "geheim"},
    schedules={"": "every 15 minutes", "orders": "0 3 * * *"},
)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"connector": "dem"}, "no connector 'dem'. Did you mean demo"),
        ({"options": {}}, "the option url is missing"),
        ({"options": {"url": "x", "uri": "y"}}, "demo has no option 'uri'; there is url"),
        ({"secrets": {}}, "the secret secret_key is missing"),
        ({"secrets": {"key": "x", "secret_key": "geheim"}}, "demo has no secret 'key'; there is secret_key"),
        ({"streams": ("customer",)}, "there is no stream 'customer'"),
        ({"streams": ("tasks",)}, "'tasks' is read by the records of 'projects': select 'projects' too"),
        ({"schedules": {"invoices": "every 1 hour"}}, "there is no stream 'invoices'"),
        ({"schedules": {"": "now and then"}}, "schedule 'now and then' is neither"),
        ({"schedules": {"": "every 0 seconds"}}, "shortest interval"),
        ({"zone": "Europe/Atlantis"}, "no time zone 'Europe/Atlantis'"),
        ({"connector": "github", "options": {"owner": "a", "account": "robot"}, "secrets": {"token": "t"}},
         "account is 'robot', and should be one of organization, user"),
        ({"connector": "github", "options": {"owner": "a/../b"}, "secrets": {"token": "t"}}, "option owner"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_told(changes, sentence):
    with pytest.raises(TidelockError, match=sentence) as caught:
        checked(replace(WANTED, **changes))
    assert "geheim" not in str(caught.value)


def test_a_child_without_its_parent_is_not_applied(sqlite_world):
    """Not even unchecked: nothing of it is left behind."""
    with pytest.raises(TidelockError, match="select 'projects' too"):
        apply(replace(WANTED, streams=("tasks",)))
    assert sqlite_world.rows("connections") == []
    assert apply(replace(WANTED, streams=("tasks", "projects"))) == ("created", [])


def test_an_owner_is_required(monkeypatch):
    ownerless = replace(__import__("connectors.demo", fromlist=["connector"]).connector, owner=None)
    monkeypatch.setattr("sync.connecting.load", lambda name: ownerless)
    with pytest.raises(TidelockError, match="owner is missing"):
        checked(WANTED)
    assert checked(replace(WANTED, owner="crew")).owner == "crew"


def test_applying_creates_once_and_then_changes_nothing(world):
    assert compare(WANTED) == ("created", [])
    assert apply(WANTED) == ("created", [])
    before = stored()
    assert apply(WANTED) == ("unchanged", [])
    assert stored() == before


def stored():
    with read() as connection:
        account = connections.by_name(connection, "acme")
        return account, connections.schedules(connection, account.id)


@pytest.mark.parametrize(
    ("changes", "differs"),
    [
        ({"options": {"url": "http://127.0.0.1:2"}}, ["config"]),
        ({"owner": "crew"}, ["owner"]),
        ({"streams": ("customers",), "schedules": {"": "every 15 minutes"}}, ["streams", "schedule"]),
        ({"parallel": 2}, ["parallel"]),
        ({"objective": 60}, ["objective"]),
        ({"jitter": 5.0}, ["schedule"]),
        ({"secrets": {"secret_key": "other"}}, ["secrets"]),
    ],
)
def test_what_differs_is_changed_and_told(sqlite_world, changes, differs):
    apply(WANTED)
    wanted = replace(WANTED, **changes)
    assert compare(wanted) == ("changed", differs)
    assert apply(wanted) == ("changed", differs)
    assert compare(wanted) == ("unchanged", [])


def test_the_new_secret_is_the_one_that_counts(world):
    apply(WANTED)
    apply(replace(WANTED, secrets={"secret_key": "other"}))
    assert credentials.secrets(stored()[0].credential_id) == {"secret_key": "other"}


def test_an_unchanged_schedule_keeps_its_beat(world):
    apply(WANTED)
    due = stored()[1][""].next_due_at
    apply(replace(WANTED, owner="crew"))
    assert stored()[1][""].next_due_at == due


def test_an_interval_is_due_at_once_and_cron_at_its_hour(world):
    apply(WANTED)
    account, schedules = stored()
    assert (schedules[""].next_due_at - account.created_at).total_seconds() < 60
    assert schedules["orders"].next_due_at.hour == 3


def test_a_connection_cannot_change_its_connector(sqlite_world):
    apply(WANTED)
    other = Declared(name="acme", connector="stripe", secrets={"secret_key": "geheim"})
    with pytest.raises(TidelockError, match="can't change its connector"):
        apply(checked(other))


def test_a_rotated_token_is_no_news_until_it_is_refused(sqlite_world, monkeypatch):
    monkeypatch.setattr("sync.connecting.ROTATED", ("secret_key",))
    apply(WANTED)
    renewed = replace(WANTED, secrets={"secret_key": "as it was first"})
    assert compare(renewed) == ("unchanged", [])
    sqlite_world.execute("UPDATE credentials SET refused = 'invalid_grant'")
    assert compare(renewed) == ("changed", ["secrets"])


# --- the secrets of its webhook


HOOKED = replace(WANTED, secrets={**WANTED.secrets, "webhook_secret": "whsec_one"})


def held(name="acme"):
    """What signs deliveries, and what the credential holds."""
    with read() as connection:
        account = connections.by_name(connection, name)
        signs = inboxes.secrets_of(connection, account.id)
    return signs, dict(credentials.secrets(account.credential_id))


def test_a_webhooks_secret_belongs_to_the_inbox(sqlite_world):
    """It may be given, and need not be; the credential knows nothing of it."""
    assert apply(checked(WANTED))[0] == "created"
    assert held() == ({}, {"secret_key": "geheim"})
    assert apply(checked(HOOKED)) == ("changed", ["webhook secrets"])
    assert held() == ({"webhook_secret": ("whsec_one",)}, {"secret_key": "geheim"})
    assert apply(checked(HOOKED)) == ("unchanged", [])
    assert apply(checked(WANTED)) == ("unchanged", [])


def test_another_secret_leaves_the_old_one_valid_for_a_while(sqlite_world):
    """The vendor may still sign with it."""
    apply(checked(HOOKED))
    assert apply(checked(replace(HOOKED, secrets={**HOOKED.secrets, "webhook_secret": "whsec_two"})))[0] == "changed"
    assert held()[0] == {"webhook_secret": ("whsec_two", "whsec_one")}


def test_a_changed_credential_changes_no_webhook(sqlite_world):
    """Nor the other way round: what the engine got for the credential since stays."""
    apply(checked(HOOKED))
    assert apply(checked(replace(HOOKED, secrets={"secret_key": "other"}))) == ("changed", ["secrets"])
    assert held() == ({"webhook_secret": ("whsec_one",)}, {"secret_key": "other"})
