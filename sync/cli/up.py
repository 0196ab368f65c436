"""`tidelock up`: everything on this machine, with one command."""

import contextlib
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated

from typer import Exit, Option

from sync.cli import exits, local
from sync.cli.demo import Demo, free_port
from sync.cli.first import first_sync, say_where
from sync.cli.output import Form, Output, say
from sync.embedded import Embedded, start_redis
from sync.health import redis_problem
from sync.settings import environment, settings
from sync.store import migrations
from sync.store.database import engine
from sync.supervisor import RELEASE, Supervisor, parse
from sync.vault import load_keys

GRACE = 25.0  # seconds that the processes get to end what they are at
SLICE = "10"  # seconds that a slice works before it makes room: Ctrl-C waits for its end
_TAIL = 5  # lines of a log
_PORT = 8700


def up(
    demo: Annotated[bool, Option(help="Start the demo vendor too, connect it and sync it.")] = False,
    once: Annotated[bool, Option(help="End after the first sync of the demo.")] = False,
    output: Output = Form.TABLE,
) -> None:
    """Start everything: an embedded broker where none is set, workers, the clock and the web page. Ctrl-C ends it."""
    home = settings().home
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    local.demand_alone(home)
    load_keys(settings())
    with migrations.reaching(engine()):
        migrations.upgrade()
    with _interruptible(), contextlib.ExitStack() as stack:
        broker = stack.enter_context(_broker(home))
        variables = {**_reached(broker), "PORT": _port()}
        page = f"http://127.0.0.1:{variables['PORT']}/"
        playing = Demo.at(home) if demo or once else None
        if playing:
            variables[local.PRIVATE] = ",".join(filter(None, [environment().get(local.PRIVATE), "127.0.0.0/8"]))
        supervisor = _supervisor(variables, playing)
        stack.callback(supervisor.stop)
        supervisor.start()
        local.announce(home, variables)
        stack.callback(local.withdraw, home)
        if playing:
            account, before = playing.connect()
            done = first_sync(playing, account, before, supervisor, output)
            say_where("" if once else page)
            if once or not done:
                raise Exit(exits.OK if done else exits.FAILING)
        say(f"Running: {page}, logs in {home / 'logs'}. Ctrl-C ends it.")
        with contextlib.suppress(KeyboardInterrupt):
            while not supervisor.stopping.wait(0.5):
                if broker:
                    broker.tend()
                supervisor.poll()


def _port() -> str:
    """The web page's port: PORT, else the usual one, else any that is free."""
    return environment().get("PORT") or str(free_port(_PORT))


@contextlib.contextmanager
def _broker(home: Path) -> Iterator[Embedded | None]:
    """The embedded broker while it runs; None where the user's own is set, which must answer."""
    own = environment()
    if own.get("REDIS_URL") or own.get("BROKER_URL"):
        for url, variable in ((settings().redis_url, "REDIS_URL"), (settings().broker_url, "BROKER_URL")):
            problem = redis_problem(url)
            if problem:
                raise exits.BrokerError(f"{problem}: start it, change {variable}, or set neither for an embedded one")
        yield None
        return
    with start_redis(home / "redis") as embedded:
        yield embedded


def _reached(broker: Embedded | None) -> dict[str, str]:
    return {"REDIS_URL": broker.redis_url, "BROKER_URL": broker.broker_url} if broker else {}


def _supervisor(variables: Mapping[str, str], playing: Demo | None) -> Supervisor:
    named = parse((migrations.ROOT / "Procfile").read_text(encoding="utf-8"))
    processes = {name: _at_once(command) for name, command in named.items() if name != RELEASE}
    return Supervisor(
        processes={**processes, **(playing.processes() if playing else {})},
        env={"TIDELOCK_SLICE_SECONDS": SLICE, **environment(), **_absolute(), **variables},
        logs=settings().home.absolute() / "logs",
        folder=migrations.ROOT,
        grace=GRACE,
        say=_told,
    )


def _told(name: str, line: str) -> None:
    """A process ended by itself: that, and the end of its log."""
    log = settings().home / "logs" / f"{name}.log"
    tail = log.read_text(errors="replace").splitlines()[-_TAIL:] if log.is_file() else []
    say("\n".join([f"{name}: {line}", *(f"    {said}" for said in tail)]))


def _at_once(command: str) -> str:
    """An idle worker ends at once, a busy one with its slice; on a server it rather gives up what it holds."""
    return command.replace("REMAP_SIGTERM=SIGQUIT ", "")


def _absolute() -> dict[str, str]:
    """The processes work in the project's folder, wherever we were started."""
    return {
        "TIDELOCK_HOME": str(settings().home.absolute()),
        "DATABASE_URL": engine().url.set(database=_path()).render_as_string(hide_password=False),
    }


def _path() -> str | None:
    database = engine().url.database
    if engine().dialect.name != "sqlite" or not database or database == ":memory:":
        return database
    return str(Path(database).absolute())


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    """SIGTERM ends us as Ctrl-C does: in order, with nothing left behind."""

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
