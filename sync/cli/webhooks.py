"""`tidelock webhooks`: what vendors delivered, and what became of it."""

from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import msgspec
import typer
from sqlalchemy import Connection, Row
from typer import Argument, Option

from connectors import ContractError
from sync import receive
from sync.cli import subscriptions
from sync.cli.exits import BAD_INPUT
from sync.cli.hooked import hooked
from sync.cli.output import Form, Output, console, emit, say, table
from sync.cli.person import person
from sync.cli.run import moment
from sync.store import connections, deliveries, inbox_leases
from sync.store.database import read, write
from sync.store.deliveries import Chosen
from sync.store.migrations import require

app = typer.Typer(add_completion=False, no_args_is_help=True, help="What vendors deliver, and what became of it.")
_COLUMNS = ("id", "connection", "name", "state", "received_at", "attempts", "behind", "delivery", "reason")
_SHOWN = ("id", "connection", "delivery", "name", "state", "reason", "behind", "received_at", "attempts", "counts")
_STATES = ("received", "deferred", "applied", "ignored", "dead")

Ids = Annotated[list[int] | None, Argument(help="Numbers from `tidelock webhooks list`.")]
Of = Annotated[str | None, Option("--connection", help="Only those of this connection.")]
States = Annotated[list[str] | None, Option("--state", help=f"Only in this state: {', '.join(_STATES)}.")]
Names = Annotated[list[str] | None, Option("--name", help="Only events of this name.")]
Since = Annotated[str | None, Option(help="Only received from this time on, ISO 8601.")]
Until = Annotated[str | None, Option(help="Only received before this time.")]
Delivered = Annotated[str | None, Option("--delivery", help="Only the one with this id of the vendor's.")]
Yes = Annotated[bool, Option("--yes", help="Don't ask.")]


@app.command("list")
def list_(
    name: Annotated[str | None, Argument(help="One connection; all if left out.")] = None,
    state: States = None,
    event: Names = None,
    since: Since = None,
    until: Until = None,
    delivery: Delivered = None,
    limit: Annotated[int, Option(min=1, max=10_000, help="How many.")] = 50,
    cursor: Annotated[int | None, Option(help="Go on after this id, that of the last one listed.")] = None,
    output: Output = Form.TABLE,
) -> None:
    """The newest deliveries first, without their content."""
    require()
    chosen = _chosen(None, name, state, event, since, until, delivery)
    with read() as connection:
        rows = deliveries.listed(connection, chosen, before=cursor, most=limit)
        names = _names(connection)
    table(output, (_row(row, names) for row in rows), _COLUMNS, "There are no such deliveries.")
    if len(rows) == limit and output is Form.TABLE:
        say(f"There may be more: --cursor {rows[-1].id}")


@app.command("show")
def show(
    id: Annotated[int, Argument(help="A number from `tidelock webhooks list`.")], output: Output = Form.TABLE
) -> None:
    """One delivery: headers, body, state, and what befell it."""
    require()
    with read() as connection:
        row = deliveries.get(connection, id)
        if row is None:
            raise ContractError(f"there is no delivery {id}: `tidelock webhooks list` lists what there is")
        befell = deliveries.history(connection, id)
        told = {**_row(row, _names(connection)), **_content(row), "history": list(map(_attempt, befell))}
    if output is Form.JSON:
        emit(output, told)
        return
    _print(told)


@app.command("replay")
def replay(
    ids: Ids = None,
    of: Of = None,
    state: States = None,
    event: Names = None,
    since: Since = None,
    until: Until = None,
    every: Annotated[bool, Option("--all", help="All there are.")] = False,
    whole: Annotated[bool, Option(help="All of each, also what was applied of it already.")] = False,
    yes: Yes = False,
    output: Output = Form.TABLE,
) -> None:
    """Apply deliveries again, as the present code understands them: those with these numbers, or all that match.

    What they tell that is older than what is stored changes nothing.
    """
    require()
    chosen = _demanded(ids, of, state, event, since, until, every=every)
    with read() as connection:
        count = deliveries.replayable(connection, chosen)
        missing = deliveries.count(connection, chosen) - count
    if missing:
        say(f"{missing} have lost their content for their age, and stay as they are.")
    _confirm(ids, count, "applied again", yes)
    with write() as connection:
        replayed = deliveries.replay(connection, chosen, whole=whole)
        rung = inbox_leases.ring(connection, replayed)
    emit(output, {"replayed": sum(replayed.values()), "without_content": missing})
    if output is Form.TABLE:
        say(f"{sum(replayed.values())} deliveries are due again.")
    _ring(rung)


