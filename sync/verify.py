"""Verification: does a verifier of the vocabulary (connectors._verifiers) believe what was received?

Pure: the request, the secrets and the time go in; nothing comes out, or Refused. A signature is computed over the raw
bytes and compared in constant time, with every secret that is valid; only then is its time looked at, so that "too old"
is said of the vendor's own deliveries alone.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, TypeAlias, TypeVar

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key

from connectors import (
    EcdsaP256,
    Ed25519,
    FetchBack,
    HashConcat,
    Hmac,
    InSignature,
    Jwt,
    Method,
    Pairs,
    Place,
    Prefix,
    Raw,
    SharedToken,
    Verifier,
    Versions,
    Window,
)
from connectors._verifiers import Form
from sync import jwt
from sync.received import Received, Refused, bytes_of, value_of

__all__ = ["Received", "Refused", "value_of", "verify"]

Secrets: TypeAlias = Mapping[str, Sequence[str]]
Signing: TypeAlias = Hmac | EcdsaP256 | Ed25519
Key = TypeVar("Key")

_LONGEST = 8 * 1024  # characters of a signature with all that stands beside it
_MOST = 16  # signatures of one delivery: vendors send two while a secret changes
_NUMBER = re.compile(r"[0-9]{1,16}(\.[0-9]{1,9})?")


def verify(verifier: Verifier, received: Received, secrets: Secrets, now: float) -> None:
    """Returns if the verifier believes what was received, and raises Refused if not, whatever was sent.

    secrets  by name, all that are valid: one, or two while it changes
    now      seconds since 1970
    """
    try:
        _VERIFIES[type(verifier)](verifier, received, secrets, now)
    except Refused:
        raise
    except Exception as error:  # noqa: BLE001  # a fault of ours, or of a connector's function, lets nobody in
        fault = type(error).__name__
    else:
        return
    raise Refused(f"the check failed: {fault}")


# --- the kinds


def _hmac(verifier: Hmac, received: Received, secrets: Secrets, now: float) -> None:
    keys = _usable(verifier.secret, secrets, lambda secret: _key(secret, verifier.strip, verifier.key))
    named, sent = _signatures(verifier.signature, verifier.form, verifier.encoding, received)
    message = _message(verifier, received)
    expected = [hmac.digest(key, message, named or verifier.algorithm) for key in keys]
    _accept(any(hmac.compare_digest(mac, one) for mac in expected for one in sent))
    _in_time(verifier.window, verifier.signature, received, now)


def _hash(verifier: HashConcat, received: Received, secrets: Secrets, now: float) -> None:
    keys = _usable(verifier.secret, secrets, str.encode)
    _, sent = _signatures(verifier.signature, Raw(), verifier.encoding, received)
    _accept(any(hmac.compare_digest(_hashed(verifier, received, key), sent[0]) for key in keys))


def _hashed(verifier: HashConcat, received: Received, secret: bytes) -> bytes:
    text = _filled(verifier.signed, lambda word: _word(word, received, secret))
    return hashlib.new(verifier.algorithm, text).digest()


def _ecdsa(verifier: EcdsaP256, received: Received, secrets: Secrets, now: float) -> None:
    keys = _usable(verifier.secret, secrets, _p256)
    _, sent = _signatures(verifier.signature, Raw(), "base64", received)
    message = _message(verifier, received)
    _accept(any(jwt.valid(key.verify, one, message, ECDSA(SHA256())) for key in keys for one in sent))
    _in_time(verifier.window, verifier.signature, received, now)


def _ed25519(verifier: Ed25519, received: Received, secrets: Secrets, now: float) -> None:
    keys = _usable(verifier.secret, secrets, lambda secret: _edwards(secret, verifier))
    _, sent = _signatures(verifier.signature, verifier.form, verifier.encoding, received)
    message = _message(verifier, received)
    _accept(any(jwt.valid(key.verify, one, message) for key in keys for one in sent))
    _in_time(verifier.window, verifier.signature, received, now)


def _shared_token(verifier: SharedToken, received: Received, secrets: Secrets, now: float) -> None:
    keys = _usable(verifier.secret, secrets, lambda secret: f"{verifier.prefix}{secret}".encode())
    sent = bytes_of(_token(verifier.token, received), verifier.token)
    _accept(any(hmac.compare_digest(key, sent) for key in keys), "wrong token")


def _fetch_back(verifier: FetchBack, received: Received, secrets: Secrets, now: float) -> None:
    if verifier.token is not None:
        _shared_token(SharedToken(token=verifier.token, secret=verifier.secret), received, secrets, now)


def _jwt(verifier: Jwt, received: Received, secrets: Secrets, now: float) -> None:
    keys = _usable(verifier.secret, secrets, str)
    sent = _token(verifier.token, received)
    jwt.believe(verifier, sent.rpartition(" ")[2], keys, received.body, now)


_VERIFIES: Mapping[type, Callable[[Any, Received, Secrets, float], None]] = {
    Hmac: _hmac,
    HashConcat: _hash,
    EcdsaP256: _ecdsa,
    Ed25519: _ed25519,
    SharedToken: _shared_token,
    Jwt: _jwt,
    FetchBack: _fetch_back,
}


def _accept(matched: bool, reason: str = "wrong signature") -> None:  # noqa: FBT001  # all there is to say
    if not matched:
        raise Refused(reason)


# --- what was sent


def _token(place: Place, received: Received) -> str:
    sent = value_of(place, received)
    if sent is None:
        raise Refused("no token")
    return sent


def _signatures(place: Place, form: Form, encoding: str, received: Received) -> tuple[str, list[bytes]]:
    """The algorithm that the form names, if it does, and the signatures that it finds: at least one."""
    value = value_of(place, received)
    if value is None:
        raise Refused("no signature")
    if len(value) > _LONGEST:
        raise Refused("malformed signature")
    named, texts = _texts(form, value)
    sent = [signature for text in texts if (signature := _decoded(text, encoding))]
    if not sent:
        raise Refused("malformed signature")
    if len(sent) > _MOST:
        raise Refused("too many signatures")
    return named, sent


def _texts(form: Form, value: str) -> tuple[str, list[str]]:
    match form:
        case Prefix(prefix):
            return "", [value.removeprefix(prefix)] if value.startswith(prefix) else []
        case Pairs(key):
            return "", [text for name, text in _pairs(value) if name == key]
        case Versions(version):
            parts = (one.partition(",") for one in value.split(" "))
            return "", [text for name, _, text in parts if name == version]
        case Method(algorithms):
            name, _, text = value.partition("=")
            return name, [text] if name in algorithms else []
    return "", [value]


def _pairs(value: str) -> list[tuple[str, str]]:
    parts = (one.partition("=") for one in value.split(","))
    return [(name.strip(), text.strip()) for name, _, text in parts]


def _decoded(text: str, encoding: str) -> bytes:
    """What the text holds in its encoding; nothing where it is malformed."""
    try:
        return binascii.unhexlify(text) if encoding == "hex" else base64.b64decode(text, validate=True)
    except ValueError:
        return b""


# --- what was signed


def _message(verifier: Signing, received: Received) -> bytes:
    signed = verifier.signed
    if not isinstance(signed, str):
        return signed(received)
    return _filled(signed, lambda word: _stated(word, verifier, received))


def _filled(signed: str, of: Callable[[str], bytes]) -> bytes:
    return b"".join([part if isinstance(part, bytes) else of(part) for part in _template(signed)])


@lru_cache(maxsize=256)
def _template(signed: str) -> tuple[str | bytes, ...]:
    """The text's words as text, with what stands between them as bytes."""
    parts = re.split(r"{(\w+)}", signed)
    return tuple(part if at % 2 else part.encode() for at, part in enumerate(parts) if part)


