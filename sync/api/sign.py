"""Signing: every attempt proves anew who we are, with the secrets that stand in the store."""

from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from connectors import Auth, Basic, Header, Json, NoAuth, OAuth2, Outcome, Query
from sync.api.origin import plus, without_param
from sync.door import OutcomeError


class Keyring(Protocol):
    """Where a signature's secrets come from."""

    def secrets(self) -> Mapping[str, Json]:
        """The secrets as they stand."""

    def renew(self) -> bool:
        """The vendor refused them: whether others stand there now."""


@dataclass(frozen=True, slots=True)
class Signed:
    """What is sent: the target and the headers that sign it; `secrets` must not be shown."""

    target: str
    headers: Mapping[str, str]
    secrets: tuple[str, ...]

    def __repr__(self) -> str:
        return "Signed(...)"


def sign(auth: Auth, target: str, secrets: Mapping[str, Json]) -> Signed:
    """The target with the proof that the scheme asks for; OutcomeError names a secret that is missing or
    unfit."""
    return _SIGNERS[type(auth)](auth, target, secrets)


def _nobody(auth: NoAuth, target: str, secrets: Mapping[str, Json]) -> Signed:
    return Signed(target, {}, ())


def _header(auth: Header, target: str, secrets: Mapping[str, Json]) -> Signed:
    value = _sendable(secrets, auth.secret)
    return Signed(target, {auth.name: f"{auth.prefix}{value}"}, (value,))


def _query(auth: Query, target: str, secrets: Mapping[str, Json]) -> Signed:
    value = _secret(secrets, auth.secret)
    return Signed(plus(without_param(target, auth.name), auth.name, value), {}, (value,))


def _basic(auth: Basic, target: str, secrets: Mapping[str, Json]) -> Signed:
    user = _secret(secrets, auth.user) if auth.fixed_user is None else auth.fixed_user
    password = _secret(secrets, auth.password) if auth.fixed_password is None else auth.fixed_password
    hidden = tuple(_secret(secrets, name) for name in auth.secrets)
    pair = b64encode(f"{user}:{password}".encode()).decode()
    return Signed(target, {"Authorization": f"Basic {pair}"}, (*hidden, pair))


def _bearer(auth: OAuth2, target: str, secrets: Mapping[str, Json]) -> Signed:
    value = _sendable(secrets, "access_token")
    hidden = tuple(one for one in secrets.values() if isinstance(one, str))
    return Signed(target, {"Authorization": f"Bearer {value}"}, hidden)


def _secret(secrets: Mapping[str, Json], name: str) -> str:
    value = secrets.get(name)
    if not isinstance(value, str) or not value:
        raise OutcomeError(Outcome.FAIL_CONNECTION, f"the credential has no {name!r}: enter it")
    return value


def _sendable(secrets: Mapping[str, Json], name: str) -> str:
    """A secret that can stand in a header; the libraries' own complaint would quote it."""
    value = _secret(secrets, name)
    if not (value.isascii() and value.isprintable()):
        raise OutcomeError(
            Outcome.FAIL_CONNECTION, f"{name!r} has a character that no header can carry: enter it again"
        )
    return value


_SIGNERS: Mapping[type, Callable[[Any, str, Mapping[str, Json]], Signed]] = {
    NoAuth: _nobody,
    Header: _header,
    Query: _query,
    Basic: _basic,
    OAuth2: _bearer,
}