@app.command("drop")
def drop(
    ids: Ids = None,
    of: Of = None,
    state: States = None,
    event: Names = None,
    since: Since = None,
    until: Until = None,
    every: Annotated[bool, Option("--all", help="All that are not over.")] = False,
    reason: Annotated[str | None, Option(help="Why, for those who look.")] = None,
    yes: Yes = False,
    output: Output = Form.TABLE,
) -> None:
    """Give up on deliveries that are not over; what waits behind them goes on."""
    require()
    chosen = _demanded(ids, of, state, event, since, until, every=every)
    with read() as connection:
        found = deliveries.counts(connection, chosen)
    count = sum(many for (_, state), many in found.items() if state not in ("applied", "ignored"))
    _confirm(ids, count, "ignored", yes)
    with write() as connection:
        dropped = deliveries.ignore(connection, chosen, f"dropped by {person()}{f': {reason}' if reason else ''}")
        rung = inbox_leases.ring(connection, {account for account, _ in found})
    emit(output, {"dropped": dropped})
    if output is Form.TABLE:
        say(f"{dropped} deliveries are ignored.")
    _ring(rung)


@app.command("listen")
def listen(
    port: Annotated[int, Option(min=0, max=65535, help="0 = any free one.")] = 8790,
    host: Annotated[str, Option(help="The address to listen at.")] = "127.0.0.1",
    output: Output = Form.TABLE,
) -> None:
    """For development: take deliveries on this machine, apply them here, and print each as it comes. Ctrl-C ends it."""
    require()
    import_module("sync.cli.listen").listen(host, port, output)  # a web server, which no other command wants


app.command("status")(hooked)
app.command("sync")(subscriptions.sync_)
app.command("rotate")(subscriptions.rotate_)
app.command("remove")(subscriptions.remove_)
app.command("secret")(subscriptions.secret)


def _chosen(
    ids: Sequence[int] | None,
    of: str | None,
    states: Sequence[str] | None,
    names: Sequence[str] | None,
    since: str | None,
    until: str | None,
    delivery: str | None = None,
) -> Chosen:
    for state in states or ():
        if state not in _STATES:
            raise ContractError(f"there is no state {state!r}; there are {', '.join(_STATES)}")
    account = None
    if of:
        with read() as connection:
            account = connections.by_name(connection, of).id
    return Chosen(
        accounts=None if account is None else [account], states=states or None, names=names or None, ids=ids or None,
        since=moment("--since", since) if since else None, until=moment("--until", until) if until else None,
        delivery=delivery,
    )  # fmt: skip


def _demanded(
    ids: Sequence[int] | None,
    of: str | None,
    states: Sequence[str] | None,
    names: Sequence[str] | None,
    since: str | None,
    until: str | None,
    *,
    every: bool,
) -> Chosen:
    """What the person named; ContractError for nothing, or for a number that isn't there."""
    if not (ids or of or states or names or since or until or every):
        raise ContractError("say which: numbers from `tidelock webhooks list`, a filter such as --state dead, or --all")
    chosen = _chosen(ids, of, states, names, since, until)
    if ids:
        with read() as connection:
            there = {row.id for row in deliveries.listed(connection, chosen, most=len(ids))}
        missing = sorted(set(ids) - there)
        if missing:
            raise ContractError(f"there is no such delivery {missing[0]}: `tidelock webhooks list` lists what there is")
    return chosen


def _confirm(ids: Sequence[int] | None, count: int, becomes: str, yes: bool) -> None:
    """What was picked by a filter is counted first."""
    if ids or yes:
        return
    say(f"{count:,} deliveries would be {becomes}.")
    if count and not typer.confirm("Do it?", err=True):
        say("Nothing was changed.")
        raise typer.Exit(BAD_INPUT)


def _ring(accounts: Sequence[int]) -> None:
    """A broker that is away undoes nothing: the tick rings again."""
    try:
        receive.send(accounts)
    except Exception as error:  # noqa: BLE001 - whatever a broker may say
        say(f"The broker does not answer ({error}): it begins when it is back.")


def _names(connection: Connection) -> dict[int, str]:
    return {row.id: row.name for row in connections.every(connection)}


def _row(row: Row[Any], names: dict[int, str]) -> dict[str, Any]:
    own = ("id", "name", "state", "received_at", "due_at", "closed_at", "attempts", "delivery", "reason", "counts",
           "left", "correlation")  # fmt: skip
    told = {name: getattr(row, name) for name in own}
    return {**told, "connection": names.get(row.connection_id, ""), "behind": row.behind_id}


def _content(row: Row[Any]) -> dict[str, Any]:
    """Headers, and the body as text where it is one, else as hex."""
    try:
        body, form = row.body.decode(), "text"
    except UnicodeDecodeError:
        body, form = row.body.hex(), "hex"
    return {"headers": msgspec.json.decode(row.headers) if row.headers else {}, "body": body, "body_is": form}


def _attempt(row: Row[Any]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in ("at", "before", "after", "reason", "worker")}


def _print(told: dict[str, Any]) -> None:
    out = console()
    for name in _SHOWN:
        if told[name] not in (None, {}, ""):
            out.print(f"{name.replace('_', ' '):<12} {told[name]}", markup=False)
    for name, value in told["headers"].items():
        out.print(f"  {name}: {value}", markup=False)
    out.print(told["body"] or "(no body)", markup=False)
    table(Form.TABLE, told["history"], ("at", "before", "after", "reason", "worker"), "Nothing has befallen it yet.")
