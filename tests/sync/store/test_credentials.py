"""Credentials on both databases: sealed, renewed by one, blocked as the vendor said."""

import threading

import pytest
from sqlalchemy import event, select, update

from models import Base, Credential
from sync.store import credentials
from sync.store.credentials import UnknownCredential
from sync.store.database import connect, read, write
from sync.vault import Vault, VaultError

KEYS = Vault(b"v" * 32)
SECRETS = {"client_id": "app", "refresh_token": "canary-secret"}


@pytest.fixture(params=["sqlite", "postgresql"])
def engine(request, tmp_path):
    postgres = request.param == "postgresql"
    made = connect(request.getfixturevalue("postgres_url") if postgres else f"sqlite:///{tmp_path / 'c.db'}")
    Base.metadata.create_all(made)
    yield made
    made.dispose()


@pytest.fixture
def id(engine):
    with write(engine) as connection:
        return credentials.create(connection, "acme", SECRETS, keys=KEYS)


def load(engine, id):
    return credentials.load(id, target=engine, keys=KEYS)


def row(engine, id):
    with read(engine) as connection:
        return connection.execute(select(Credential.__table__).where(Credential.id == id)).one()


def test_secrets_are_sealed_under_the_rows_id(engine, id):
    with write(engine) as connection:
        other = credentials.create(connection, "acme", {"key": "x"}, keys=KEYS)
    assert other != id
    assert credentials.secrets(id, target=engine, keys=KEYS) == SECRETS
    sealed = row(engine, id).sealed
    assert b"canary" not in sealed
    with write(engine) as connection:
        connection.execute(update(Credential).where(Credential.id == other).values(sealed=sealed))
    with pytest.raises(VaultError):
        load(engine, other)


def test_a_stored_credential_shows_no_secret(engine, id):
    assert "canary" not in repr(load(engine, id))


def test_an_unknown_credential_is_named(engine):
    with pytest.raises(UnknownCredential, match="404"):
        load(engine, 404)
    with pytest.raises(UnknownCredential, match="404"), write(engine) as connection:
        credentials.replace(connection, 404, {}, keys=KEYS)


def test_replaced_secrets_are_a_new_version_free_of_the_past(engine, id):
    turn = credentials.take_turn(id, 1, 60, target=engine)
    assert turn
    credentials.end_turn(id, 1, turn, 60, refused="invalid_grant", target=engine)
    credentials.set_blocked(id, None, 600, target=engine)
    with write(engine) as connection:
        credentials.replace(connection, id, {"key": "new"}, keys=KEYS)
    stored = load(engine, id)
    assert (stored.version, stored.secrets, stored.refused, stored.blocked) == (2, {"key": "new"}, None, {})
    assert credentials.take_turn(id, 2, 60, target=engine)


def test_only_one_has_the_turn_until_it_ends(engine, id):
    assert credentials.take_turn(id, 1, 60, target=engine)
    assert credentials.take_turn(id, 1, 60, target=engine) is None


def test_a_turn_that_is_over_is_anothers(engine, id):
    over = credentials.take_turn(id, 1, -1, target=engine)
    turn = credentials.take_turn(id, 1, 60, target=engine)
    assert over
    assert turn
    credentials.end_turn(id, 1, over, -1, refused="late", target=engine)
    assert load(engine, id).refused is None
    assert credentials.take_turn(id, 1, 60, target=engine) is None


def test_nobody_has_the_turn_for_a_version_that_is_gone(engine, id):
    credentials.save_renewed(id, 1, SECRETS, 60, target=engine, keys=KEYS)
    assert credentials.take_turn(id, 1, 60, target=engine) is None


def test_many_at_once_have_one_turn(engine, id):
    start, turns = threading.Barrier(8), []

    def take():
        start.wait(10)
        turns.append(credentials.take_turn(id, 1, 60, target=engine))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len([turn for turn in turns if turn]) == 1
    assert len(turns) == 8


def test_a_failed_turn_is_followed_by_a_pause_and_tells_why(engine, id):
    turn = credentials.take_turn(id, 1, 60, target=engine)
    assert turn
    credentials.end_turn(id, 1, turn, 30, refused="invalid_grant", target=engine)
    assert load(engine, id).refused == "invalid_grant"
    assert credentials.take_turn(id, 1, 60, target=engine) is None


def test_a_renewed_token_counts_only_for_the_version_it_was_made_from(engine, id):
    assert credentials.save_renewed(id, 1, {**SECRETS, "access_token": "a"}, 3600, target=engine, keys=KEYS)
    assert not credentials.save_renewed(id, 1, {**SECRETS, "access_token": "b"}, 3600, target=engine, keys=KEYS)
    stored = load(engine, id)
    assert (stored.version, stored.secrets["access_token"]) == (2, "a")
    assert 3590 < (stored.left or 0) <= 3600


def test_a_token_without_an_end_has_no_time_left_to_count(engine, id):
    credentials.save_renewed(id, 1, SECRETS, None, target=engine, keys=KEYS)
    assert load(engine, id).left is None


def test_blocks_are_kept_by_limit_and_never_shortened(engine, id):
    credentials.set_blocked(id, "search", 500, target=engine)
    credentials.set_blocked(id, "search", 5, target=engine)
    credentials.set_blocked(id, None, 50, target=engine)
    blocked = load(engine, id).blocked
    assert sorted(blocked) == [credentials.ALL, "search"]
    assert 490 < blocked["search"] <= 500
    assert 40 < blocked[credentials.ALL] <= 50


def test_a_block_that_is_over_is_forgotten(engine, id):
    credentials.set_blocked(id, "search", -1, target=engine)
    assert load(engine, id).blocked == {}
    credentials.set_blocked(id, "default", 50, target=engine)
    assert list(row(engine, id).blocked) == ["default"]


def test_two_that_block_at_once_lose_neither(engine, id):
    start = threading.Barrier(6)

    def block(name):
        start.wait(10)
        credentials.set_blocked(id, name, 500, target=engine)

    threads = [threading.Thread(target=block, args=(f"limit{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(load(engine, id).blocked) == 6


def test_another_key_seals_anew(engine, id):
    ring = Vault(b"n" * 32, b"v" * 32)
    assert credentials.seal_anew(id, target=engine, keys=ring)
    assert not credentials.seal_anew(id, target=engine, keys=ring)
    assert credentials.secrets(id, target=engine, keys=Vault(b"n" * 32)) == SECRETS


def test_a_renewed_token_is_on_the_disk_when_it_is_used(engine, id):
    """The commit waits for the disk, whatever the database is set to; the next one does as it did before."""
    sqlite = engine.dialect.name == "sqlite"
    asked, durable = ("PRAGMA synchronous", 2) if sqlite else ("SHOW synchronous_commit", "on")
    seen = []
    with read(engine) as connection:
        usual = connection.exec_driver_sql(asked).scalar()
    event.listen(engine, "commit", lambda it: seen.append(it.exec_driver_sql(asked).scalar()))
    credentials.save_renewed(id, 1, SECRETS, 60, target=engine, keys=KEYS)
    credentials.set_blocked(id, None, 50, target=engine)
    assert seen == [durable, usual]
