"""The vault: what is sealed opens only where it belongs, with a key of the ring."""

import base64
import stat
from concurrent.futures import ThreadPoolExecutor

import pytest

from sync.settings import Settings, SettingsError
from sync.vault import Vault, VaultError, load_keys

ONE, TWO = b"1" * 32, b"2" * 32
PLAIN = {"token": "canary-secret", "expires_in": 3600.0}


def text(key):
    return base64.b64encode(key).decode()


def test_what_was_sealed_opens():
    vault = Vault(ONE)
    assert vault.open("credential:1", vault.seal("credential:1", PLAIN)) == PLAIN


def test_the_same_secrets_never_look_the_same():
    vault = Vault(ONE)
    assert vault.seal("credential:1", PLAIN) != vault.seal("credential:1", PLAIN)
    assert b"canary" not in vault.seal("credential:1", PLAIN)


def test_a_sealed_text_does_not_open_in_another_row():
    vault = Vault(ONE)
    with pytest.raises(VaultError, match="credential:2"):
        vault.open("credential:2", vault.seal("credential:1", PLAIN))


@pytest.mark.parametrize("at", [4, 10, 20, -1])
def test_an_altered_text_does_not_open(at):
    vault = Vault(ONE)
    sealed = bytearray(vault.seal("credential:1", PLAIN))
    sealed[at] ^= 1
    with pytest.raises(VaultError) as caught:
        vault.open("credential:1", bytes(sealed))
    assert caught.value.__context__ is None


@pytest.mark.parametrize("sealed", [b"", b"abc"])
def test_a_text_that_was_never_sealed_does_not_open(sealed):
    with pytest.raises(VaultError):
        Vault(ONE).open("credential:1", sealed)


def test_a_cut_text_does_not_open():
    vault = Vault(ONE)
    with pytest.raises(VaultError):
        vault.open("credential:1", vault.seal("credential:1", PLAIN)[:12])


def test_an_older_key_still_opens_and_the_first_one_seals():
    old, both = Vault(ONE), Vault(TWO, ONE)
    sealed = old.seal("credential:1", PLAIN)
    assert both.open("credential:1", sealed) == PLAIN
    assert not both.current(sealed)
    anew = both.seal("credential:1", PLAIN)
    assert both.current(anew)
    with pytest.raises(VaultError, match="TIDELOCK_KEY"):
        old.open("credential:1", anew)


def test_no_secret_is_shown():
    assert "canary" not in repr(Vault(ONE))
    with pytest.raises(VaultError) as caught:
        Vault(ONE).open("credential:1", Vault(TWO).seal("credential:1", PLAIN))
    assert text(ONE) not in str(caught.value)


# --- keys


def test_keys_come_from_the_setting(tmp_path):
    settings = Settings(home=tmp_path, key=f" {text(ONE)}, {text(TWO)}")
    assert load_keys(settings) == (ONE, TWO)
    assert not (tmp_path / "key").exists()


def test_a_key_may_be_spelled_for_urls():
    key = b"\xff\xfe" * 16
    assert load_keys(Settings(key=base64.urlsafe_b64encode(key).decode())) == (key,)


@pytest.mark.parametrize(
    "key", ["short", text(b"x" * 16), text(b"x" * 33), "ü" * 44, "!" * 44, ", ,", f"{text(ONE)},oops"]
)
def test_what_is_no_key_is_refused_with_the_variable_and_without_the_text(key):
    with pytest.raises(SettingsError, match="TIDELOCK_KEY") as caught:
        load_keys(Settings(key=key))
    assert key not in str(caught.value)


def test_a_key_is_made_on_first_use_which_only_its_owner_reads(tmp_path):
    settings = Settings(home=tmp_path / "home")
    (first,) = load_keys(settings)
    assert load_keys(settings) == (first,)
    assert len(first) == 32
    assert stat.S_IMODE((tmp_path / "home" / "key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "home").iterdir()] == ["key"]


def test_all_that_start_at_once_have_the_same_key(tmp_path):
    settings = Settings(home=tmp_path)
    with ThreadPoolExecutor(16) as pool:
        made = set(pool.map(lambda _: load_keys(settings), range(64)))
    assert len(made) == 1


def test_a_broken_key_file_is_named(tmp_path):
    (tmp_path / "key").write_text("oops")
    with pytest.raises(SettingsError, match="key"):
        load_keys(Settings(home=tmp_path))
