"""`tidelock status` and `tidelock runs`: what is late, failing or waiting, why, and whose it is."""

from dataclasses import asdict
from typing import Annotated, Any

from typer import Argument, Exit, Option

from sync.cli.exits import FAILING
from sync.cli.output import Form, Output, table
from sync.overview import overview
from sync.store import connections, history
from sync.store.database import read
from sync.store.migrations import require

_COLUMNS = ("connection", "stream", "state", "records", "fresh_at", "due_at", "dead", "owner", "why")
_RUNS = ("id", "connection", "stream", "list", "cause", "state", "opened_at", "seconds", "counts", "reason")


def status(
    name: Annotated[str | None, Argument(help="One connection; all if left out.")] = None,
    count: Annotated[bool, Option(help="Count the records; slow where there are very many.")] = True,
    output: Output = Form.TABLE,
) -> None:
    """Each stream: fresh, late, failing, held, waiting, syncing or paused, with the reason and the owner.

    Exit code 1 where one is failing, held or late, or has dead letters.
    """
    require()
    with read() as connection:
        views = overview(connection, name, count=count)
    table(output, map(asdict, views), _COLUMNS, "There are no connections yet: `tidelock connect` makes one.")
    if any(view.state in ("failing", "held", "late") or view.dead for view in views):
        raise Exit(FAILING)


def runs(
    name: Annotated[str | None, Argument(help="One connection; all if left out.")] = None,
    failed: Annotated[bool, Option(help="Only those that failed or are held.")] = False,
    most: Annotated[int, Option(min=1, help="How many.")] = 30,
    output: Output = Form.TABLE,
) -> None:
    """The newest runs: what was asked, and what came of it."""
    require()
    with read() as connection:
        account = connections.by_name(connection, name).id if name else None
        names = {row.id: row.name for row in connections.every(connection)}
        states = ("failed", "held") if failed else ()
        found = history.recent(connection, account=account, states=states, most=most)
    table(output, (_run(row, names) for row in found), _RUNS, "There are no such runs.")


def _run(row: Any, names: dict[int, str]) -> dict[str, Any]:
    took = (row.closed_at - row.opened_at).total_seconds() if row.closed_at else None
    told = {name: getattr(row, name) for name in _RUNS if name not in ("connection", "seconds")}
    kept = {"lane": row.lane, "full": row.full, "closed_at": row.closed_at}
    return {**told, "connection": names.get(row.connection_id, ""), "seconds": took and f"{took:.1f}", **kept}
