"""Inboxes: secrets, sealed, of which two are valid while they change."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError

from models import Inbox
from sync.store import inboxes
from sync.store.database import now, read, write
from sync.vault import Vault, VaultError
from tests.processes import until

KEYS = Vault(b"k" * 32)
NAME = "webhook_secret"


@pytest.fixture
def account(lab):
    return lab.account()


def change(lab, value, keep=None, name=NAME):
    with write(lab.engine) as connection:
        inboxes.set_secret(connection, lab.id, name, value, keep, keys=KEYS)


def held(lab, keys=KEYS):
    with read(lab.engine) as connection:
        return inboxes.secrets_of(connection, lab.id, keys=keys)


def test_a_connection_without_an_inbox_has_no_secrets(lab, account):
    assert held(lab) == {}
    for _ in range(2):
        with write(lab.engine) as connection:
            inboxes.ensure(connection, account)
    assert held(lab) == {}


def test_secrets_are_kept_apart_and_sealed(lab, account):
    change(lab, "geheim")
    change(lab, "token", name="verify_token")
    assert held(lab) == {NAME: ("geheim",), "verify_token": ("token",)}
    with read(lab.engine) as connection:
        sealed = connection.execute(select(Inbox.sealed).where(Inbox.connection_id == account)).scalar_one()
    assert sealed
    assert b"geheim" not in sealed
    with pytest.raises(VaultError, match=f"inbox:{account}"):
        held(lab, Vault(b"x" * 32))


def test_the_one_before_is_valid_as_long_as_it_is_kept(lab, account):
    change(lab, "first")
    change(lab, "second", timedelta(hours=1))
    assert held(lab) == {NAME: ("second", "first")}
    with read(lab.engine) as connection:
        row = connection.execute(select(Inbox.sealed, now()).where(Inbox.connection_id == account)).one()
    for later, valid in ((0.99, ("second", "first")), (1.01, ("second",))):
        clock = row[1] + timedelta(hours=later)
        assert inboxes.opened(account, row.sealed, clock, keys=KEYS) == {NAME: valid}
    change(lab, "third", timedelta(hours=1))
    assert held(lab) == {NAME: ("third", "second")}
    change(lab, "fourth")
    assert held(lab) == {NAME: ("fourth",)}


def test_the_same_again_is_no_change(lab, account):
    """A command that is repeated doesn't end the time of the one before."""
    change(lab, "first")
    change(lab, "second", timedelta(hours=1))
    change(lab, "second")
    assert held(lab) == {NAME: ("second", "first")}


def test_a_secret_that_comes_by_itself_is_the_first_or_none(lab, account):
    def come(value):
        with write(lab.engine) as connection:
            return inboxes.capture(connection, account, NAME, value, keys=KEYS)

    with ThreadPoolExecutor(4) as threads:
        taken = dict(zip("abcd", threads.map(come, "abcd"), strict=True))
    assert sorted(taken.values()) == [False, False, False, True]
    (winner,) = (value for value, was in taken.items() if was)
    assert held(lab) == {NAME: (winner,)}


def test_of_two_who_set_a_secret_the_second_sees_the_first(postgres_lab, monkeypatch):
    """On SQLite there is one writer at a time anyway."""
    account = postgres_lab.account()
    change(postgres_lab, "token", name="verify_token")
    monkeypatch.setattr(inboxes, "ensure", lambda *_: None)  # as after it: it would wait too, for a moment
    second = threading.Thread(target=change, args=(postgres_lab, "geheim"))
    with write(postgres_lab.engine) as connection:
        inboxes.set_secret(connection, account, "other", "value", keys=KEYS)
        second.start()
        until(lambda: not second.is_alive() or waiting(postgres_lab), "the second to wait")
    second.join()
    assert set(held(postgres_lab)) == {"verify_token", "other", NAME}


def waiting(lab):
    """Whether somebody waits for a lock in this database."""
    with read(lab.engine) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
        return connection.exec_driver_sql(query).scalar_one()


def test_other_keys_seal_anew(lab, account):
    def anew(ring):
        with write(lab.engine) as connection:
            return inboxes.seal_anew(connection, account, keys=ring)

    change(lab, "geheim")
    newer = Vault(b"n" * 32, b"k" * 32)
    assert [anew(newer), anew(newer)] == [True, False]
    assert held(lab, Vault(b"n" * 32)) == {NAME: ("geheim",)}


def test_what_is_gone_has_no_inbox(lab):
    with pytest.raises(IntegrityError), write(lab.engine) as connection:
        inboxes.ensure(connection, 987_654_321)
