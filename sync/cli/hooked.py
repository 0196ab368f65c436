"""`tidelock webhooks status`: for each connection that is delivered to, what came, what waits, and what is wrong."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from sqlalchemy import Connection, Row
from typer import Argument, Exit

from connectors import TidelockError, Webhook
from sync.cli.exits import FAILING
from sync.cli.output import Form, Output, table
from sync.lists import streams
from sync.registry import load
from sync.settings import SettingsError
from sync.store import connections, deliveries, inboxes, notices, subscriptions, waiting
from sync.store.database import read
from sync.store.deliveries import Chosen
from sync.store.migrations import require
from sync.subscriber import url_of

_COLUMNS = ("connection", "state", "received", "deferred", "applied", "ignored", "dead", "waits_since", "refused",
            "unknown", "subscription", "problem")  # fmt: skip
_NOTICES = ("kind", "name", "times", "last_at", "sample")
_SUBSCRIPTIONS = ("id", "url", "state", "events", "expires_at", "due_at", "attempts", "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class _All:
    """What there is of all connections."""

    counts: Mapping[tuple[int, str], int]
    since: Mapping[int, datetime]
    gaps: Mapping[int, datetime]
    notices: Sequence[Row[Any]]
    subscribed: Sequence[Row[Any]]


def hooked(
    name: Annotated[str | None, Argument(help="One connection, with what was refused; all if left out.")] = None,
    output: Output = Form.TABLE,
) -> None:
    """What was delivered to each connection, what waits and since when, what was refused, and its subscriptions.

    Exit code 1 where something needs a person.
    """
    require()
    with read() as connection:
        accounts = [connections.by_name(connection, name)] if name else connections.every(connection)
        everything = _everything(connection, accounts[0].id if name else None)
        views = [view for account in accounts if (view := _view(connection, account, everything))]
    table(output, views, _COLUMNS, "No connection is delivered to.")
    if name and views and output is Form.TABLE:
        table(output, views[0]["subscriptions"], _SUBSCRIPTIONS, "It has no subscriptions that we made.")
        table(output, views[0]["notices"], _NOTICES, "Nothing was refused, and nothing came that it doesn't know.")
    if any(view["state"] == "failing" for view in views):
        raise Exit(FAILING)


def _everything(connection: Connection, account: int | None) -> _All:
    return _All(
        counts=deliveries.counts(connection, Chosen(accounts=None if account is None else [account])),
        since=waiting.oldest(connection),
        gaps=waiting.gaps(connection),
        notices=notices.listed(connection, account),
        subscribed=subscriptions.listed(connection, account),
    )


def _view(connection: Connection, account: Row[Any], everything: _All) -> dict[str, Any] | None:
    """None for a connection that isn't delivered to."""
    try:
        webhook = load(account.connector).webhook_for(account.config)
    except TidelockError as error:
        return {"connection": account.name, "state": "failing", "problem": str(error), "subscriptions": [],
                "notices": []}  # fmt: skip
    if webhook is None:
        return None
    counts = {state: many for (of, state), many in everything.counts.items() if of == account.id}
    said = [row for row in everything.notices if row.connection_id == account.id]
    subscribed = [row for row in everything.subscribed if row.connection_id == account.id]
    missing = _missing(connection, account.id, webhook)
    expected = bool(subscribed or said or not _is_pulled(account))
    problem = next(_problems(account, counts, missing if expected else (), subscribed), "")
    state = "paused" if account.state == "paused" else "failing" if problem else "ok"
    return {
        "connection": account.name,
        "url": _url(account),
        "state": state,
        **{state: counts.get(state, 0) for state in ("received", "deferred", "applied", "ignored", "dead")},
        "waits_since": everything.since.get(account.id),
        "gap_since": everything.gaps.get(account.id),
        "refused": sum(row.times for row in said if row.kind == notices.REFUSED),
        "unknown": sum(row.times for row in said if row.kind == notices.UNKNOWN),
        "missing_secrets": missing,
        "subscription": _subscription(webhook, subscribed),
        "problem": problem,
        "subscriptions": [_subscribed(row) for row in subscribed],
        "notices": [{name: getattr(row, name) for name in (*_NOTICES, "first_at")} for row in said],
    }


def _missing(connection: Connection, account: int, webhook: Webhook) -> list[str]:
    held = inboxes.secrets_of(connection, account)
    return [name for name in webhook.verify.secrets if not held.get(name)]


def _problems(
    account: Row[Any],
    counts: Mapping[str, int],
    missing: Sequence[str],
    subscribed: Sequence[Row[Any]],
) -> Iterator[str]:
    """What needs a person, the worst first."""
    if counts.get("dead"):
        yield f"{counts['dead']} are dead: tidelock webhooks list {account.name} --state dead"
    for row in subscribed:
        if row.state in ("failing", "disabled"):
            yield f"its subscription is {row.state}: {row.reason}"
    if missing:
        yield f"the secret {missing[0]} is not set: tidelock webhooks secret {account.name}"


def _is_pulled(account: Row[Any]) -> bool:
    """Whether it has anything without being delivered to. Then a secret that is not set is nobody's fault."""
    return any(stream.pulled for stream in streams(load(account.connector), account.config, account.streams))


def _subscription(webhook: Webhook, subscribed: Sequence[Row[Any]]) -> str:
    if webhook.subscriptions is None:
        return "by hand"
    states = [row.state for row in subscribed]
    return next((state for state in ("failing", "disabled", "pending") if state in states), states[0] if states else "")


def _subscribed(row: Row[Any]) -> dict[str, Any]:
    told = {name: getattr(row, name) for name in _SUBSCRIPTIONS if name != "id"}
    return {"id": row.remote or "(under way)", **told}


def _url(account: Row[Any]) -> str | None:
    try:
        return url_of(account)
    except SettingsError:
        return None
