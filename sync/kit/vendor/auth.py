"""Who may ask: the credential of a request, by the scheme that the vendor declares."""

from collections.abc import Callable
from dataclasses import dataclass

from sync.kit.vendor.exchange import Refusal, Request
from sync.kit.vendor.oauth import OAuth


@dataclass(frozen=True, kw_only=True)
class Auth:
    """A scheme and its valid credentials.

    `scheme`: `bearer`, `header` or `query` (called `name`), `basic` ("user:password"), `oauth2`, `none`.
    `account_token` makes the credential of an account: "secret-{account}".
    """

    scheme: str = "bearer"
    tokens: tuple[str, ...] = ()
    name: str = "X-Api-Key"
    account_token: str = ""


class Gate:
    """Lets requests in by their credential; credentials can be revoked while it stands."""

    def __init__(self, auth: Auth, oauth: OAuth | None) -> None:
        self.auth = auth
        self.oauth = oauth
        self._revoked: set[str] = set()

    def credential(self, request: Request) -> str:
        """What the request shows, valid or not; "" for nothing."""
        return READERS[self.auth.scheme](self.auth, request)

    def admit(self, request: Request) -> None:
        """Raise a 401 Refusal unless the credential is good; an account's opens that account only."""
        if self.auth.scheme == "none":
            return
        if not request.credential:
            raise _unauthorized("missing_credential", f"send a credential: scheme {self.auth.scheme}")
        if request.credential in self._revoked or not self._valid(request):
            raise _unauthorized("invalid_credential", "this credential is unknown, expired or revoked")

    def revoke(self, credential: str) -> None:
        """From now on this credential opens nothing."""
        self._revoked.add(credential)

    def restore(self, credential: str) -> None:
        """Undo a revocation."""
        self._revoked.discard(credential)

    def _valid(self, request: Request) -> bool:
        if self.auth.scheme == "oauth2":
            return self.oauth is not None and self.oauth.valid(request.credential, request.account)
        if request.account and self.auth.account_token:
            return request.credential == self.auth.account_token.format(account=request.account)
        return request.credential in self.auth.tokens


def _bearer(auth: Auth, request: Request) -> str:
    scheme, _, value = request.headers.get("authorization", "").partition(" ")
    return value.strip() if scheme.lower() == "bearer" else ""


def _unauthorized(code: str, message: str) -> Refusal:
    return Refusal(401, code, message, WWW_Authenticate='Bearer realm="vendor", error="invalid_token"')


READERS: dict[str, Callable[[Auth, Request], str]] = {
    "bearer": _bearer,
    "oauth2": _bearer,
    "basic": lambda auth, request: request.basic(),
    "header": lambda auth, request: request.headers.get(auth.name.lower(), ""),
    "none": lambda auth, request: "",
    "query": lambda auth, request: request.query.get(auth.name, ""),
}
