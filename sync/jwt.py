"""JSON Web Tokens (RFC 7519, compact), for vendors that send one with each delivery.

The connector says with which algorithm a token must be signed; what the token says of itself only has to agree. So no
token can choose `none`, or have a public key taken for a shared secret.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from connectors import Jwt
from sync.received import Refused, decoded

_COMPACT = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)")
_LONGEST = 16 * 1024  # characters
_COORDINATE = 32  # bytes of r, and of s
_PEM = "-----BEGIN"


def believe(verifier: Jwt, token: str, secrets: list[str], body: bytes, now: float) -> None:
    """Returns if the token is signed with one of the secrets, claims what it must, and is of this time; else
    Refused."""
    claims = _signed(token, verifier.algorithm, secrets)
    _in_time(claims, verifier, now)
    if not all(_claimed(claims.get(name), value) for name, value in verifier.claims):
        raise Refused("other claims")
    if verifier.body_hash is not None and not _covers(claims.get(verifier.body_hash), body):
        raise Refused("another body")


def _signed(token: str, algorithm: str, secrets: list[str]) -> Mapping[str, Any]:
    parts = _COMPACT.fullmatch(token) if len(token) <= _LONGEST else None
    if parts is None:
        raise Refused("malformed token")
    head, claims, signature = decoded(_bytes(parts[1])), decoded(_bytes(parts[2])), _bytes(parts[3])
    if head is None or claims is None:
        raise Refused("malformed token")
    if head.get("alg") != algorithm or "crit" in head:
        raise Refused("another algorithm")
    message = f"{parts[1]}.{parts[2]}".encode()
    if not any(_VERIFIES[algorithm](one, algorithm, message, signature) for one in secrets):
        raise Refused("wrong signature")
    return claims


def _bytes(text: str) -> bytes:
    """What unpadded base64url holds; nothing where it is none."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""


def _hs(secret: str, algorithm: str, message: bytes, signature: bytes) -> bool:
    if secret.lstrip().startswith(_PEM):
        return False  # a public key is known to everybody, and is no shared secret
    expected = hmac.digest(secret.encode(), message, f"sha{algorithm[2:]}")
    return hmac.compare_digest(expected, signature)


def _rs(secret: str, algorithm: str, message: bytes, signature: bytes) -> bool:
    key = _public_key(secret)
    if not isinstance(key, RSAPublicKey):
        return False
    return valid(key.verify, signature, message, PKCS1v15(), SHA256())


def _es(secret: str, algorithm: str, message: bytes, signature: bytes) -> bool:
    key = _public_key(secret)
    if not (isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)):
        return False
    if len(signature) != 2 * _COORDINATE:
        return False
    r, s = (int.from_bytes(half) for half in (signature[:_COORDINATE], signature[_COORDINATE:]))
    return valid(key.verify, encode_dss_signature(r, s), message, ECDSA(SHA256()))


def valid(check: Callable[..., None], *signed: object) -> bool:
    """Whether a public key's own check passes."""
    try:
        check(*signed)
    except InvalidSignature:
        return False
    return True


@lru_cache(maxsize=64)
def _public_key(pem: str) -> object:
    try:
        return load_pem_public_key(pem.encode())
    except (ValueError, UnsupportedAlgorithm):
        return None


_VERIFIES: Mapping[str, Callable[[str, str, bytes, bytes], bool]] = {
    "HS256": _hs,
    "HS384": _hs,
    "HS512": _hs,
    "RS256": _rs,
    "ES256": _es,
}


def _in_time(claims: Mapping[str, Any], verifier: Jwt, now: float) -> None:
    ends, begins, made = (_time(claims, name) for name in ("exp", "nbf", "iat"))
    if ends is not None and now >= ends + verifier.leeway:
        raise Refused("too old")
    if begins is not None and now < begins - verifier.leeway:
        raise Refused("too early")
    if verifier.max_age is None:
        return
    if made is None:
        raise Refused("no timestamp")
    if now - made > verifier.max_age:
        raise Refused("too old")
    if made - now > verifier.leeway:
        raise Refused("too early")


def _time(claims: Mapping[str, Any], name: str) -> float | None:
    """A claim in seconds since 1970; None where it is not made."""
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refused("malformed timestamp")
    return float(min(max(value, -_FAR), _FAR))


_FAR = 10**15  # seconds: what lies beyond is as far as this


def _claimed(claim: object, wanted: str) -> bool:
    """Whether a claim is made, alone or (as `aud` may) as one of a list."""
    return wanted in claim if isinstance(claim, list) else claim == wanted


def _covers(claim: object, body: bytes) -> bool:
    sent = claim.lower().encode("utf-8", "replace") if isinstance(claim, str) else b""
    return hmac.compare_digest(hashlib.sha256(body).hexdigest().encode(), sent)
