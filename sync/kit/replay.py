"""A door that answers from recordings, and fails loudly when it is asked for something else."""

from collections.abc import Callable, Iterable, Mapping
from email.utils import parsedate_to_datetime

from connectors import Json, Outcome, Reply, Rule, TidelockError
from connectors._outcomes import classify
from sync.door import OutcomeError
from sync.kit.recording import Exchange, Request, Response

MICROSECOND = 1_000_000
AS_OF = 1_750_000_000 * MICROSECOND  # where an answer tells no date

Alter = Callable[[Response], Response]


class Unrecorded(TidelockError):
    """The connector asked for what was not recorded."""


class Replay:
    """The `Api` of a connector's functions over recorded exchanges. Of two for one request the later holds.

    alter      changes every answer before it is given: how faults are made
    otherwise  the answer to requests that were not recorded
    asked      the requests made so far
    """

    def __init__(
        self,
        exchanges: Iterable[Exchange],
        rules: Iterable[Rule] = (),
        *,
        alter: Alter | None = None,
        otherwise: Response | None = None,
    ) -> None:
        self.asked: list[Request] = []
        self.requests = 0
        self.as_of = AS_OF
        self._responses = {one.request: one.response for one in exchanges}
        self._rules = tuple(rules)
        self._alter = alter
        self._otherwise = otherwise

    def get(self, path: str, params: Mapping[str, Json] | None = None) -> Reply:
        """The recorded answer; OutcomeError where the rules say that it is none."""
        return self._answer(Request.of("GET", path, params), path)

    def post(self, path: str, json: Json, params: Mapping[str, Json] | None = None) -> Reply:
        """As `get`."""
        return self._answer(Request.of("POST", path, params, json), path)

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
        """As `get`; a form was recorded as if it were JSON."""
        body = json if form is None else form
        return self._answer(Request.of(method.upper(), path, params, body), path, writes=True)

    def has(self, request: Request) -> bool:
        """Whether this request was recorded."""
        return request in self._responses

    def _answer(self, request: Request, path: str, *, writes: bool = False) -> Reply:
        self.asked.append(request)
        self.requests += 1
        response = self._responses.get(request, self._otherwise)
        if response is None:
            raise Unrecorded(f"{request} is not recorded; there are {_listed(self._responses)}")
        response = self._alter(response) if self._alter else response
        rule = classify(self._rules, request.method, response.status, response.headers, response.body, writes=writes)
        if rule.then is not Outcome.OK:
            raise OutcomeError(rule.then, rule.why, status=response.status, url=path)
        self.as_of = _date(response)
        return Reply(response.status, response.headers, response.body, path, self.as_of)


def _date(response: Response) -> int:
    stated = response.headers.get("date")
    return round(parsedate_to_datetime(stated).timestamp()) * MICROSECOND if stated else AS_OF


def _listed(requests: Iterable[Request]) -> str:
    return "\n  ".join(["", *sorted(map(str, requests))]) or "none"
