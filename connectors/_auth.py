"""How a request proves who we are. Data only: the engine signs every attempt anew."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol


class Auth(Protocol):
    """What the engine asks of every scheme."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """The names of the secrets that a person must give, in the order in which they are asked for."""


@dataclass(frozen=True, slots=True)
class NoAuth:
    """A system that asks nobody who they are: files, public data."""

    @property
    def secrets(self) -> tuple[str, ...]:
        return ()


@dataclass(frozen=True, slots=True)
class Header:
    """A key in a header: `Header("api_key", name="X-Api-Key")`."""

    secret: str
    name: str = "X-Api-Key"
    prefix: str = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.secret,)


def Bearer(secret: str) -> Header:  # noqa: N802 - reads as the scheme's name
    """`Authorization: Bearer <secret>`."""
    return Header(secret, "Authorization", "Bearer ")


@dataclass(frozen=True, slots=True)
class Query:
    """A key in the query string: `Query("api_key", name="key")`. The engine keeps it out of every log."""

    secret: str
    name: str = "key"

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self.secret,)


@dataclass(frozen=True, slots=True)
class Basic:
    """HTTP Basic: both parts are secrets, or literals given by `fixed_user` / `fixed_password`."""

    user: str = "user"
    password: str = "password"
    fixed_user: str | None = None
    fixed_password: str | None = None

    @property
    def secrets(self) -> tuple[str, ...]:
        asked = ((self.user, self.fixed_user), (self.password, self.fixed_password))
        return tuple(name for name, fixed in asked if fixed is None)


@dataclass(frozen=True, slots=True, kw_only=True)
class OAuth2:
    """An access token that the engine gets and renews, once for all workers.

    token_url    absolute, or a path below the connector's base_url
    grant        "client_credentials", or "refresh_token" (then `refresh_token` is a secret that the vendor
                 may rotate; the new one is stored before the new access token is used)
    client_auth  "body" or "basic": where client id and secret travel
    body_format  "form" or "json"
    early        refresh this many seconds before the token ends
    lifetime     seconds a token lives where the vendor does not say
    """

    token_url: str
    grant: str = "refresh_token"
    scopes: tuple[str, ...] = ()
    client_auth: str = "body"
    body_format: str = "form"
    early: float = 60
    lifetime: float = 3600
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def secrets(self) -> tuple[str, ...]:
        return ("client_id", "client_secret", *(("refresh_token",) if self.grant == "refresh_token" else ()))
