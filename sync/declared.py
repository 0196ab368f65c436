"""Connections as YAML files: read, checked for their form, with the file and the line of what is wrong.

    name: acme-github
    connector: github
    options: {owner: acme}
    secrets: {token: {env: GITHUB_TOKEN}}
    schedule: every 15 minutes

Secrets are references to the environment, never texts. The form is published as docs/connections.schema.json.
"""

import re
from collections.abc import Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml

from connectors import Json, TidelockError, seconds
from sync.settings import environment

NAME = re.compile(r"^[a-z0-9][a-z0-9_-]{0,62}$")
_Lines = dict[tuple[str, ...], int]


class DeclarationError(TidelockError):
    """A connection's file can't be used; the text names the file, the line and the key."""


class FromEnvironment(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """A secret by reference."""

    env: Annotated[str, msgspec.Meta(description="the environment variable that holds the secret", min_length=1)]


class OneStream(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What is particular to one stream."""

    schedule: Annotated[str | None, msgspec.Meta(description="a schedule of its own")] = None


def _about(description: str, **more: Any) -> msgspec.Meta:
    return msgspec.Meta(description=description, **more)


class File(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """One connection: a connector with its options, secrets, schedule and owner."""

    name: Annotated[str, _about("what the connection is called; lower case", pattern=NAME.pattern)]
    connector: Annotated[str, _about("one of `tidelock connectors`", min_length=1)]
    options: Annotated[dict[str, Any], _about("the connector's options")] = {}
    secrets: Annotated[
        dict[str, FromEnvironment], _about("the secrets of the connector and of its webhook, by reference")
    ] = {}
    schedule: Annotated[str | None, _about('"every 15 minutes" or cron, "30 2 * * *"; none = by hand only')] = None
    zone: Annotated[str, _about("the time zone in which cron hours are read")] = "UTC"
    jitter: Annotated[str, _about('due times are shifted at random by up to this: "30 seconds"')] = "0 seconds"
    owner: Annotated[str | None, _about("the team that is told of failures; none = the connector's")] = None
    streams: Annotated[list[str] | dict[str, OneStream | None] | None, _about("the streams to sync; none = all")] = None
    parallel: (
        Annotated[int, _about("how many slices run at once; none = the connector's number", ge=1, le=256)] | None
    ) = None
    objective: Annotated[str | None, _about('when data counts as late: "1 hour"; none = twice the schedule')] = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Declared:
    """A connection as somebody wants it, whether in a file or on the command line.

    secrets    in the clear, from where they were referred to
    streams    the selected streams; None = all
    schedules  rules by stream; "" is that of every stream without one of its own
    jitter, objective   seconds
    where      the file; "" = the command line
    """

    name: str
    connector: str
    options: Mapping[str, Json] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    streams: tuple[str, ...] | None = None
    schedules: Mapping[str, str] = field(default_factory=dict)
    zone: str = "UTC"
    jitter: float = 0.0
    owner: str | None = None
    parallel: int | None = None
    objective: int | None = None
    where: str = ""


def files(folder: Path) -> list[Path]:
    """The connection files of a folder, in order; none where there is no folder."""
    return sorted([*folder.glob("*.yaml"), *folder.glob("*.yml")])


def read(path: Path) -> Declared:
    """The connection that a file declares; DeclarationError names file, line and key."""
    lines: _Lines = {}
    content = _parse(path, lines)
    try:
        form = msgspec.convert(content, File)
    except msgspec.ValidationError as error:
        raise _form_error(path, lines, str(error)) from error
    return _declared(path, lines, form)


def schema() -> dict[str, Any]:
    """The JSON Schema of a connection's file."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **msgspec.json.schema(File)}


def _parse(path: Path, lines: _Lines) -> Any:
    try:
        node = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise DeclarationError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DeclarationError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DeclarationError(f"{path} line {line} is not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise DeclarationError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(node, yaml.MappingNode):
        raise DeclarationError(f"{path} must hold one connection: `name: ...` and `connector: ...`")
    for keys, line in _marked(node, ()):
        if keys in lines:
            raise DeclarationError(f"{path} line {line}: {'.'.join(keys)} is there twice")
        lines[keys] = line
    return _value(path, node)


def _value(path: Path, node: yaml.Node) -> Hashable:
    try:
        value: Hashable = yaml.constructor.SafeConstructor().construct_document(node)
    except yaml.constructor.ConstructorError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise DeclarationError(f"{path} line {line}: {error.problem}") from error
    return value


def _marked(node: yaml.Node, above: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    """Every key of the file, behind those above it, with its line."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            here = (*above, str(key.value))
            yield here, key.start_mark.line + 1
            yield from _marked(value, here)


def _form_error(path: Path, lines: _Lines, said: str) -> DeclarationError:
    """The sentence of msgspec, with the line of the place that it names: "... - at `$.secrets[...]`"."""
    sentence, _, place = said.partition(" - at `$")
    keys = tuple(part for part in place.strip("`").removesuffix("[...]").split(".") if part)
    if "unknown field" in sentence:
        keys = (*keys, sentence.rsplit("`", 2)[1])
    if keys[:1] == ("secrets",):
        sentence = "a secret is a reference to the environment, as in {env: GITHUB_TOKEN}"
    where = f" line {lines[keys]}" if keys in lines else ""
    return DeclarationError(f"{path}{where}: {'.'.join(keys) + ': ' if keys else ''}{sentence}")


def _declared(path: Path, lines: _Lines, form: File) -> Declared:
    single = form.streams if isinstance(form.streams, dict) else {}
    schedules = {name: one.schedule for name, one in single.items() if one and one.schedule}
    return Declared(
        name=form.name,
        connector=form.connector,
        options=form.options,
        secrets=dict(_secrets(path, lines, form.secrets)),
        streams=None if form.streams is None else tuple(form.streams),
        schedules={**({"": form.schedule} if form.schedule else {}), **schedules},
        zone=form.zone,
        jitter=seconds(form.jitter),
        owner=form.owner,
        parallel=form.parallel,
        objective=round(seconds(form.objective)) if form.objective else None,
        where=str(path),
    )


def _secrets(path: Path, lines: _Lines, given: Mapping[str, FromEnvironment]) -> Iterator[tuple[str, str]]:
    variables = environment()
    for name, reference in given.items():
        value = variables.get(reference.env)
        if not value:
            line = lines.get(("secrets", name), 1)
            raise DeclarationError(f"{path} line {line}: the environment variable {reference.env} is not set")
        yield name, value
