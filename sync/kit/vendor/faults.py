"""What can go wrong between a vendor and its callers, on purpose and on record."""

import gzip
import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from sync.kit.vendor import limits
from sync.kit.vendor.exchange import Answer, Refusal, Request, reply
from sync.kit.vendor.times import Clock

HTML = b"<!doctype html><html><head><title>Bad Gateway</title></head><body><h1>502</h1></body></html>"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One thing that goes wrong, and when.

    It looks at requests with this method ("" = any) and path prefix. Of those it strikes the
    `nth` (counted from 1), `every` so manieth, or each with a `probability`; all of them when
    none is given; and no more than `times`. `kind` is a name of BEFORE or AFTER.
    """

    kind: str
    method: str = ""
    path: str = "/"
    nth: tuple[int, ...] = ()
    every: int = 0
    probability: float = 0.0
    times: int | None = None
    status: int = 500
    seconds: float = 1.0  # of a hang, a drip, a throttle
    size: int = 64 << 20  # bytes of an oversized body
    location: str = "http://elsewhere.invalid"
    spelling: str = "seconds"

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"no fault is called {self.kind!r}; there are {', '.join(sorted(KINDS))}")

    def sees(self, request: Request) -> bool:
        """Whether the fault looks at this request at all."""
        return self.method in ("", request.method) and request.path.startswith(self.path)

    def due(self, count: int, chance: float) -> bool:
        """Whether it strikes the count-th request that it sees."""
        if self.nth:
            return count in self.nth
        if self.every:
            return count % self.every == 0
        return chance < self.probability if self.probability else True


class Plan:
    """The faults in force. The same seed and the same requests bring the same faults."""

    def __init__(self, faults: Iterable[Fault] = (), seed: int = 0) -> None:
        self._lock = threading.Lock()
        self.set(faults, seed)

    def set(self, faults: Iterable[Fault], seed: int = 0) -> None:
        """Replace all faults; counting starts anew."""
        faults = list(faults)
        with self._lock:
            self._faults = faults
            self._random = random.Random(seed)  # noqa: S311 - repeatable on purpose
            self._seen = [0] * len(faults)
            self._struck = [0] * len(faults)

    def strike(self, request: Request) -> Fault | None:
        """The fault that befalls this request: the first in the plan that is due."""
        with self._lock:
            due = [index for index, fault in enumerate(self._faults) if self._due(index, fault, request)]
            if not due:
                return None
            self._struck[due[0]] += 1
            return self._faults[due[0]]

    def _due(self, index: int, fault: Fault, request: Request) -> bool:
        if not fault.sees(request):
            return False
        self._seen[index] += 1
        chance = self._random.random() if fault.probability else 0.0
        spent = fault.times is not None and self._struck[index] >= fault.times
        return not spent and fault.due(self._seen[index], chance)


def _throttle(fault: Fault, request: Request, clock: Clock) -> Answer:
    return limits.too_often(fault.spelling, fault.seconds, clock)


def _status(fault: Fault, request: Request, clock: Clock) -> Answer:
    return reply({"error": {"code": "server_error", "message": "something went wrong"}}, fault.status)


def _unauthorized(fault: Fault, request: Request, clock: Clock) -> Answer:
    return Refusal(401, "token_expired", "the access token has expired", WWW_Authenticate="Bearer").answer


def _forbidden(fault: Fault, request: Request, clock: Clock) -> Answer:
    return Refusal(403, "forbidden", "this credential may not read this").answer


def _missing(fault: Fault, request: Request, clock: Clock) -> Answer:
    return Refusal(404, "not_found", "no such thing, or it isn't shared with you").answer


def _redirect(fault: Fault, request: Request, clock: Clock) -> Answer:
    return Answer(status=307, headers={"Location": fault.location + request.target})


def _truncated(fault: Fault, answer: Answer) -> Answer:
    return replace(answer, body=answer.body[: len(answer.body) // 2])


def _wrong_length(fault: Fault, answer: Answer) -> Answer:
    return replace(answer, claims=len(answer.body) + 100, wire="cut")


def _oversized(fault: Fault, answer: Answer) -> Answer:
    """Still valid JSON: the padding is white space."""
    return replace(answer, body=answer.body + b" " * max(0, fault.size - len(answer.body)))


def _gzip(fault: Fault, answer: Answer) -> Answer:
    packed = gzip.compress(answer.body, compresslevel=1)
    return replace(answer, body=packed, headers={**answer.headers, "Content-Encoding": "gzip"})


def _bomb(fault: Fault, answer: Answer) -> Answer:
    return _gzip(fault, _oversized(fault, answer))


# The request is not carried out.
BEFORE: dict[str, Callable[[Fault, Request, Clock], Answer]] = {
    "status": _status,
    "throttle": _throttle,
    "unauthorized": _unauthorized,
    "forbidden": _forbidden,
    "missing": _missing,
    "redirect": _redirect,
    "html": lambda fault, request, clock: Answer(body=HTML, headers={"Content-Type": "text/html"}),
    "reset": lambda fault, request, clock: Answer(wire="reset"),
}
# The request is carried out, then its answer suffers. `lost`: the connection is reset instead of answered.
AFTER: dict[str, Callable[[Fault, Answer], Answer]] = {
    "lost": lambda fault, answer: replace(answer, wire="reset"),
    "hang": lambda fault, answer: replace(answer, hang_s=fault.seconds),
    "drip": lambda fault, answer: replace(answer, wire="drip", seconds=fault.seconds),
    "cut": lambda fault, answer: replace(answer, wire="cut"),
    "truncated": _truncated,
    "wrong_length": _wrong_length,
    "oversized": _oversized,
    "gzip": _gzip,
    "bomb": _bomb,
    "failed": lambda fault, answer: replace(reply({"error": "server_error"}, fault.status), keys=answer.keys),
    "empty": lambda fault, answer: answer,  # the list itself comes out empty, see `Request.emptied`
}
KINDS = {*BEFORE, *AFTER}
