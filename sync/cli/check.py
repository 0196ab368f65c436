"""`tidelock check` and `tidelock discover`: look at an account, store nothing."""

from collections.abc import Iterator
from functools import partial
from typing import Annotated, Any

from typer import Argument, Option

from connectors import Stream
from sync.cli.exits import Failing
from sync.cli.output import Form, Output, say, table
from sync.door import OutcomeError
from sync.doors import Api, door
from sync.kit.recorder import Scrub, record_lists
from sync.probe import STOPS, Finding, caller, probe
from sync.registry import load
from sync.store import connections, credentials
from sync.store.database import read, write
from sync.store.migrations import ROOT, require

_CHECKED = ("stream", "state", "records", "seconds", "problem")
_FOUND = ("stream", "key", "cursor", "deletes", "parent", "records", "keys", "columns", "problem")


def check(
    name: Annotated[str, Argument(help="The connection.")],
    record: Annotated[
        bool, Option(help="Write what the vendor answers, scrubbed, where the contract suite reads it.")
    ] = False,
    output: Output = Form.TABLE,
) -> None:
    """Try the credential and one page of each stream. A failing connection that is well again becomes active.

    Exit code 6 where the credential is refused, 7 where the system can't be reached, 1 where a stream fails.
    """
    account = _account(name)
    if record:
        _record(account)
        return
    found = list(probe(account))
    table(output, (_checked(one) for one in found), _CHECKED, "It has no streams.")
    wrong = next((one for one in found if one.error), None) or next((one for one in found if one.rejected), None)
    stops = next((one.error for one in found if _stops(one)), None)
    if stops:
        raise stops
    if account.state == "failing":
        with write() as connection:
            connections.set_state(connection, account.id, "active", None)
        say(f"{name} was failing and is active again.")
    if wrong and wrong.error and all(one.error or one.skipped for one in found):
        raise wrong.error
    if wrong:
        raise Failing(f"{wrong.stream.name}: {wrong.problem}")


def _record(account: Any) -> None:
    """A few pages of every list into tests/connectors/<connector>/."""
    connector = load(account.connector)
    held = account.credential_id
    secrets = credentials.secrets(held).values() if held is not None else ()
    folder = ROOT / "tests" / "connectors" / account.connector
    doors = partial(_door_of, account)
    for path in record_lists(
        connector, account.config, doors, folder, scrub=Scrub(secrets=[str(one) for one in secrets])
    ):
        say(f"wrote {path.relative_to(ROOT)}")


def _door_of(account: Any, stream: Stream) -> Api:
    return door(account.connector, load(account.connector), caller(account, stream))


def _stops(one: Finding) -> bool:
    return isinstance(one.error, OutcomeError) and one.error.outcome in STOPS


def discover(name: Annotated[str, Argument(help="The connection.")], output: Output = Form.TABLE) -> None:
    """What the account offers: streams with key, cursor, deletions, columns, and what one page shows."""
    account = _account(name)
    table(output, map(_discovered, probe(account)), _FOUND, "It has no streams.")


def _account(name: str) -> Any:
    require()
    with read() as connection:
        return connections.by_name(connection, name)


def _checked(one: Finding) -> dict[str, Any]:
    state = "failing" if one.problem else "waiting" if one.skipped else "ok"
    return {
        "stream": one.stream.name,
        "state": state,
        "records": one.records,
        "more": one.more,
        "seconds": f"{one.seconds:.2f}",
        "problem": one.problem or one.skipped,
    }


def _discovered(one: Finding) -> dict[str, Any]:
    stream = one.stream
    return {
        "stream": stream.name,
        "key": ", ".join(stream.keys),
        "cursor": _cursor(stream),
        "deletes": [type(rule).__name__.lower() for rule in stream.deletes],
        "parent": stream.parent,
        "records": f"{one.records}{'+' if one.more else ''}",
        "keys": list(one.keys[:3]),
        "columns": [column.name for column in stream.columns],
        "fields": list(_fields(one)),
        "problem": one.problem or one.skipped,
    }


def _cursor(stream: Stream) -> str:
    if stream.cursor is None:
        return ""
    field = stream.cursor.field
    kind = type(stream.cursor).__name__.lower()
    return f"{kind} {field.path}" if field else kind


def _fields(one: Finding) -> Iterator[str]:
    yield from one.first or ()