def _stated(word: str, verifier: Signing, received: Received) -> bytes:
    place = None
    if word == "timestamp" and verifier.window is not None:
        place = verifier.window.at
    elif word == "id" and not isinstance(verifier, EcdsaP256):
        place = verifier.id
    if place is None:
        return _word(word, received)
    value = _value(place, verifier.signature, received)
    if value is None:
        raise Refused(f"no {word}")
    return bytes_of(value, place)


def _word(word: str, received: Received, secret: bytes = b"") -> bytes:
    match word:
        case "body":
            return received.body
        case "method":
            return received.method.encode()
        case "url":
            return received.url.encode()
        case _:
            return secret


def _value(place: Place, signature: Place, received: Received) -> str | None:
    """The value at a place. One that stands several times beside a signature, and differs, is none."""
    if not isinstance(place, InSignature):
        return value_of(place, received)
    values = {text for name, text in _pairs(value_of(signature, received) or "") if name == place.name}
    return values.pop() if len(values) == 1 else None


# --- when


def _in_time(window: Window | None, signature: Place, received: Received, now: float) -> None:
    if window is None or window.unit == "opaque" or (window.past, window.future) == (None, None):
        return
    text = _value(window.at, signature, received)
    if text is None:
        raise Refused("no timestamp")
    signed_at = _moment(text, window.unit)
    if signed_at is None:
        raise Refused("malformed timestamp")
    if window.past is not None and now - signed_at > window.past:
        raise Refused("too old")
    if window.future is not None and signed_at - now > window.future:
        raise Refused("too early")


def _moment(text: str, unit: str) -> float | None:
    """Seconds since 1970; None where the text is no time."""
    if unit != "iso":
        return float(text) / _UNITS[unit] if _NUMBER.fullmatch(text) else None
    try:
        moment = datetime.fromisoformat(text)
        return moment.timestamp() if moment.tzinfo else None
    except ValueError:
        return None


_UNITS = {"seconds": 1, "milliseconds": 1000}


# --- secrets


def _usable(name: str, secrets: Secrets, made: Callable[[str], Key | None]) -> list[Key]:
    """The keys that are made of the valid secrets of a name: at least one."""
    texts = [secret for secret in secrets.get(name, ()) if secret.strip()]
    if not texts:
        raise Refused("no secret is set")
    keys = [key for key in map(made, texts) if key]
    if not keys:
        raise Refused("the secret is unusable")
    return keys


def _key(secret: str, strip: str, form: str) -> bytes:
    """The secret's bytes; none where it is malformed. Base64 may stand without padding, and in its other alphabet."""
    text = secret.removeprefix(strip)
    if form == "text":
        return text.encode()
    if form == "base64":
        text = text.strip().translate(_OTHER_ALPHABET).rstrip("=")
        text += "=" * (-len(text) % 4)
    return _decoded(text.strip(), form)


_OTHER_ALPHABET = str.maketrans("-_", "+/")


def _edwards(secret: str, verifier: Ed25519) -> Ed25519PublicKey | None:
    try:
        return Ed25519PublicKey.from_public_bytes(_key(secret, verifier.strip, verifier.key))
    except (ValueError, UnsupportedAlgorithm):
        return None


@lru_cache(maxsize=64)
def _p256(secret: str) -> EllipticCurvePublicKey | None:
    try:
        key = load_der_public_key(_key(secret, "", "base64"))
    except (ValueError, UnsupportedAlgorithm):
        return None
    return key if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1) else None
