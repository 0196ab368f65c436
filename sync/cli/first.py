"""The first sync of the demo: watched, held against the vendor's own records, and told."""

import time
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from sqlalchemy import Connection, Table, Text, cast, select

from sync.cli.demo import Demo
from sync.cli.exits import Failing
from sync.cli.output import Form, emit, say, table
from sync.cli.watch import LOOK, rate, records, title, watch
from sync.registry import load
from sync.store import connections, progress
from sync.store.database import engine, read
from sync.store.mirror import mirror
from sync.store.progress import Progress
from sync.supervisor import Supervisor

PATIENCE = 60.0  # seconds for the clock to open the first runs
MOST_ENDS = 4  # of a process in a row, before we say so instead of starting it again
_COSTS = (
    ("requests", 1, "{:,.0f} requests"),
    ("bytes", 1e6, "{:.1f} MB"),
    ("waited_ms", 1e3, "{:.1f} s of waiting for limits"),
)
_COLUMNS = ("stream", "state", "records", "seconds", "records_per_second", "requests", "live", "equal")


def first_sync(playing: Demo, account: int, before: int, supervisor: Supervisor, form: Form) -> bool:
    """Watch the demo's runs that were opened after `before`, then tell what came; whether all of it is there."""
    runs = _opened(account, before, supervisor)
    done = watch(account, runs, lambda: keep(supervisor))
    with read() as connection:
        stopped = connections.get(connection, account).reason
        rows = [_told(connection, playing, account, one) for one in done if one.list == "rows"]
    requests = sum(one.counts.get("requests", 0) for one in done)
    whole = not stopped and all(row["state"] == "done" and row["equal"] for row in rows)
    if form is Form.JSON:
        emit(form, {"whole": whole, "reason": stopped, "requests": requests, "streams": rows})
    else:
        table(form, rows, _COLUMNS, "Nothing was synced.")
        _say_cost(done)
    for sentence in _wrong(rows, stopped):
        say(sentence)
    return whole


def _opened(account: int, before: int, supervisor: Supervisor) -> list[int]:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        with read() as connection:
            found = progress.since(connection, account, before)
            held = connections.get(connection, account)
        if held.state != "active":
            raise Failing(f"the connection {held.name} is {held.state}: {held.reason}")
        if found:
            return found
        keep(supervisor)
        time.sleep(LOOK)  # the clock is another process
    raise Failing("nothing was due within a minute: logs/beat.log in the home folder says why")


def keep(supervisor: Supervisor) -> None:
    """Keep the processes running; Failing where one of them ends again and again."""
    supervisor.poll()
    for child in supervisor.children.values():
        if child.ends >= MOST_ENDS:
            raise Failing(
                f"{child.name} ended {child.ends} times in a row, see logs/{child.name}.log in the home folder"
            )


def _told(connection: Connection, playing: Demo, account: int, one: Progress) -> dict[str, Any]:
    stream = next(found for found in load("demo").streams_for({}) if found.name == one.stream)
    ours = dict(_payloads(connection, mirror("demo", stream, engine().dialect).table, account))
    theirs: Mapping[str, Any] = playing.ask(f"truth/{one.stream}")["rows"]
    end = one.closed_at or one.opened_at
    return {
        "stream": title(one),
        "state": one.state,
        "reason": one.reason,
        "records": records(one),
        "seconds": f"{(end - one.opened_at).total_seconds():.1f}",
        "records_per_second": round(rate(one, time.time())),
        "requests": one.counts.get("requests", 0),
        "counts": one.counts,
        "live": len(ours),
        "source": len(theirs),
        "equal": ours == theirs,
    }


def _payloads(connection: Connection, stored: Table, account: int) -> Iterator[tuple[str, Any]]:
    alive = (stored.c.connection_id == account, stored.c.deleted_at.is_(None))
    for key, payload in connection.execute(select(stored.c.key, cast(stored.c.payload, Text)).where(*alive)):
        yield key, msgspec.json.decode(payload)


def _say_cost(done: list[Progress]) -> None:
    begun = min(one.opened_at for one in done)
    took = max((one.closed_at or one.opened_at) for one in done) - begun
    received = sum(records(one) for one in done)
    seconds = max(took.total_seconds(), 0.001)
    say(f"{received:,} records in {seconds:.1f} s, {received / seconds:,.0f} a second, for {_cost(done)}.")


def _cost(done: list[Progress]) -> str:
    spent = ((sum(one.counts.get(name, 0) for one in done) / unit, words) for name, unit, words in _COSTS)
    return ", ".join(words.format(amount) for amount, words in spent if amount)


def say_where(page: str) -> None:
    """Where to look now; no page where it ends with us."""
    where = engine().url
    shell = f"sqlite3 {where.database}" if engine().dialect.name == "sqlite" else f"psql {where.render_as_string()}"
    query = "SELECT key, name, country FROM demo_customers WHERE vip LIMIT 5"
    say("\n             ".join(filter(None, [f'Look at it:  {shell} "{query}"', page, "tidelock status"])))


def _wrong(rows: list[dict[str, Any]], stopped: str | None) -> Iterator[str]:
    if stopped:
        yield f"The connection stopped: {stopped}"
    for row in rows:
        if row["state"] != "done":
            yield f"{row['stream']} is {row['state']}: {row['reason']}"
        elif not row["equal"]:
            yield f"{row['stream']}: {row['live']:,} records are here, {row['source']:,} at the vendor, or they differ."
