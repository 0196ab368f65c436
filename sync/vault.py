"""The vault: seals secrets so that they only open where they belong.

AES-256-GCM, bound to the identity of the row that keeps it: a sealed text copied into another row doesn't
open. A sealed text begins with the id of its key, so that keys can change: the first key of the ring seals,
all of them open.
"""

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from connectors import Json, TidelockError
from sync.settings import Settings, SettingsError, settings

KEY_BYTES = 32
_ID = 4  # bytes
_NONCE = 12  # bytes


class VaultError(TidelockError):
    """A sealed text does not open: its key is not on the ring, or it was altered or moved."""


class Vault:
    """Seals with the first key, opens with all of them."""

    def __init__(self, key: bytes, *older: bytes) -> None:
        self._first = _id(key)
        self._ring = {_id(one): AESGCM(one) for one in (key, *older)}

    def seal(self, identity: str, plain: Mapping[str, Json]) -> bytes:
        """The secrets as bytes that only `open` with the same identity gives back."""
        nonce = secrets.token_bytes(_NONCE)
        text = msgspec.json.encode(dict(plain))
        return self._first + nonce + self._ring[self._first].encrypt(nonce, text, identity.encode())

    def open(self, identity: str, sealed: bytes) -> dict[str, Json]:
        """The secrets; VaultError says why they can't be had."""
        cipher = self._ring.get(sealed[:_ID])
        if cipher is None:
            raise VaultError(f"the secrets of {identity} are sealed with a key that is not in TIDELOCK_KEY: add it")
        try:
            text = cipher.decrypt(sealed[_ID : _ID + _NONCE], sealed[_ID + _NONCE :], identity.encode())
        except (InvalidTag, ValueError):
            text = None
        if text is None:  # raised here, so that no context of the cipher's goes with it
            raise VaultError(f"the secrets of {identity} were altered or belong to another row: enter them again")
        return msgspec.json.decode(text, type=dict[str, Json])

    def current(self, sealed: bytes) -> bool:
        """Whether the first key sealed it; if not, it waits to be sealed anew."""
        return sealed[:_ID] == self._first


def _id(key: bytes) -> bytes:
    return hashlib.sha256(b"tidelock key " + key).digest()[:_ID]


def load_keys(settings: Settings) -> tuple[bytes, ...]:
    """The ring: from TIDELOCK_KEY (several separated by commas, the first seals), else from the file `key` in
    the home folder, which is made on first use and which only its owner can read.

    SettingsError names what is no key.
    """
    if settings.key:
        return _parsed("TIDELOCK_KEY", settings.key.split(","))
    path = settings.home / "key"
    _make(path)
    return _parsed(str(path), path.read_text(encoding="ascii", errors="replace").split())


def _parsed(where: str, texts: list[str]) -> tuple[bytes, ...]:
    keys = tuple(_key(text) for text in texts if text.strip())
    if not keys or b"" in keys:
        raise SettingsError(
            f"{where} must be {KEY_BYTES} bytes as base64, several separated by commas. "
            f"A new one: head -c {KEY_BYTES} /dev/urandom | base64"
        )
    return keys


def _key(text: str) -> bytes:
    """The key's bytes; empty where the text is none, so that no message can quote it."""
    try:
        key = base64.b64decode(text.strip(), altchars=b"-_" if {"-", "_"} & set(text) else None, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return key if len(key) == KEY_BYTES else b""


def _make(path: Path) -> None:
    """A new key file, whole or not at all; a key that is there, or that another process makes first,
    stays."""
    if path.exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".key.{os.getpid()}.{secrets.token_hex(4)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(base64.b64encode(secrets.token_bytes(KEY_BYTES)) + b"\n")
            stream.flush()
            os.fsync(stream.fileno())
        os.link(draft, path)
    except FileExistsError:
        pass  # another process was first: its key is the key
    finally:
        draft.unlink()


@lru_cache(maxsize=1)
def vault() -> Vault:
    """This process's vault."""
    return Vault(*load_keys(settings()))
