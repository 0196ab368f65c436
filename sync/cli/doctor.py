"""`tidelock doctor`: is all there that it takes? Each line says what is wrong, and what mends it."""

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy import Connection, select
from sqlalchemy.exc import DBAPIError
from typer import Exit

from connectors import TidelockError
from sync.app import app
from sync.cli.exits import FAILING
from sync.cli.output import Form, Output, length, table
from sync.health import redis_problem, shown
from sync.settings import settings
from sync.store import connections, letters, migrations, rejects
from sync.store.database import engine, now, read
from sync.vault import load_keys

SKEW = 5.0  # seconds between the database's clock and ours that nobody should worry about
SILENT = 30.0  # seconds without a tick
_PING = 2.0  # seconds for workers to answer


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One thing that was looked at. state: ok | wrong | late (works, but a person should know)."""

    what: str
    state: str
    says: str
    mend: str = ""


def doctor(output: Output = Form.TABLE) -> None:
    """Look at settings, database, Redis, broker, workers, the clock and the dead letters. Exit code 1 where it ails."""
    lines = [line for look in LOOKS for line in look()]
    table(output, map(asdict, lines), ("what", "state", "says", "mend"), "")
    if any(line.state != "ok" for line in lines):
        raise Exit(FAILING)


def _settings() -> Iterator[Line]:
    held = settings()
    yield Line(what="home", state="ok", says=str(held.home.absolute()))
    try:
        load_keys(held)
    except TidelockError as error:
        yield Line(what="key", state="wrong", says=str(error), mend="set TIDELOCK_KEY")
        return
    yield Line(what="key", state="ok", says="TIDELOCK_KEY" if held.key else str(held.home / "key"))


def _database() -> Iterator[Line]:
    where = engine().url.render_as_string()
    try:
        with migrations.reaching(engine()), read() as connection:
            version = ".".join(map(str, migrations.version(connection)))
            skew = _skew(connection)
            migrations.check(connection)
            yield Line(what="database", state="ok", says=f"{where}, version {version}")
            yield skew
            yield from _letters(connection)
    except TidelockError as error:
        ways = {migrations.NotMigratedError: "tidelock init", migrations.UnreachableError: "start it, or DATABASE_URL"}
        yield Line(what="database", state="wrong", says=str(error), mend=ways.get(type(error), "update the server"))
    except DBAPIError as error:
        yield Line(what="database", state="wrong", says=str(error.orig), mend="DATABASE_URL")


def _skew(connection: Connection) -> Line:
    theirs: datetime = connection.execute(select(now())).scalar_one()
    skew = (theirs - datetime.now(UTC)).total_seconds()
    state = "ok" if abs(skew) < SKEW else "wrong"
    said = f"the database's clock is {skew:+.1f} s off ours"
    return Line(what="clocks", state=state, says=said, mend="" if state == "ok" else "set both by NTP")


def _letters(connection: Connection) -> Iterator[Line]:
    failing = [row.name for row in connections.every(connection) if row.state == "failing"]
    stuck = len(letters.slices(connection))
    bad = len(rejects.listed(connection, limit=1000))
    if failing:
        yield Line(what="connections", state="wrong", says=f"failing: {', '.join(failing)}", mend="tidelock check NAME")
    said = f"{stuck} slices and {bad} records wait for a person"
    state = "late" if stuck or bad else "ok"
    yield Line(what="dead letters", state=state, says=said, mend="tidelock errors" if stuck or bad else "")


def _servers() -> Iterator[Line]:
    held = settings()
    for what, url, variable in (("redis", held.redis_url, "REDIS_URL"), ("broker", held.broker_url, "BROKER_URL")):
        problem = redis_problem(url)
        mend = f"start it, or set {variable}; `tidelock up` brings its own" if problem else ""
        yield Line(what=what, state="wrong" if problem else "ok", says=problem or shown(url), mend=mend)
        if problem and what == "broker":
            return
    yield _workers()


def _workers() -> Line:
    try:
        answers = app.control.ping(timeout=_PING)
    except (OperationalError, RedisError, OSError) as error:
        return Line(what="workers", state="wrong", says=str(error), mend="BROKER_URL")
    names = sorted(name for answer in answers for name in answer)
    if names:
        return Line(what="workers", state="ok", says=", ".join(names))
    mend = "tidelock up, or the Procfile's worker and express"
    return Line(what="workers", state="wrong", says="none answers", mend=mend)


def _clock() -> Iterator[Line]:
    """The tick leaves its time in the home folder of the machine on which it runs."""
    file = settings().home / "tick"
    mend = "tidelock up, or the Procfile's beat; it may run on another machine"
    if not file.is_file():
        yield Line(what="clock", state="wrong", says="it never ran on this machine", mend=mend)
        return
    silent = (datetime.now(UTC) - datetime.fromisoformat(file.read_text(encoding="ascii"))).total_seconds()
    state = "ok" if silent < SILENT else "wrong"
    said = f"the last tick was {length(max(silent, 0))} ago"
    yield Line(what="clock", state=state, says=said, mend="" if state == "ok" else mend)


LOOKS: tuple[Callable[[], Iterator[Line]], ...] = (_settings, _database, _servers, _clock)
