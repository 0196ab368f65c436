"""`tidelock state`: where the next run of each partition starts."""

from typing import Annotated, Any

import msgspec
import typer
from sqlalchemy import Row
from typer import Argument, Option

from connectors import ContractError, Sequence, Stream, Timestamp
from sync.cli.output import Form, Output, emit, say, table
from sync.cli.run import moment
from sync.lists import streams
from sync.registry import load
from sync.store import checkpoints, connections
from sync.store.database import read, write
from sync.store.migrations import require

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Where the next run of each partition starts.")
_COLUMNS = ("stream", "list", "partition", "cursor", "starts_at", "fresh_at", "full_at")

Name = Annotated[str, Argument(help="The connection.")]
OneStream = Annotated[str, Argument(help="The stream.")]
MICROSECOND = 1_000_000


@app.command("get")
def get(
    name: Name,
    stream: Annotated[str | None, Argument(help="The stream; all if left out.")] = None,
    output: Output = Form.TABLE,
) -> None:
    """Show the checkpoints."""
    account = _account(name)
    known = {one.name: one for one in _streams(account, stream)}
    with read() as connection:
        saved = checkpoints.every(connection, account.id, stream)
    rows = (_row(row, known.get(row.stream)) for row in saved)
    table(output, rows, _COLUMNS, f"{name} has no checkpoints: its next run reads everything.")


@app.command("set")
def set_(
    name: Name,
    stream: OneStream,
    cursor: Annotated[str, Argument(help="A time (2026-01-31T08:00Z), or the position as JSON.")],
    partition: Annotated[str, Option(help="The partition; that of a stream without parent if left out.")] = "",
    output: Output = Form.TABLE,
) -> None:
    """Say where the next run of a partition starts. What is stored stays; an earlier start is only read again."""
    account = _account(name)
    declared = _streams(account, stream)[0]
    position = _position(declared, cursor)
    with write() as connection:
        checkpoints.save(connection, account.id, stream, partition, "rows", cursor=position)
    emit(output, {"name": name, "stream": stream, "partition": partition, "cursor": position})
    if output is Form.TABLE:
        say(f"The next run of {name} {stream} starts at {cursor}.")


@app.command("reset")
def reset(
    name: Name,
    stream: Annotated[str | None, Argument(help="The stream; all if left out.")] = None,
    output: Output = Form.TABLE,
) -> None:
    """Forget the checkpoints: the next run reads everything. What is stored stays."""
    account = _account(name)
    _streams(account, stream)
    with write() as connection:
        count = checkpoints.reset(connection, account.id, stream)
    emit(output, {"name": name, "stream": stream, "forgotten": count})
    if output is Form.TABLE:
        say(f"{count} checkpoints of {name} are forgotten: the next run reads everything.")


def _account(name: str) -> Row[Any]:
    require()
    with read() as connection:
        return connections.by_name(connection, name)


def _streams(account: Row[Any], stream: str | None) -> tuple[Stream, ...]:
    return streams(load(account.connector), account.config, [stream] if stream else None)


def _position(stream: Stream, text: str) -> Any:
    """Microseconds since 1970 for a cursor that is a time, else the JSON value; ContractError where it is neither."""
    if stream.cursor is None:
        raise ContractError(f"{stream.name} has no cursor: every run reads everything, or its feed tells")
    if isinstance(stream.cursor, Timestamp):
        return round(moment("the position", text).timestamp() * MICROSECOND)
    try:
        position = msgspec.json.decode(text.encode())
    except msgspec.DecodeError:
        position = text
    if isinstance(stream.cursor, Sequence) and not isinstance(position, int):
        raise ContractError(f"the position {text!r} is no whole number, and {stream.name} counts by one")
    return position


def _row(row: Row[Any], stream: Stream | None) -> dict[str, Any]:
    told = {name: getattr(row, name) for name in ("stream", "list", "partition", "cursor", "fresh_at", "full_at")}
    starts = stream.cursor.wire(row.cursor) if stream and stream.cursor and row.list == "rows" else None
    return {**told, "starts_at": starts}
