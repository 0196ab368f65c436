"""`tidelock errors`, `replay`, `drop` and `approve`: what needs a person, and what the person says.

A slice is named by its number (12), a rejected record by r and its number (r7).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from sqlalchemy import Connection, Row
from typer import Argument, Exit, Option

from connectors import ContractError, TidelockError
from sync.cli.exits import FAILING
from sync.cli.output import Form, Output, emit, say, table
from sync.cli.person import person
from sync.cli.run import ring
from sync.lists import ROWS, list_of
from sync.registry import load
from sync.settings import settings
from sync.states import State
from sync.store import connections, dispatch, letters, rejects
from sync.store.database import read, write
from sync.store.migrations import require
from sync.store.mirror import Mirror, mirror

_COLUMNS = ("id", "kind", "connection", "stream", "partition", "state", "key", "path", "reason", "owner")
_NUMBER = re.compile(r"(r?)(\d+)")
_REJECTS = 500
_EXCERPT = 200  # bytes of a payload

Ids = Annotated[list[str] | None, Argument(help="Numbers from `tidelock errors`: 12 for a slice, r7 for a record.")]
OneConnection = Annotated[str | None, Option("--connection", help="All of this connection.")]
All = Annotated[bool, Option("--all", help="All there are.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Letters:
    """What was chosen: slices that are dead or held, and rejected records."""

    slices: Sequence[Row[Any]]
    rejects: Sequence[Row[Any]]


def errors(
    name: Annotated[str | None, Argument(help="One connection; all if left out.")] = None, output: Output = Form.TABLE
) -> None:
    """What needs a person: failing connections, dead and held slices, rejected records; whose it is, and why.

    Exit code 1 where there is anything.
    """
    require()
    with read() as connection:
        account = connections.by_name(connection, name).id if name else None
        rows = [*_failing(connection, account), *_dead(connection, account), *_rejected(connection, account)]
    table(output, rows, _COLUMNS, "Nothing needs a person.")
    if rows:
        raise Exit(FAILING)


def replay(ids: Ids = None, of: OneConnection = None, every: All = False, output: Output = Form.TABLE) -> None:
    """Try dead slices and rejected records again. Held slices need `approve`."""
    chosen = _chosen(ids, of, every, State.DEAD)
    with write() as connection:
        released = letters.release(connection, chosen.slices)
        rung = dispatch.ring(connection, settings().in_flight) if released else []
    stored = sum(_store(row) for row in chosen.rejects)
    left = len(chosen.rejects) - stored
    emit(output, {"slices": released, "records": stored, "records_left": left})
    if output is Form.TABLE:
        say(f"{released} slices are due again, {stored} records are stored, {left} are still wrong.")
    ring(rung)
    if left:
        raise Exit(FAILING)


def drop(ids: Ids = None, of: OneConnection = None, every: All = False, output: Output = Form.TABLE) -> None:
    """Give up on dead or held slices and rejected records. Positions stay: what lies behind them is pulled again."""
    chosen = _chosen(ids, of, every, None)
    with write() as connection:
        slices = letters.drop(connection, chosen.slices, f"dropped by {person()}")
        records = rejects.drop(connection, [row.id for row in chosen.rejects])
    emit(output, {"slices": slices, "records": records})
    if output is Form.TABLE:
        say(f"{slices} slices and {records} records are dropped.")


def approve(
    ids: Annotated[list[str], Argument(help="Numbers of held slices from `tidelock errors`.")],
    ceiling: Annotated[int, Option(min=0, help="How many deletions are allowed at most.")],
    output: Output = Form.TABLE,
) -> None:
    """Let held slices delete, up to a ceiling; if even more is gone by then, they are held again."""
    chosen = _chosen(ids, None, False, State.HELD)
    with write() as connection:
        released = letters.release(connection, chosen.slices, ceiling)
        rung = dispatch.ring(connection, settings().in_flight)
    emit(output, {"slices": released, "ceiling": ceiling})
    if output is Form.TABLE:
        say(f"{released} slices go on, and may delete up to {ceiling:,} records each.")
    ring(rung)


def _chosen(ids: list[str] | None, of: str | None, every: bool, state: State | None) -> Letters:
    """What the person named; ContractError for nothing, or for a number that isn't there."""
    require()
    if not (ids or of or every):
        raise ContractError("say which: numbers from `tidelock errors`, --connection NAME or --all")
    with read() as connection:
        account = connections.by_name(connection, of).id if of else None
        if not ids:
            stuck = letters.slices(connection, account=account, state=state)
            return Letters(slices=stuck, rejects=rejects.listed(connection, account, limit=_REJECTS))
        slices, records = _numbers(ids)
        chosen = Letters(
            slices=letters.slices(connection, state=state, ids=slices),
            rejects=[row for row in rejects.listed(connection, limit=10**9) if row.id in records],
        )
    _demand_all(chosen, slices, records, state)
    return chosen


