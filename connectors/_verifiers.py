"""Verifiers: how a delivery proves that it comes from the vendor. Data only; `sync.verify` does what they say.

A signature is made of a text, `signed`, in which {body}, {timestamp}, {id}, {method} and {url} stand for the request's
own, as bytes: `"{timestamp}.{body}"`. Where a vendor arranges the request first (sorts its parameters, undoes escapes)
`signed` is a function: signed(request) -> the bytes that were signed.
"""

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from typing import TypeAlias

from connectors._errors import ContractError
from connectors._places import InHeader, InSignature, Place, Request

SECRET = "webhook_secret"
PUBLIC_KEY = "webhook_public_key"
_ENCODINGS = ("hex", "base64")
_HASHES = ("sha256", "sha1", "sha512")
_REQUEST = frozenset({"body", "method", "url"})

Signed: TypeAlias = str | Callable[[Request], bytes]


@dataclass(frozen=True, slots=True)
class Raw:
    """The signature is the whole value."""


@dataclass(frozen=True, slots=True)
class Prefix:
    """The signature stands behind a prefix: `sha256=...`."""

    prefix: str


@dataclass(frozen=True, slots=True)
class Pairs:
    """The signature is one of several pairs, and may be there several times: `t=...,v1=...,v1=...`."""

    key: str


@dataclass(frozen=True, slots=True)
class Versions:
    """Several signatures, apart by spaces, each behind its version: `v1,... v1,... v1a,...`."""

    version: str


@dataclass(frozen=True, slots=True)
class Method:
    """The signature stands behind the name of its algorithm, of which these are taken: `sha256=...`."""

    algorithms: tuple[str, ...] = ("sha256",)

    def __post_init__(self) -> None:
        for algorithm in self.algorithms:
            _one_of("method: algorithm", algorithm, _HASHES)


Form: TypeAlias = Raw | Prefix | Pairs | Versions | Method


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """When the request was signed, and how old or early that may be.

    unit    "seconds" or "milliseconds" since 1970, "iso" text; "opaque" = a text that is signed, and not read
    past    seconds that it may be old; None = any
    future  seconds that it may be early, by clocks that differ; None = any
    """

    at: Place
    unit: str = "seconds"
    past: float | None = 300
    future: float | None = None

    def __post_init__(self) -> None:
        _one_of("window: unit", self.unit, ("seconds", "milliseconds", "iso", "opaque"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Hmac:
    """An HMAC of the request under a shared secret.

    signature  where it stands, in which `form` and `encoding` ("hex", "base64")
    signed     what is signed
    algorithm  "sha256", "sha1" or "sha512"; not asked where `form` is a Method
    key        how the secret's text becomes the key: "text" as it is, "base64" or "hex" decoded
    strip      a prefix of the secret that is not part of the key: "whsec_"
    id         what {id} stands for
    window     when it was signed; None = the scheme doesn't say
    secret     the name of the connection's secret
    """

    signature: Place
    signed: Signed = "{body}"
    form: Form = Raw()
    encoding: str = "hex"
    algorithm: str = "sha256"
    key: str = "text"
    strip: str = ""
    id: Place | None = None
    window: Window | None = None
    secret: str = SECRET

    def __post_init__(self) -> None:
        _one_of("hmac: encoding", self.encoding, _ENCODINGS)
        _one_of("hmac: key", self.key, ("text", *_ENCODINGS))
        _one_of("hmac: algorithm", self.algorithm, _HASHES)
        _signable("hmac", self.signed, self.id, self.window, self.form)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.secret,)


@dataclass(frozen=True, slots=True, kw_only=True)
class HashConcat:
    """A plain hash of the request with the {secret} in it, for vendors of old: `"{secret}{method}{url}{body}"`."""

    signature: Place
    signed: str
    encoding: str = "hex"
    algorithm: str = "sha256"
    secret: str = SECRET

    def __post_init__(self) -> None:
        _one_of("hash: encoding", self.encoding, _ENCODINGS)
        _one_of("hash: algorithm", self.algorithm, _HASHES)
        if "{secret}" not in self.signed:
            raise ContractError(f"hash: {self.signed!r} proves nothing without the {{secret}} in it")
        _known("hash", self.signed, _REQUEST | {"secret"})

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.secret,)


