"""`tidelock disconnect`: an account is forgotten, and what becomes of what came from it is said first."""

from typing import Annotated, Any

import typer
from sqlalchemy import Row
from typer import Argument, Option

from connectors import TidelockError
from sync.cli.exits import BAD_INPUT
from sync.cli.output import Form, Output, emit, say
from sync.lists import streams
from sync.registry import load
from sync.store import connections, history, removal, subscriptions
from sync.store.database import read, write
from sync.store.migrations import require
from sync.store.mirror import table


def disconnect(
    name: Annotated[str, Argument(help="The connection.")],
    keep_rows: Annotated[bool, Option("--keep-rows/--drop-rows", help="Keep its records, or delete them.")] = True,
    yes: Annotated[bool, Option("--yes", help="Don't ask.")] = False,
    output: Output = Form.TABLE,
) -> None:
    """Forget a connection: its schedule, checkpoints, runs and dead letters, and its secrets if nobody else uses them.

    Subscriptions at the vendor, where there are any, are named here and stay: `tidelock webhooks remove` ends them.
    """
    require()
    with read() as connection:
        account = connections.by_name(connection, name)
        held = _tables(account)
        counts = history.live(connection, held)
        subscribed = sorted({one.url for one in subscriptions.of(connection, account.id)})
        shared = account.credential_id is not None and connections.sharing(connection, account.credential_id) > 1
    rows = sum(count for (_, owner), count in counts.items() if owner == account.id)
    say(f"{name} ({account.connector}) will be forgotten, with its schedule, checkpoints, runs and dead letters.")
    if held:
        say(f"Its {rows:,} records {'stay in' if keep_rows else 'are deleted from'} {', '.join(t.name for t in held)}.")
    say(_secrets(account, shared))
    say(_subscriptions(name, subscribed))
    if not yes and not typer.confirm("Forget it?", err=True):
        say("Nothing was changed.")
        raise typer.Exit(BAD_INPUT)
    with write() as connection:
        connections.set_state(connection, account.id, "paused", "it is being forgotten: disconnect it again")
    removal.forget(account.id)
    deleted = 0 if keep_rows else sum(removal.empty(table, account.id) for table in held)
    with write() as connection:
        connections.remove(connection, account)
    emit(output, {"name": name, "rows_kept": rows if keep_rows else 0, "rows_deleted": deleted})
    if output is Form.TABLE:
        say(f"{name} is forgotten.")


def _subscriptions(name: str, urls: list[str]) -> str:
    if not urls:
        return "It has no subscriptions at the vendor that we know of."
    there = ", ".join(urls)
    return f"Its subscriptions stay: the vendor delivers to {there} until `tidelock webhooks remove {name}`."


def _secrets(account: Row[Any], shared: bool) -> str:
    if account.credential_id is None:
        return "It has no secrets."
    return (
        "Its secrets stay: another connection uses them."
        if shared
        else "Its secrets are deleted here, not revoked there."
    )


def _tables(account: Row[Any]) -> list[Any]:
    """The tables of all its streams, selected or not; none where the connector is gone."""
    try:
        return [table(account.connector, stream) for stream in streams(load(account.connector), account.config)]
    except TidelockError as error:
        say(f"Its records stay where they are: {error}")
        return []
