"""The HTTP door: what a connector's functions call `api`."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from functools import lru_cache
from urllib.parse import quote_plus, urljoin

from connectors import Auth, Connector, ContractError, Json, Outcome, Query, Reply, Rule, Wait
from connectors._limits import DAY, parse_wait
from connectors._outcomes import classify
from sync.api.body import encoded
from sync.api.exchange import Answer, exchange
from sync.api.origin import Origin, target, with_params, without_param
from sync.api.patience import Patience
from sync.api.quota import Quota
from sync.api.redact import redacted
from sync.api.sign import Keyring, Signed, sign
from sync.api.wire import Wire
from sync.door import OutcomeError
from sync.settings import Settings

REDIRECTS = 5
_MOVED = frozenset({301, 302, 303, 307, 308})
_AS_GET = frozenset({301, 302, 303})
_AS_IT_IS = frozenset({307, 308})
_READING = frozenset({"GET", "HEAD"})
_QUOTED = 64 * 1024  # bytes of a body in which secrets are looked for before an excerpt is cut
_SHORTEST_WAIT = 1.0
_LONG = 8  # characters of a key that can't be part of a record by chance
MICROSECOND = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A request before it is signed; the target holds no secret. One that `writes` is sent once."""

    method: str
    target: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    writes: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An answer, to which call it came, what must not be shown of it, and when it was asked for."""

    call: Call
    answer: Answer
    secrets: tuple[str, ...]
    asked: float


class HttpApi:
    """A door to one account of a vendor: signed, limited, capped, classified. For one thread.

    requests   requests sent
    bytes      bytes of bodies received, unpacked
    waited     seconds slept for limits
    etag       sent as If-None-Match with the first GET, if set before it
    seen_etag  the ETag of the first GET's answer
    unchanged  whether the last answer was a 304
    asked_at   the vendor's clock when the first request was sent, in microseconds since 1970
    as_of      the same of the last request that was answered, whatever the answer
    """

    def __init__(
        self,
        connector: Connector,
        *,
        wire: Wire,
        prefix: str,
        keyring: Keyring,
        quota: Quota,
        settings: Settings,
        headers: Mapping[str, str],
    ) -> None:
        self.requests = 0
        self.bytes = 0
        self.waited = 0.0
        self.etag: str | None = None
        self.seen_etag: str | None = None
        self.unchanged = False
        self.asked_at: int | None = None
        self.as_of: int | None = None
        self._first_get = True
        self._connector = connector
        self._auth: Auth = connector.auth
        self._wire = wire
        self._origin: Origin = wire.origin
        self._prefix = prefix
        self._keyring = keyring
        self._quota = quota
        self._settings = settings
        self._headers = headers

    def get(self, path: str, params: Mapping[str, Json] | None = None) -> Reply:
        """GET a path below the base URL, or an absolute URL on the same host; OutcomeError where it is not
        OK."""
        first, self._first_get = self._first_get, False
        conditional = {"If-None-Match": self.etag} if first and self.etag else {}
        reply = self._reply(Call(method="GET", target=self._target(path, params), headers=conditional))
        if first:
            self.seen_etag = reply.headers.get("etag")
        return reply

    def post(self, path: str, json: Json, params: Mapping[str, Json] | None = None) -> Reply:
        """POST a JSON body for reading (GraphQL, search); it is repeated like a GET."""
        body, headers = encoded(json, None)
        return self._reply(Call(method="POST", target=self._target(path, params), body=body, headers=headers))

    def send(
        self,
        method: str,
        path: str,
        *,
        json: Json = None,
        form: Mapping[str, Json] | None = None,
        params: Mapping[str, Json] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """A request that changes something, sent once: only a refused credential, which changed nothing, has it sent
        again. OutcomeError RETRY where it didn't go out, AMBIGUOUS where nobody knows what became of it."""
        if method.upper() in _READING:
            raise ContractError(f"{method} {path} changes nothing: use api.get")
        body, about = encoded(json, form)
        call = Call(method=method.upper(), target=self._target(path, params), body=body,
                    headers={**about, **(headers or {})}, writes=True)  # fmt: skip
        return self._reply(call)

    def _target(self, path: str, params: Mapping[str, Json] | None) -> str:
        asked = with_params(target(self._origin, self._prefix, path), params)
        return without_param(asked, self._auth.name) if isinstance(self._auth, Query) else asked

    def _reply(self, call: Call) -> Reply:
        told = self._told(call)
        rule = self._rule(told)
        if rule.then is Outcome.REFRESH_AUTH and self._keyring.renew():
            told = self._told(call)
            rule = self._rule(told)
        if rule.then is not Outcome.OK:
            raise self._refusal(rule, told)
        return self._accepted(told)

    def _told(self, call: Call) -> Told:
        """The answer to the call, redirects followed on the same host."""
        patience = Patience()
        ends = time.monotonic() + self._settings.request_seconds
        told = self._once(call, ends, patience)
        for _ in range(REDIRECTS):
            moved = self._moved(told)
            if moved is None:
                return told
            told = self._once(moved, ends + patience.slept, patience)
        if self._moved(told) is None:
            return told
        raise self._error(told, Outcome.FAIL_CONNECTION, f"{self._origin.host} redirects more than {REDIRECTS} times")

    def _once(self, call: Call, ends: float, patience: Patience) -> Told:
        slept = patience.slept
        try:
            grant = self._quota.admit(patience)
        finally:
            self.waited += patience.slept - slept
        try:
            signed = sign(self._auth, call.target, self._keyring.secrets())
            return self._sent(call, signed, ends)
        finally:
            self._quota.done(grant)

    def _sent(self, call: Call, signed: Signed, ends: float) -> Told:
        headers = {**self._headers, **call.headers, **signed.headers}
        asked = time.monotonic()
        self.requests += 1
        failure: OutcomeError
        try:
            answer = exchange(
                self._wire, call.method, signed.target, headers, call.body,
                seconds=max(ends - asked, 0.001), most=self._settings.max_body, writes=call.writes,
            )  # fmt: skip
        except OutcomeError as error:
            failure = error
        else:
            self.bytes += len(answer.body)
            told = Told(call=call, answer=answer, secrets=signed.secrets, asked=asked)
            self._quota.hear(answer, _vendor_now(answer))
            self.as_of = _moment(told)
            return told
        failure.url = self._shown(call, signed.secrets)
        raise failure

    def _moved(self, told: Told) -> Call | None:
        """The call at the place that the answer names; OutcomeError where that is another host. What changes something
        goes elsewhere only as it is: another redirect may follow on the change."""
        known = _AS_IT_IS if told.call.writes else _MOVED
        to = told.answer.headers.get("location") if told.answer.status in known else None
        if to is None:
            return None
        try:
            path = target(self._origin, "", urljoin(f"{self._origin}{told.call.target}", to))
        except (OutcomeError, ContractError) as error:
            why = str(error)
        else:
            if isinstance(self._auth, Query):
                path = without_param(path, self._auth.name)
            if told.call.method == "POST" and told.answer.status in _AS_GET:
                return Call(method="GET", target=path)
            return replace(told.call, target=path)
        raise self._error(told, Outcome.FAIL_CONNECTION, f"a redirect leads away: {why}")

    def _rule(self, told: Told) -> Rule:
        answer = told.answer
        if answer.status == 200 and not self._connector.rules:
            return _OK
        rules, call = self._connector.rules, told.call
        return classify(rules, call.method, answer.status, answer.headers, answer.body, writes=call.writes)

    def _accepted(self, told: Told) -> Reply:
        answer = self._scrubbed(told.answer, told.secrets)
        self.unchanged = answer.status == 304
        self.as_of = moment = _moment(told)
        if self.asked_at is None:
            self.asked_at = moment
        return Reply(
            answer.status,
            answer.headers,
            answer.body,
            f"{self._origin}{told.call.target}",
            moment,
            {} if _dated(answer.headers.get("date", "")) else {"clock": "ours"},
        )

    def _scrubbed(self, answer: Answer, secrets: tuple[str, ...]) -> Answer:
        """A key that was sent in the query comes back in next-page links, and page tokens are stored: cut it
        out."""
        if not isinstance(self._auth, Query):
            return answer
        headers, body = dict(answer.headers), answer.body
        for secret in {one for plain in secrets if len(plain) >= _LONG for one in (plain, quote_plus(plain))}:
            body = body.replace(secret.encode(), b"")
            headers = {name: value.replace(secret, "") for name, value in headers.items()}
        return Answer(answer.status, headers, body)

    def _refusal(self, rule: Rule, told: Told) -> OutcomeError:
        if rule.then is Outcome.REFRESH_AUTH:
            return self._error(told, Outcome.FAIL_CONNECTION, f"{rule.why or 'the credential was refused'}: renew it")
        if rule.then is Outcome.RATE_LIMITED:
            return self._spent(rule, told)
        wait = _stated(rule.wait, told.answer) if rule.wait else None
        why = rule.why or f"{self._origin.host} answers with status {told.answer.status}"
        return self._error(told, rule.then, why, wait=wait or (rule.wait.default if rule.wait else 0.0) or None)

    def _spent(self, rule: Rule, told: Told) -> OutcomeError:
        told_wait = rule.wait or Wait()
        stated = _stated(told_wait, told.answer)
        wait = min(max(told_wait.default if stated is None else stated, _SHORTEST_WAIT), DAY)
        why = rule.why or f"{self._origin.host} refuses more requests for {wait:.0f} seconds"
        self._quota.spent(rule.scope, wait, why, stated=stated is not None)
        return self._error(told, Outcome.RATE_LIMITED, why, wait=wait, scope=rule.scope)

    def _error(
        self, told: Told, outcome: Outcome, why: str, *, wait: float | None = None, scope: str | None = None
    ) -> OutcomeError:
        body = told.answer.body[:_QUOTED].decode(errors="replace")
        return OutcomeError(
            outcome,
            redacted(why, told.secrets),
            wait=wait,
            scope=scope,
            status=told.answer.status,
            url=self._shown(told.call, told.secrets),
            excerpt=" ".join(redacted(body, told.secrets).split()),
        )

    def _shown(self, call: Call, secrets: tuple[str, ...]) -> str:
        return redacted(f"{self._origin}{call.target}", secrets)


_OK = Rule(then=Outcome.OK)


def _stated(wait: Wait, answer: Answer) -> float | None:
    """Seconds that the answer says to wait, by the vendor's clock where it gives one; at most a day."""
    value = answer.headers.get(wait.header.lower())
    if value is None:
        return None
    stated = parse_wait(value, wait.format, _vendor_now(answer))  # type: ignore[arg-type]  # checked there
    return None if stated is None else min(stated, DAY)


def _moment(told: Told) -> int:
    """When the request was sent, by the vendor's clock; by ours where it tells none."""
    elapsed = time.monotonic() - told.asked
    return round((_vendor_now(told.answer) - elapsed) * MICROSECOND)


def _vendor_now(answer: Answer) -> float:
    dated = _dated(answer.headers.get("date", ""))
    return time.time() if dated is None else dated


@lru_cache(maxsize=64)
def _dated(text: str) -> float | None:
    """A Date header as epoch seconds."""
    try:
        return parsedate_to_datetime(text).timestamp()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
