"""The command line in this process, against a real database, a real Redis and the demo vendor."""

import json
from dataclasses import dataclass
from typing import Any

import pytest
from typer.testing import CliRunner

from alembic import command
from sync import settings
from sync.cli import commands, run
from sync.kit.vendor.demo import KEY, demo_vendor
from sync.kit.vendor.limits import Limit
from sync.kit.vendor.server import serve
from sync.store import migrations
from sync.store.database import engine
from tests.world import World

RUNNER = CliRunner()


@dataclass(frozen=True)
class Said:
    """What a command printed, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)


@dataclass(frozen=True)
class Cli:
    """Calls commands; `world` is what they work on."""

    world: World
    url: str

    def __call__(self, *words: str, **more: Any) -> Said:
        done = RUNNER.invoke(commands.app, list(words), **more)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Said(done.exit_code, done.stdout, done.stderr)

    def connect(self, *words: str, name: str = "acme") -> Said:
        """Connect the demo vendor with the right secret."""
        place = ("--connector", "demo", "--option", f"url={self.url}", "--secret", f"secret_key={KEY}")
        return self("connect", name, *place, *words)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Logging stays pytest's."""
    monkeypatch.setattr(commands, "configure", lambda level, form: None)
    monkeypatch.setattr(settings, "_assumed", {})


@pytest.fixture
def vendor():
    with serve(demo_vendor(scale=0.01, limit=Limit(rate=None)), 0) as server:
        yield server


def ready(world, vendor, tmp_path, monkeypatch):
    """Migrated, in an empty folder, with a worker who does at once what is rung for."""
    command.stamp(migrations._config(engine().url.render_as_string(hide_password=False)), "head")
    monkeypatch.chdir(tmp_path)

    def send(rung):
        world.sent.extend(rung)
        world.settle()

    monkeypatch.setattr(run, "send", send)
    return Cli(world, vendor.url)


@pytest.fixture
def cli(sqlite_world, vendor, tmp_path, monkeypatch):
    return ready(sqlite_world, vendor, tmp_path, monkeypatch)


@pytest.fixture
def cli_on_both(world, vendor, tmp_path, monkeypatch):
    """The same on each kind of database."""
    return ready(world, vendor, tmp_path, monkeypatch)
