"""`tidelock run` and `tidelock backfill`: pull now, and watch it."""

from datetime import UTC, datetime
from typing import Annotated, Any

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy import Row
from sqlalchemy import select as query
from typer import Argument, Option

from connectors import ContractError
from sync.app import app
from sync.cli.exits import BrokerError, Failing, Refused
from sync.cli.output import Form, Output, say, table
from sync.cli.person import person
from sync.cli.watch import KINDS, records, title, waits, watch
from sync.health import shown
from sync.opening import Demand, open_runs
from sync.pull import send
from sync.settings import settings
from sync.store import connections, dispatch, progress
from sync.store.database import now, read, write
from sync.store.migrations import require
from sync.store.progress import Progress

Select = Annotated[str | None, Option(help="Streams, a,b; all of the connection's if left out.")]
Wait = Annotated[bool, Option(help="Watch it to its end, or only start it.")]

_COLUMNS = ("stream", "state", "records", *KINDS, "pages", "requests", "seconds", "reason")


def run(
    name: Annotated[str, Argument(help="The connection.")],
    select: Select = None,
    full: Annotated[bool, Option(help="Read everything again, and prove what is gone.")] = False,
    wait: Wait = True,
    output: Output = Form.TABLE,
) -> None:
    """Pull a connection now, before what is scheduled. Exit code 1 where a run failed, 6 where the vendor refuses."""
    _start(name, Demand(cause=person(), lane="interactive", select=_split(select), full=full), wait, output)


def backfill(
    name: Annotated[str, Argument(help="The connection.")],
    since: Annotated[str, Option(help="From this time on, ISO 8601: 2026-01-31 or 2026-01-31T08:00+01:00.")],
    until: Annotated[str | None, Option(help="Up to this time; now if left out.")] = None,
    select: Select = None,
    wait: Wait = True,
    output: Output = Form.TABLE,
) -> None:
    """Pull a time range again, behind all live work. It moves no checkpoint."""
    begin, end = moment("--since", since), moment("--until", until) if until else datetime.now(UTC)
    if begin >= end:
        raise ContractError(f"--since {since} is not before --until {until or 'now'}")
    demand = Demand(cause=person(), lane="backfill", select=_split(select), since=begin, until=end)
    _start(name, demand, wait, output)


def moment(flag: str, text: str) -> datetime:
    """A time as people write it, in UTC where it says no zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ContractError(f"{flag} {text!r} is not a time such as 2026-01-31 or 2026-01-31T08:00+01:00") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _split(text: str | None) -> list[str] | None:
    return [part.strip() for part in text.split(",") if part.strip()] if text else None


def _start(name: str, demand: Demand, wait: bool, output: Form) -> None:
    require()
    with write() as connection:
        account = connections.by_name(connection, name)
        stop_if_stopped(account)
        clock = connection.execute(query(now())).scalar_one()
        opened = open_runs(connection, account, demand, clock)
        runs = opened or progress.under_way(connection, account.id, demand.select)
        rung = dispatch.ring(connection, settings().in_flight)
    if not opened:
        say(f"{name} is being pulled already." if runs else f"There is nothing to pull for {name}.")
    ring(rung)
    told(account, runs, wait, output)


def stop_if_stopped(account: Row[Any]) -> None:
    """Failing where the connection does nothing now, with what helps."""
    ways = {"paused": f"`tidelock resume {account.name}`", "failing": f"mend it, then `tidelock check {account.name}`"}
    if account.state in ways:
        raise Failing(f"{account.name} is {account.state} ({account.reason}): {ways[account.state]}")


def ring(rung: list[tuple[int, str]]) -> None:
    """Send the messages; BrokerError where they can't be sent now. The rows stand, and are rung for later."""
    try:
        send(rung)
    except (OperationalError, RedisError, OSError) as error:
        raise BrokerError(
            f"the broker {shown(app.conf.broker_url)} does not answer ({error}): what you asked for is written down, "
            "and begins when it is back. Start it, or change BROKER_URL and REDIS_URL"
        ) from error


def told(account: Row[Any], runs: list[int], wait: bool, output: Form) -> None:
    """Watch the runs, or not, and tell of them; Failing where one failed or waits for a person."""
    if not runs or not wait:
        with read() as connection:
            found = progress.of(connection, runs)
    else:
        found = watch(account.id, runs)
    table(output, map(_row, found), _COLUMNS, "No run was opened.")
    wrong = [one for one in found if one.state in ("failed", "held") or (wait and one.open)]
    if wrong:
        with read() as connection:
            now_ = connections.get(connection, account.id)
        if now_.state == "failing":
            raise Refused(f"{account.name} is failing: {now_.reason}")
        raise Failing(f"{title(wrong[0])} is {wrong[0].state}: {wrong[0].reason}")


def _row(one: Progress) -> dict[str, Any]:
    seconds = (one.closed_at - one.opened_at).total_seconds() if one.closed_at else None
    counts = {name: one.counts.get(name, 0) for name in (*KINDS, "pages", "requests")}
    return {
        "run": one.run, "stream": title(one), "state": one.state, "records": records(one), **counts,
        "seconds": seconds and f"{seconds:.1f}", "reason": waits(one),
    }  # fmt: skip
