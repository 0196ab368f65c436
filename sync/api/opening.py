"""Opening the door to HTTP for one account."""

from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from urllib.parse import urlsplit

from connectors import Connector, ContractError, OAuth2
from sync.api.client import HttpApi
from sync.api.exchange import Answer, exchange
from sync.api.keys import NoKeys, StoredKeys
from sync.api.origin import origin, target
from sync.api.quota import Quota
from sync.api.sign import Keyring
from sync.api.tokens import Endpoint, Tokens
from sync.api.wire import wire
from sync.door import Account, Means
from sync.store import credentials

TOKEN_SECONDS = 30.0  # the deadline of a call to a token endpoint; a turn to renew lasts longer

try:
    VERSION = version("tidelock")
except PackageNotFoundError:  # a checkout that was not installed
    VERSION = "dev"

_HEADERS: Mapping[str, str] = {"User-Agent": f"Tidelock/{VERSION}", "Accept-Encoding": "gzip"}


def open_http(connector_name: str, connector: Connector, account: Account, base: str, means: Means) -> HttpApi:
    """The door to a base URL, with the account's secrets and limits; it sends nothing yet."""
    stored = _stored(connector, account, means)
    return HttpApi(
        connector,
        wire=wire(origin(base), means.settings.allow_private),
        prefix=_prefix(base),
        keyring=_keyring(base, connector, stored, account, means),
        quota=Quota(connector_name, connector, account, means, stored.blocked if stored else {}),
        settings=means.settings,
        headers={**_HEADERS, "Accept": "application/json", **connector.headers},
    )


def _prefix(base: str) -> str:
    return urlsplit(base).path.rstrip("/")


def _stored(connector: Connector, account: Account, means: Means) -> credentials.Stored | None:
    if account.credential_id is not None:
        return credentials.load(account.credential_id, target=means.engine, keys=means.vault)
    if connector.auth.secrets:
        raise ContractError(f"the connection {account.connection} has no credential: connect the account")
    return None


def _keyring(
    base: str, connector: Connector, stored: credentials.Stored | None, account: Account, means: Means
) -> Keyring:
    if stored is None or account.credential_id is None:
        return NoKeys()
    if isinstance(connector.auth, OAuth2):
        endpoint = _endpoint(base, connector.auth.token_url, means)
        return Tokens(connector.auth, account.credential_id, stored, endpoint, means)
    return StoredKeys(account.credential_id, stored, means)


def _endpoint(base: str, token_url: str, means: Means) -> Endpoint:
    absolute = "://" in token_url
    at = origin(token_url if absolute else base)
    path = target(at, "" if absolute else _prefix(base), token_url)

    def post(headers: Mapping[str, str], body: bytes) -> Answer:
        return exchange(
            wire(at, means.settings.allow_private),
            "POST",
            path,
            {**_HEADERS, **headers, "Content-Length": str(len(body))},
            body,
            seconds=min(means.settings.request_seconds, TOKEN_SECONDS),
            most=means.settings.max_body,
        )

    return Endpoint(host=at.host, post=post)
