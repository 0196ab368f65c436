"""`tidelock schema`: the tables of streams follow their declarations."""

from typing import Annotated, Any

import typer
from typer import Argument

from connectors import Stream
from sync.cli.output import Form, Output, table
from sync.lists import streams
from sync.registry import load
from sync.store import connections, schema
from sync.store.database import engine, read
from sync.store.migrations import require
from sync.store.schema import Step

app = typer.Typer(add_completion=False, no_args_is_help=True, help="The tables of streams follow their declarations.")
Name = Annotated[str | None, Argument(help="One connection's streams; those of all if left out.")]
_COLUMNS = ("kind", "table", "text")


@app.command("plan")
def plan(name: Name = None, output: Output = Form.TABLE) -> None:
    """Print what `apply` would do, and what only a person can decide. Changes nothing."""
    wanted = _declared(name)
    with read() as connection:
        steps = schema.plan(connection, wanted)
    table(output, map(_row, steps), _COLUMNS, "Every table is as declared.")


@app.command("apply")
def apply(name: Name = None, output: Output = Form.TABLE) -> None:
    """Create tables and add columns, then fill them from the payloads that are there; nothing is fetched again."""
    table(output, map(_row, schema.apply(engine(), _declared(name))), _COLUMNS, "Every table is as declared.")


def _declared(name: str | None) -> list[tuple[str, Stream]]:
    require()
    with read() as connection:
        accounts = [connections.by_name(connection, name)] if name else connections.every(connection)
    found = {
        (account.connector, stream.name): stream
        for account in accounts
        for stream in streams(load(account.connector), account.config, account.streams)
    }
    return [(connector, stream) for (connector, _), stream in found.items()]


def _row(step: Step) -> dict[str, Any]:
    return {"kind": step.kind, "table": step.table.name, "text": step.text}
