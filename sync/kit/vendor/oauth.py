"""The vendor's token endpoint: client credentials and refresh tokens, rotating if wished."""

import threading
from dataclasses import asdict, dataclass
from typing import Any

from sync.kit.vendor.exchange import Answer, Request, reply
from sync.kit.vendor.times import SECOND, Clock


@dataclass(frozen=True, kw_only=True)
class OAuthApp:
    """A registered app. With `rotates`, each refresh token works once and brings the next one."""

    client_id: str = "demo-client"
    client_secret: str = "demo-client-secret"
    life_s: float = 3600
    rotates: bool = True
    failure_status: int = 400  # Jira answers 403


@dataclass(frozen=True, kw_only=True)
class Grant:
    """One call of the token endpoint. `result` is "ok" or the OAuth error code."""

    number: int
    time: float
    kind: str
    account: str
    presented: str
    result: str


class OAuth:
    """The tokens alive at the vendor and the log of grants."""

    def __init__(self, app: OAuthApp, clock: Clock) -> None:
        self.app = app
        self.grants: list[Grant] = []
        self._clock = clock
        self._lock = threading.Lock()
        self._access: dict[str, tuple[str, int]] = {}
        self._refresh: dict[str, str] = {}
        self._made = 0

    def issue(self, account: str = "") -> dict[str, Any]:
        """A fresh pair, as after a person's consent: the token endpoint's answer as a dict."""
        with self._lock:
            return self._pair(account, refresh=True)

    def valid(self, access_token: str, account: str) -> bool:
        """Whether an access token opens this account now."""
        with self._lock:
            owner, expires = self._access.get(access_token, ("", 0))
            return expires > self._clock.now() and owner == account

    def expire(self) -> None:
        """Let every access token end now; refresh tokens live on."""
        with self._lock:
            self._access.clear()

    def revoke(self) -> None:
        """Withdraw consent: no token works any longer."""
        with self._lock:
            self._access.clear()
            self._refresh.clear()

    def answer(self, request: Request) -> Answer:
        """Answer one POST to the token endpoint."""
        form = request.form()
        kind = form.get("grant_type", "")
        presented = form.get("refresh_token", "")
        with self._lock:
            account = self._refresh.get(presented, form.get("account", request.account))
            error = self._fault_of(kind, form, request)
            self._note(kind, account, presented, error or "ok")
            if error:
                return self._refused(error)
            if kind == "refresh_token" and self.app.rotates:
                del self._refresh[presented]
            return reply(self._pair(account, refresh=kind == "refresh_token" and self.app.rotates))

    def dump(self) -> list[dict[str, Any]]:
        """The grants, as JSON."""
        with self._lock:
            return [asdict(grant) for grant in self.grants]

    def _fault_of(self, kind: str, form: dict[str, str], request: Request) -> str:
        """The OAuth error that a request earns, "" when it is in order."""
        if _client(form, request) != (self.app.client_id, self.app.client_secret):
            return "invalid_client"
        if kind == "client_credentials":
            return ""
        if kind != "refresh_token":
            return "unsupported_grant_type"
        return "" if form.get("refresh_token", "") in self._refresh else "invalid_grant"

    def _refused(self, error: str) -> Answer:
        status = 401 if error == "invalid_client" else self.app.failure_status
        return reply({"error": error, "error_description": f"the token request failed: {error}"}, status)

    def _pair(self, account: str, *, refresh: bool) -> dict[str, Any]:
        self._made += 1
        access = f"access-{self._made:06d}"
        self._access[access] = (account, self._clock.now() + round(self.app.life_s * SECOND))
        pair = {"access_token": access, "token_type": "Bearer", "expires_in": round(self.app.life_s)}
        if refresh:
            pair["refresh_token"] = f"refresh-{self._made:06d}"
            self._refresh[f"refresh-{self._made:06d}"] = account
        return pair

    def _note(self, kind: str, account: str, presented: str, result: str) -> None:
        grant = Grant(
            number=len(self.grants) + 1,
            time=self._clock.now() / SECOND,
            kind=kind,
            account=account,
            presented=presented,
            result=result,
        )
        self.grants.append(grant)


def _client(form: dict[str, str], request: Request) -> tuple[str, str]:
    """Client id and secret, from a Basic header or from the form."""
    name, colon, secret = request.basic().partition(":")
    return (name, secret) if colon else (form.get("client_id", ""), form.get("client_secret", ""))
