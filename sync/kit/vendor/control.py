"""The back door for tests in other processes: edit data, break things, read the log and the truth.

Guarded by the vendor's control token in `X-Control-Token`; never logged, limited, delayed or faulted.
"""

import hmac
from collections.abc import Callable
from typing import Any

from sync.kit.vendor.exchange import Answer, Refusal, Request, reply
from sync.kit.vendor.faults import Fault
from sync.kit.vendor.limits import Limit
from sync.kit.vendor.post import Posting, Postman
from sync.kit.vendor.times import parse
from sync.kit.vendor.vendor import Latency, Vendor

PREFIX = "/_control/"
Body = dict[str, Any]


def answer(vendor: Vendor, request: Request) -> Answer:
    """Answer a control call; what is wrong with it is said in a 400, 401 or 404."""
    shown = request.headers.get("x-control-token", "")
    if not hmac.compare_digest(shown.encode(), vendor.control_token.encode()):
        return Refusal(401, "control_token", "send the control token as X-Control-Token").answer
    verb, _, rest = request.path.removeprefix(PREFIX).partition("/")
    reading = request.method == "GET"
    known = READS if reading else ACTS
    if verb not in known:
        return Refusal(404, "unknown_verb", f"{request.method} knows {', '.join(sorted(known))}").answer
    try:
        said = READS[verb](vendor, request, rest) if reading else ACTS[verb](vendor, request.json())
        return reply({"ok": True} if said is None else said)
    except Refusal as refusal:
        return refusal.answer
    except KeyError as error:
        return Refusal(400, "missing", f"the body needs {error}").answer
    except (LookupError, ValueError, TypeError) as error:
        return Refusal(400, type(error).__name__, str(error)).answer


def _create(vendor: Vendor, body: Body) -> Body:
    account = vendor.account(body.get("account", ""))
    row = account.create(body["collection"], body.get("key"), body.get("fields", {}), at=_at(body))
    return {"key": row.key, "row": row.fields}


def _update(vendor: Vendor, body: Body) -> Body:
    account = vendor.account(body.get("account", ""))
    row = account.update(body["collection"], body["key"], body.get("fields", {}), at=_at(body))
    return {"key": row.key, "row": row.fields}


def _delete(vendor: Vendor, body: Body) -> None:
    """One `key` or many `keys`."""
    account = vendor.account(body.get("account", ""))
    for key in body["keys"] if "keys" in body else [body["key"]]:
        account.delete(body["collection"], key, at=_at(body))


def _at(body: Body) -> int | None:
    return parse(str(body["at"])) if body.get("at") is not None else None


def _faults(vendor: Vendor, body: Body) -> None:
    plan = [Fault(**{**fault, "nth": tuple(fault.get("nth", ()))}) for fault in body.get("faults", ())]
    vendor.faults.set(plan, body.get("seed", 0))


def _clock(vendor: Vendor, body: Body) -> Body:
    """`shift` (seconds wrong), `advance` (seconds passed), `stop` (a time, or null for now)."""
    if "shift" in body:
        vendor.clock.shift(float(body["shift"]))
    if "advance" in body:
        vendor.clock.advance(float(body["advance"]))
    if "stop" in body:
        vendor.clock.stop(parse(str(body["stop"])) if body["stop"] is not None else None)
    return {"date": vendor.clock.http_date(), "now": vendor.clock.now()}


def _limits(vendor: Vendor, body: Body) -> None:
    vendor.limiter.change(Limit(**body))


def _latency(vendor: Vendor, body: Body) -> None:
    vendor.latency = Latency(**body)


def _revoke(vendor: Vendor, body: Body) -> None:
    """A `credential`, or with `oauth` all tokens (`"expire"` access tokens only, `"revoke"` both kinds)."""
    if "credential" in body:
        vendor.gate.revoke(body["credential"])
    if body.get("oauth") == "expire":
        vendor.oauth.expire()
    if body.get("oauth") == "revoke":
        vendor.oauth.revoke()


def _withdraw(vendor: Vendor, body: Body) -> None:
    vendor.withdraw(body["collection"], body.get("how", "forbidden"), body.get("account", ""))


def _postman(vendor: Vendor) -> Postman:
    if vendor.postman is None:
        raise LookupError("this vendor delivers no webhooks")
    return vendor.postman


def _webhooks(vendor: Vendor, body: Body) -> None:
    """Fields of `Posting`, those left out as they are at first."""
    _postman(vendor).change(Posting(**body))


def _disable(vendor: Vendor, body: Body) -> None:
    _postman(vendor).hooks.disable(body["id"], body.get("reason", "disabled"))


def _log(vendor: Vendor, request: Request, rest: str) -> Body:
    entries = vendor.log.dump(int(request.query.get("since", "0")))
    return {"entries": entries}


def _truth(vendor: Vendor, request: Request, rest: str) -> Body:
    return vendor.account(request.query.get("account", "")).truth(rest)


ACTS: dict[str, Callable[[Vendor, Body], Body | None]] = {
    "create": _create,
    "update": _update,
    "delete": _delete,
    "faults": _faults,
    "clock": _clock,
    "limits": _limits,
    "latency": _latency,
    "revoke": _revoke,
    "restore": lambda vendor, body: vendor.gate.restore(body["credential"]),
    "withdraw": _withdraw,
    "webhooks": _webhooks,
    "disable": _disable,
    "issue": lambda vendor, body: vendor.oauth.issue(body.get("account", "")),
}
READS: dict[str, Callable[[Vendor, Request, str], Body]] = {
    "log": _log,
    "truth": _truth,
    "deliveries": lambda vendor, request, rest: _postman(vendor).dump(int(request.query.get("since", "0"))),
    "stats": lambda vendor, request, rest: vendor.stats(),
    "grants": lambda vendor, request, rest: {"grants": vendor.oauth.dump()},
}
