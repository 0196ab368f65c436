"""The commands by name, and what becomes of their errors: one sentence and an exit code, never a traceback."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import version
from typing import Annotated, Any

import typer
from sqlalchemy.exc import OperationalError
from typer.core import TyperGroup
from typer.main import get_command

from connectors import TidelockError
from sync.cli import exits, local
from sync.cli.output import say
from sync.log import configure
from sync.settings import settings
from sync.store.database import engine
from sync.store.migrations import unreachable

COMMANDS: Mapping[str, str] = {
    "init": "sync.cli.init:init",
    "connectors": "sync.cli.catalog:connectors",
    "new-connector": "sync.cli.catalog:new_connector",
    "connect": "sync.cli.connect:connect",
    "disconnect": "sync.cli.disconnect:disconnect",
    "apply": "sync.cli.apply:apply",
    "validate": "sync.cli.apply:validate",
    "check": "sync.cli.check:check",
    "discover": "sync.cli.check:discover",
    "run": "sync.cli.run:run",
    "backfill": "sync.cli.run:backfill",
    "status": "sync.cli.status:status",
    "runs": "sync.cli.status:runs",
    "errors": "sync.cli.letters:errors",
    "replay": "sync.cli.letters:replay",
    "drop": "sync.cli.letters:drop",
    "approve": "sync.cli.letters:approve",
    "webhooks": "sync.cli.webhooks:app",
    "pause": "sync.cli.pause:pause",
    "resume": "sync.cli.pause:resume",
    "state": "sync.cli.state:app",
    "schema": "sync.cli.schema:app",
    "doctor": "sync.cli.doctor:doctor",
    "up": "sync.cli.up:up",
}


class Commands(TyperGroup):
    """Loads a command's module when it is called, and turns errors into sentences."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        found = getattr(import_module(module), attribute)
        if not isinstance(found, typer.Typer):
            single = typer.Typer(add_completion=False)
            single.command(cmd_name)(found)
            found = single
        command = get_command(found)
        command.name = cmd_name
        return command

    def invoke(self, ctx: Any) -> Any:
        try:
            configure(settings().log_level if settings().log_level != "info" else "warning", settings().log_format)
            local.adopt()
            return super().invoke(ctx)
        except TidelockError as error:
            say(sentence(error))
            raise typer.Exit(exits.code(error)) from error
        except OperationalError as error:
            say(sentence(unreachable(engine(), error)))
            raise typer.Exit(exits.NO_DATABASE) from error
        except KeyboardInterrupt as stopped:
            raise typer.Exit(exits.INTERRUPTED) from stopped


def sentence(error: Exception) -> str:
    """The error as a line of its own."""
    return f"error: {str(error).strip().rstrip('.') or type(error).__name__}."


app = typer.Typer(cls=Commands, add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)


def _version(asked: bool) -> None:
    if asked:
        print(f"tidelock {version('tidelock')}")
        raise typer.Exit


@app.callback()
def tidelock(
    show: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say which it is.")] = False,
) -> None:
    """Keeps a local SQL database in step with third-party systems.

    Every command takes --output json, and says by its exit code what went wrong: see docs/cli.md.
    """