def _numbers(ids: Iterable[str]) -> tuple[set[int], set[int]]:
    slices: set[int] = set()
    records: set[int] = set()
    for text in ids:
        match = _NUMBER.fullmatch(text)
        if match is None:
            raise ContractError(f"{text!r} is no number from `tidelock errors`, such as 12 or r7")
        (records if match[1] else slices).add(int(match[2]))
    return slices, records


def _demand_all(chosen: Letters, slices: set[int], records: set[int], state: State | None) -> None:
    wanted = state.value if state else "dead or held"
    missing = [str(number) for number in sorted(slices - {row.id for row in chosen.slices})]
    if missing:
        raise ContractError(f"there is no {wanted} slice {missing[0]}: `tidelock errors` lists what there is")
    missing = [f"r{number}" for number in sorted(records - {row.id for row in chosen.rejects})]
    if missing:
        raise ContractError(f"there is no rejected record {missing[0]}: `tidelock errors` lists what there is")


def _store(row: Row[Any]) -> bool:
    """Try to store one rejected record; whether it is stored now."""
    with write() as connection:
        account = connections.get(connection, row.connection_id)
        try:
            tally = rejects.replay(connection, _mirror(account, row.stream, connection), row.id)
        except TidelockError as error:
            say(f"r{row.id}: {error}")
            return False
    return not tally.rejects


def _mirror(account: Row[Any], stream: str, connection: Connection) -> Mirror:
    declared = list_of(load(account.connector), account.config, stream, ROWS)
    return mirror(account.connector, declared, connection.dialect)


def _failing(connection: Connection, account: int | None) -> Iterator[dict[str, Any]]:
    for row in connections.every(connection):
        if row.state == "failing" and account in (None, row.id):
            yield {"id": "", "kind": "connection", "connection": row.name, "state": row.state, "reason": row.reason,
                   "owner": _owner(row.owner, row.connector)}  # fmt: skip


def _dead(connection: Connection, account: int | None) -> Iterator[dict[str, Any]]:
    for row in letters.slices(connection, account=account):
        yield {
            "id": str(row.id), "kind": "slice", "connection": row.connection, "stream": row.stream,
            "partition": row.partition, "state": row.state, "reason": row.reason,
            "owner": _owner(row.owner, row.connector),
        }  # fmt: skip


def _rejected(connection: Connection, account: int | None) -> Iterator[dict[str, Any]]:
    known = {row.id: row for row in connections.every(connection)}
    for row in rejects.listed(connection, account, limit=_REJECTS):
        owner = known[row.connection_id]
        yield {
            "id": f"r{row.id}", "kind": "record", "connection": owner.name, "stream": row.stream,
            "partition": row.partition, "state": row.state, "key": row.key, "path": row.path, "reason": row.reason,
            "seen": row.seen, "payload": row.payload[:_EXCERPT].decode(errors="replace"),
            "owner": _owner(owner.owner, owner.connector),
        }  # fmt: skip


def _owner(own: str | None, connector: str) -> str:
    """The connection's, else the connector's; it may be gone."""
    if own:
        return own
    try:
        return load(connector).owner or ""
    except TidelockError:
        return ""
