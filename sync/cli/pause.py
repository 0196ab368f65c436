"""`tidelock pause` and `tidelock resume`: a person stops a connection, and lets it go on."""

from typing import Annotated, Any

from sqlalchemy import Row
from typer import Argument, Option

from sync.catching_up import missed
from sync.cli.output import Form, Output, emit, say
from sync.cli.person import person
from sync.store import connections
from sync.store.database import write
from sync.store.migrations import require

Name = Annotated[str, Argument(help="The connection.")]


def pause(
    name: Name,
    reason: Annotated[str | None, Option(help="Why, for those who look.")] = None,
    output: Output = Form.TABLE,
) -> None:
    """Stop a connection: nothing is opened or claimed any more; a page under way is still stored."""
    _become(name, "paused", reason or f"by {person()}", output)


def resume(name: Name, output: Output = Form.TABLE) -> None:
    """Let a paused or failing connection go on where it stopped; what it missed is caught up once: due times by one
    run, and what vendors meanwhile tried to deliver by another."""
    account = _become(name, "active", None, output)
    if account.state != "paused":
        return
    opened = missed(account, account.updated_at)
    if opened and output is Form.TABLE:
        say(f"Deliveries were refused while it was paused: {len(opened)} runs make up for them.")


def _become(name: str, state: str, reason: str | None, output: Form) -> Row[Any]:
    """As it was before."""
    require()
    with write() as connection:
        account = connections.by_name(connection, name)
        connections.set_state(connection, account.id, state, reason)
    emit(output, {"name": name, "before": account.state, "state": state, "reason": reason})
    if output is Form.TABLE:
        say(f"{name} was {account.state} and is {state} now." if account.state != state else f"{name} is {state}.")
    return account
