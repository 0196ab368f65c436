"""`tidelock connectors` and `tidelock new-connector`."""

import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from typer import Argument

from connectors import Connector, Json, Stream, TidelockError
from sync import registry
from sync.cli.output import Form, Output, emit, say, table
from sync.kit.scaffold import write
from sync.store.migrations import ROOT

_COLUMNS = ("connector", "about", "streams", "options", "secrets")


def connectors(output: Output = Form.TABLE) -> None:
    """List the connectors: what each is, its streams, options (* must be given) and secrets."""
    rows = [_row(name) for name in registry.names()]
    if output is Form.TABLE:
        rows = [
            {**row, "options": [name + "*" * told["required"] for name, told in row["options"].items()]} for row in rows
        ]
    table(output, rows, _COLUMNS, "There are none.")


def new_connector(
    name: Annotated[str, Argument(help="The vendor's name as a Python module: acme.")], output: Output = Form.TABLE
) -> None:
    """Write one module and one test to fill in beside the vendor's documentation."""
    written = [str(path) for path in write(name, ROOT)]
    emit(output, {"name": name, "files": written})
    if output is Form.TABLE:
        say(f"Written: {', '.join(written)}. Next: docs/connectors.md.")


def _row(name: str) -> dict[str, Any]:
    try:
        connector = registry.load(name)
    except TidelockError as error:
        return {"connector": name, "about": str(error), "streams": [], "options": {}, "secrets": []}
    return {
        "connector": name,
        "about": _about(name, connector),
        "streams": [stream.name for stream in _streams(connector)],
        "options": dict(_options(connector)),
        "secrets": list(connector.auth.secrets),
    }


def _marked(options: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    for name, told in options.items():
        yield f"{name}*" if told["required"] else name


def _about(name: str, connector: Connector) -> str:
    """The first line of its module's docstring."""
    module = next((one for one in list(sys.modules.values()) if getattr(one, "connector", None) is connector), None)
    return (inspect.getdoc(module) or name).splitlines()[0] if module else name


def _streams(connector: Connector) -> tuple[Stream, ...]:
    """Its streams; none where they can't be told without a configuration."""
    try:
        return connector.streams_for(_example(connector))
    except (TidelockError, LookupError, TypeError, ValueError, AttributeError):
        return ()


def _example(connector: Connector) -> dict[str, Json]:
    """A configuration to list streams by: defaults, and the option's own name where one must be given."""
    return {name: option.default if option.default is not None else name for name, option in connector.options.items()}


def _options(connector: Connector) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, option in connector.options.items():
        told = {"help": option.help, "required": option.required, "default": option.default}
        yield name, {**told, "choices": list(option.choices)}
