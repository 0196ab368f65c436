"""OAuth 2 access tokens: got and renewed once for all workers, and stored before anybody uses them.

Whoever finds a token spent takes the turn to renew it (a time in the credential's row, no lock is held while
the vendor is asked). All others go on with the old token while it lives, else wait a moment for the new one,
else come back later. A worker that dies between the vendor's answer and the commit loses a rotated refresh
token for good: the vendor then says invalid_grant, and the connection waits for a person to connect it again.
Nobody deletes anything, and what the vendor refused for good is not asked again.
"""

import time
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import msgspec
from sqlalchemy.exc import DBAPIError

from connectors import Json, OAuth2, Outcome
from connectors._outcomes import classify
from sync.api.exchange import Answer
from sync.api.patience import STEP, Patience
from sync.api.redact import redacted
from sync.door import Means, OutcomeError
from sync.store import credentials

TURN = 90.0  # seconds for one renewal: longer than the request's deadline and a busy database together
PAUSE = 5.0  # seconds after a failed renewal in which nobody tries another
RETRY_IN = 2.0  # seconds after which one that waited in vain comes back
_ALIVE = 5.0  # seconds that a token must still live for a request to go out with it

Post = Callable[[Mapping[str, str], bytes], Answer]


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """The vendor's token endpoint: its host, for sentences, and how a body is posted to it."""

    host: str
    post: Post


class Tokens:
    """The access token of one credential."""

    def __init__(
        self, auth: OAuth2, credential_id: int, stored: credentials.Stored, endpoint: Endpoint, means: Means
    ) -> None:
        self._auth = auth
        self._id = credential_id
        self._endpoint = endpoint
        self._means = means
        self._stored = stored
        self._ends = _ends(stored, self._early(stored)) if self._has_token(stored) else 0.0

    def secrets(self) -> Mapping[str, Json]:
        """The secrets with an access token that lives."""
        if time.monotonic() >= self._ends:
            stored = self._load()
            self._use(stored if self._fresh(stored) else self._renewed(stored, old_lives=self._lives(stored)))
        return self._stored.secrets

    def renew(self) -> bool:
        """The vendor refused the access token: now there is one that was made since, or a new one."""
        stored = self._load()
        if stored.version == self._stored.version:
            stored = self._renewed(stored, old_lives=False)
        self._use(stored)
        return True

    def _use(self, stored: credentials.Stored) -> None:
        self._stored = stored
        self._ends = _ends(stored, self._early(stored))

    def _load(self) -> credentials.Stored:
        return credentials.load(self._id, target=self._means.engine, keys=self._means.vault)

    def _early(self, stored: credentials.Stored) -> float:
        """A token that lives for a minute isn't renewed a minute early."""
        return min(self._auth.early, float(stored.secrets.get("expires_in") or self._auth.lifetime) / 2)

    def _fresh(self, stored: credentials.Stored) -> bool:
        return self._has_token(stored) and (stored.left is None or stored.left > self._early(stored))

    def _lives(self, stored: credentials.Stored) -> bool:
        return self._has_token(stored) and (stored.left is None or stored.left > _ALIVE)

    def _has_token(self, stored: credentials.Stored) -> bool:
        return bool(stored.secrets.get("access_token"))

    def _renewed(self, spent: credentials.Stored, *, old_lives: bool) -> credentials.Stored:
        if spent.refused:
            raise self._reconnect(spent.refused)
        turn = credentials.take_turn(self._id, spent.version, TURN, target=self._means.engine)
        if turn is not None:
            return self._taken(spent, turn)
        return spent if old_lives else self._awaited(spent)

    def _awaited(self, spent: credentials.Stored) -> credentials.Stored:
        """What the worker makes whose turn it is."""
        patience = Patience()
        while True:
            stored = self._load()
            if stored.version != spent.version:
                return stored
            if stored.refused:
                raise self._reconnect(stored.refused)
            if not patience.sleep(STEP):
                why = "another worker is renewing the access token, or just failed to"
                raise OutcomeError(Outcome.RATE_LIMITED, why, wait=RETRY_IN)

    def _taken(self, spent: credentials.Stored, turn: datetime) -> credentials.Stored:
        """The turn is ours: ask, store, and only then use."""
        asked = time.monotonic()
        try:
            answer = self._endpoint.post(*_request(self._auth, spent.secrets))
            granted = _granted(answer, self._endpoint.host, spent.secrets)
        except OutcomeError as error:
            return self._failed(spent, turn, error)
        lifetime = _seconds(granted.get("expires_in"), self._auth.lifetime)
        renewed = {**spent.secrets, **_kept(granted), "expires_in": lifetime}
        self._save(spent.version, renewed, lifetime - (time.monotonic() - asked))
        return self._load()

    def _save(self, version: int, renewed: Mapping[str, Json], lifetime: float) -> None:
        """Stores the new token; a rotated one that isn't stored is lost, so a failing database is asked
        again."""
        patience = Patience()
        while True:
            try:
                credentials.save_renewed(
                    self._id, version, renewed, lifetime, target=self._means.engine, keys=self._means.vault
                )
            except DBAPIError:
                if not patience.sleep(0.3):
                    raise
            else:
                return

    def _failed(self, spent: credentials.Stored, turn: datetime, error: OutcomeError) -> credentials.Stored:
        """Another worker's newer token, where there is one; else the failure, told to all."""
        stored = self._load()
        if stored.version != spent.version:
            return stored
        for_good = isinstance(error, _InvalidGrant) and self._auth.grant == "refresh_token"
        credentials.end_turn(
            self._id, spent.version, turn, error.wait or PAUSE,
            refused=error.why if for_good else None, target=self._means.engine,
        )  # fmt: skip
        raise self._reconnect(error.why) if for_good else error

    def _reconnect(self, said: str) -> OutcomeError:
        return OutcomeError(Outcome.FAIL_CONNECTION, f"the access can't be renewed: {said}; connect the account again")


