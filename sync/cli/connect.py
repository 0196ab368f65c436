"""`tidelock connect`: an account becomes a connection."""

from dataclasses import replace
from typing import Annotated

import typer
from typer import Argument, Option

from connectors import seconds
from sync.cli.output import Form, Output, emit, say
from sync.cli.trial import tried
from sync.connecting import apply, checked
from sync.declared import NAME, DeclarationError, Declared
from sync.registry import load
from sync.settings import environment
from sync.store.migrations import require


def connect(
    name: Annotated[str, Argument(help="What the connection is called, for example acme-github.")],
    connector: Annotated[str, Option(help="One of `tidelock connectors`.")],
    option: Annotated[list[str] | None, Option(help="An option of the connector, name=value.")] = None,
    secret: Annotated[list[str] | None, Option(help="name=value, or name=env:VARIABLE; asked for if missing.")] = None,
    schedule: Annotated[str | None, Option(help='"every 15 minutes" or cron, "30 2 * * *".')] = None,
    zone: Annotated[str, Option(help="The time zone in which cron hours are read.")] = "UTC",
    jitter: Annotated[str, Option(help="Due times are shifted at random by up to this.")] = "0 seconds",
    owner: Annotated[str | None, Option(help="The team that is told of failures.")] = None,
    streams: Annotated[str | None, Option(help="The streams to sync, a,b; all if left out.")] = None,
    parallel: Annotated[int | None, Option(min=1, max=256, help="How many slices run at once.")] = None,
    objective: Annotated[str | None, Option(help='When its data counts as late: "1 hour".')] = None,
    check: Annotated[bool, Option(help="Try the credential first.")] = True,
    output: Output = Form.TABLE,
) -> None:
    """Connect an account: its options, secrets, schedule and owner. Again with the same name, it changes them."""
    require()
    given = {one: _resolved(one, value) for one, value in pairs("--secret", secret or []).items()}
    missing = [one for one in load(connector).auth.secrets if one not in given]
    wanted = checked(
        Declared(
            name=_name(name),
            connector=connector,
            options=pairs("--option", option or []),
            secrets={**given, **dict.fromkeys(missing, "asked for once the rest is right")},
            schedules={"": schedule} if schedule else {},
            zone=zone,
            jitter=seconds(jitter),
            owner=owner,
            streams=tuple(part.strip() for part in streams.split(",")) if streams else None,
            parallel=parallel,
            objective=round(seconds(objective)) if objective else None,
        )
    )
    wanted = replace(wanted, secrets={**given, **{one: _asked(connector, one) for one in missing}})
    done, differs = tried(wanted) if check else apply(wanted)
    emit(output, {"name": name, "connector": connector, "done": done, "changed": differs})
    if output is Form.TABLE:
        say(f"{name}: {done}{' (' + ', '.join(differs) + ')' if differs else ''}. Next: `tidelock run {name}`.")


def pairs(flag: str, given: list[str]) -> dict[str, str]:
    """name=value texts as a mapping; DeclarationError for a text that is none, without quoting its value."""
    found = {}
    for text in given:
        name, mark, value = text.partition("=")
        if not mark or not name:
            raise DeclarationError(f"{flag} takes name=value" + (f", not {text!r}" if flag == "--option" else ""))
        found[name.strip()] = value
    return found


def _name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise DeclarationError(f"{name!r} is no name for a connection: lower-case letters, digits, - and _, up to 63")
    return name


def _asked(connector: str, secret: str) -> str:
    """The secret, asked for without showing it."""
    return str(typer.prompt(f"{connector} {secret}", hide_input=True, err=True))


def _resolved(name: str, value: str) -> str:
    """The secret itself, where it was given as env:VARIABLE."""
    scheme, _, variable = value.partition(":")
    if scheme != "env":
        return value
    found = environment().get(variable)
    if not found:
        raise DeclarationError(f"--secret {name}: the environment variable {variable} is not set")
    return found