@dataclass(frozen=True, slots=True, kw_only=True)
class EcdsaP256:
    """An ECDSA signature (P-256, SHA-256, ASN.1 DER as base64) under the vendor's public key (SPKI DER as base64)."""

    signature: Place
    signed: Signed = "{timestamp}{body}"
    window: Window | None = None
    secret: str = PUBLIC_KEY

    def __post_init__(self) -> None:
        _signable("ecdsa", self.signed, None, self.window, Raw())

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.secret,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ed25519:
    """An Ed25519 signature under the vendor's public key (32 bytes as `key` says, behind the prefix `strip`)."""

    signature: Place
    signed: Signed = "{timestamp}{body}"
    form: Form = Raw()
    encoding: str = "base64"
    key: str = "base64"
    strip: str = ""
    id: Place | None = None
    window: Window | None = None
    secret: str = PUBLIC_KEY

    def __post_init__(self) -> None:
        _one_of("ed25519: encoding", self.encoding, _ENCODINGS)
        _one_of("ed25519: key", self.key, _ENCODINGS)
        _signable("ed25519", self.signed, self.id, self.window, self.form)

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.secret,)


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedToken:
    """The secret itself is sent along, behind the `prefix` ("Bearer "). It proves the sender, not the body."""

    token: Place
    prefix: str = ""
    secret: str = SECRET

    def __post_init__(self) -> None:
        _found("shared token", self.token, Raw())

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.secret,)


_BEARER = InHeader("Authorization")


@dataclass(frozen=True, slots=True, kw_only=True)
class Jwt:
    """A JSON Web Token, signed with the secret (HS256) or for a public key as PEM (RS256, ES256).

    token     where it stands; what is before it ("Bearer ") is left out
    algorithm with which it must be signed, whatever it says itself
    claims    what it must claim: {"iss": "..."}; its times (exp, nbf) count where they are, within the `leeway`
    max_age   seconds since its `iat`, which must then be there; None = any
    body_hash the claim that holds the SHA-256 of the body in hex; None = the body is not covered
    """

    token: Place = _BEARER
    algorithm: str = "HS256"
    claims: tuple[tuple[str, str], ...] = ()
    max_age: float | None = None
    body_hash: str | None = None
    leeway: float = 60
    secret: str = SECRET

    def __post_init__(self) -> None:
        _one_of("jwt: algorithm", self.algorithm, ("HS256", "HS384", "HS512", "RS256", "ES256"))
        _found("jwt", self.token, Raw())

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.secret,)


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchBack:
    """The vendor signs nothing. A delivery is only a hint: its effects may refetch and pull, and nothing of its body is
    stored as a record. A `token` in the URL's query keeps strangers from ringing."""

    token: Place | None = None
    secret: str = "webhook_token"

    def __post_init__(self) -> None:
        _found("fetch back", self.token, Raw())

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.secret,) if self.token else ()


Verifier: TypeAlias = Hmac | HashConcat | EcdsaP256 | Ed25519 | SharedToken | Jwt | FetchBack


def _one_of(what: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ContractError(f"{what} is one of {', '.join(allowed)}, not {value!r}")


def _signable(what: str, signed: Signed, id: Place | None, window: Window | None, form: Form) -> None:
    """ContractError where a word of the signed text stands for nothing."""
    _found(what, id, form)
    _found(what, window.at if window else None, form)
    if isinstance(signed, str):
        _known(what, signed, _REQUEST | ({"id"} if id else set()) | ({"timestamp"} if window else set()))


def _known(what: str, signed: str, words: Collection[str]) -> None:
    for word in re.findall(r"{(\w*)}", signed):
        if word not in words:
            raise ContractError(f"{what}: nothing says what {{{word}}} stands for in {signed!r}")


def _found(what: str, place: Place | None, form: Form) -> None:
    if isinstance(place, InSignature) and not isinstance(form, Pairs):
        raise ContractError(f"{what}: {place} stands beside a signature in Pairs(...) only")


STANDARD_WEBHOOKS = Hmac(
    signature=InHeader("webhook-signature"),
    signed="{id}.{timestamp}.{body}",
    form=Versions("v1"),
    encoding="base64",
    key="base64",
    strip="whsec_",
    id=InHeader("webhook-id"),
    window=Window(at=InHeader("webhook-timestamp"), future=300),
)
"""https://www.standardwebhooks.com, as OpenAI and many others send it."""

SVIX = replace(
    STANDARD_WEBHOOKS,
    signature=InHeader("svix-signature"),
    id=InHeader("svix-id"),
    window=Window(at=InHeader("svix-timestamp"), future=300),
)
"""The same under the names of https://docs.svix.com, as its customers send it: Clerk, Resend."""

__all__ = [
    "STANDARD_WEBHOOKS",
    "SVIX",
    "EcdsaP256",
    "Ed25519",
    "FetchBack",
    "Form",
    "HashConcat",
    "Hmac",
    "Jwt",
    "Method",
    "Pairs",
    "Prefix",
    "Raw",
    "SharedToken",
    "Signed",
    "Verifier",
    "Versions",
    "Window",
]