def _ends(stored: credentials.Stored, early: float) -> float:
    """Until when the token is used unasked, by this process's monotonic clock."""
    return float("inf") if stored.left is None else time.monotonic() + stored.left - early


class _InvalidGrant(OutcomeError):
    """The vendor refuses the refresh token itself."""


def _request(auth: OAuth2, secrets: Mapping[str, Json]) -> tuple[Mapping[str, str], bytes]:
    """Headers and body of the call to the token endpoint."""
    for name in auth.secrets:
        if not isinstance(secrets.get(name), str) or not secrets[name]:
            raise OutcomeError(Outcome.FAIL_CONNECTION, f"the credential has no {name!r}: enter it")
    fields = {"grant_type": auth.grant, **auth.extra}
    if auth.grant == "refresh_token":
        fields["refresh_token"] = secrets["refresh_token"]
    if auth.scopes:
        fields["scope"] = " ".join(auth.scopes)
    headers = {"Accept": "application/json"}
    if auth.client_auth == "basic":
        pair = f"{secrets['client_id']}:{secrets['client_secret']}"
        headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
    else:
        fields |= {"client_id": secrets["client_id"], "client_secret": secrets["client_secret"]}
    kind, encode = _BODIES[auth.body_format]
    return {**headers, "Content-Type": kind}, encode(fields)


_BODIES: Mapping[str, tuple[str, Callable[[Mapping[str, str]], bytes]]] = {
    "form": ("application/x-www-form-urlencoded", lambda fields: urlencode(fields).encode()),
    "json": ("application/json", msgspec.json.encode),
}


def _granted(answer: Answer, host: str, secrets: Mapping[str, Json]) -> Mapping[str, Json]:
    """The endpoint's grant. Vendors refuse with 400, 401, 403 or even 200: the body's `error` counts."""
    said = _decoded(answer.body)
    if answer.status == 200 and isinstance(said.get("access_token"), str) and said["access_token"]:
        return said
    code = str(said.get("error") or "")
    told = " ".join(part for part in (code, str(said.get("error_description") or "")) if part)
    words = redacted(told, (one for one in secrets.values() if isinstance(one, str)))[:200]
    why = f"the token endpoint of {host} says {words or f'status {answer.status}'}"
    if code == "invalid_grant":
        raise _InvalidGrant(Outcome.FAIL_CONNECTION, why, status=answer.status)
    rule = classify((), "POST", answer.status, answer.headers, b"")
    passing = rule.then in (Outcome.RETRY, Outcome.RATE_LIMITED)
    raise OutcomeError(rule.then if passing else Outcome.FAIL_CONNECTION, why, status=answer.status,
                       wait=60.0 if rule.then is Outcome.RATE_LIMITED else None)  # fmt: skip


def _decoded(body: bytes) -> Mapping[str, Any]:
    try:
        said = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return said if isinstance(said, dict) else {}


def _kept(granted: Mapping[str, Json]) -> dict[str, str]:
    """The tokens of a grant; a vendor that doesn't rotate sends no refresh token, and the old one stays."""
    return {
        name: granted[name]
        for name in ("access_token", "refresh_token")
        if isinstance(granted.get(name), str) and granted[name]
    }


def _seconds(value: Json, default: float) -> float:
    try:
        return max(float(value), 1.0)
    except (TypeError, ValueError):
        return default
