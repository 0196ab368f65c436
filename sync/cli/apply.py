"""`tidelock apply` and `tidelock validate`: connections as YAML files."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Exit, Option

from connectors import TidelockError
from sync import registry
from sync.cli.exits import BAD_INPUT
from sync.cli.output import Form, Output, table
from sync.connecting import apply as make_so
from sync.connecting import checked, compare
from sync.declared import DeclarationError, Declared, files, read
from sync.settings import settings
from sync.store.migrations import require

Files = Annotated[list[Path] | None, Argument(help="Files; all of the connections folder if left out.")]


def apply(
    paths: Files = None,
    dry_run: Annotated[bool, Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    output: Output = Form.TABLE,
) -> None:
    """Make the connections what their files say: created, changed or unchanged. Again, it changes nothing.

    All files are checked before any is applied. Nothing is disconnected because its file is gone.
    """
    require()
    wanted = [checked(read(path)) for path in _paths(paths)]
    _distinct(wanted)
    rows = []
    for one in wanted:
        done, differs = compare(one) if dry_run else make_so(one)
        rows.append({"connection": one.name, "state": done, "changed": differs, "file": one.where})
    table(output, rows, ("connection", "state", "changed", "file"), f"There are no files in {settings().connections}.")


def validate(paths: Files = None, output: Output = Form.TABLE) -> None:
    """Check all files, connectors, options, schedules and owners, without database, broker or vendor.

    Exit code 2 where something is wrong.
    """
    rows = [*_connectors(), *_files(_paths(paths))]
    table(output, rows, ("what", "name", "state", "problem"), "There is nothing to validate.")
    if any(row["state"] == "wrong" for row in rows):
        raise Exit(BAD_INPUT)


def _paths(given: list[Path] | None) -> list[Path]:
    return given or files(settings().connections)


def _distinct(wanted: list[Declared]) -> None:
    seen: dict[str, str] = {}
    for one in wanted:
        if one.name in seen:
            raise DeclarationError(f"{one.where} and {seen[one.name]} both declare {one.name}: rename one")
        seen[one.name] = one.where


def _connectors() -> Iterator[dict[str, Any]]:
    for name in registry.names():
        problem = ""
        try:
            registry.load(name)
        except TidelockError as error:
            problem = str(error)
        yield _row("connector", name, problem)


def _files(paths: list[Path]) -> Iterator[dict[str, Any]]:
    seen: list[Declared] = []
    for path in paths:
        problem = ""
        try:
            seen.append(checked(read(path)))
            _distinct(seen)
        except TidelockError as error:
            problem = str(error)
        yield _row("connection", str(path), problem)


def _row(what: str, name: str, problem: str) -> dict[str, Any]:
    return {"what": what, "name": name, "state": "wrong" if problem else "ok", "problem": problem}
