"""Files: the CSV and JSON Lines files of a folder, each line a record.

The connection's configuration says what is read; a stream may gather many files:

    folder: /data/exports
    streams:
      orders:   {glob: "orders/*.csv", key: order_id, columns: {amount: number, placed_at: iso}}
      visitors: {glob: "**/*.jsonl", key: [site, id]}

A file is read again when its time of change moves. Rows that a rewritten file lost are deleted, and with
a file that is removed, all of its rows.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from connectors import Ask, Connector, ContractError, Json, Option, Page, Stream, Sweep, WithParent, integer, text
from connectors.files.pull import rows_of
from connectors.files.source import Source, source

PAGE = 2_000  # files listed at once


class Folder(Protocol):
    """The door to the folder, where paths are relative to it."""

    def list(self, pattern: str) -> list[dict[str, Any]]:
        """The files that match, by path: {"path", "name", "size", "modified"}, the last in microseconds."""


def files(api: Folder, stream: Stream, ask: Ask) -> Page:
    """The files that any stream reads, by path; each says which streams those are."""
    found: dict[str, dict[str, Any]] = {}
    for one in sources(ask.config):
        for file in api.list(one.glob):
            found.setdefault(file["path"], {**file, "streams": []})["streams"].append(one.name)
    paths = sorted(path for path in found if ask.page is None or path > ask.page)
    chosen = paths[:PAGE]
    return Page([found[path] for path in chosen], next=chosen[-1] if len(paths) > PAGE else None)


def streams(config: Mapping[str, Json]) -> tuple[Stream, ...]:
    """The list of files, and below it the streams that the configuration names."""
    return (
        Stream(
            "files",
            "",
            files,
            key="path",
            deletes=(Sweep(every=None, confirm="order"),),
            columns=(text("name"), integer("size"), integer("modified")),
        ),
        *(_rows(one) for one in sources(config)),
    )


def sources(config: Mapping[str, Json]) -> tuple[Source, ...]:
    """What the option `streams` describes; ContractError names the setting that is wrong."""
    described = config.get("streams")
    if not isinstance(described, Mapping) or not described:
        raise ContractError("option streams: name what is to be read, as in {orders: {glob: '*.csv', key: id}}")
    return tuple(source(name, settings) for name, settings in described.items())


def _rows(one: Source) -> Stream:
    return Stream(
        one.name,
        "{path}",
        rows_of(one),
        key=one.key,
        parent="files",
        when="modified",
        where=lambda file: one.name in file["streams"],
        deletes=(Sweep(every=None, confirm="order"), WithParent()),
        columns=one.fields,
    )


connector = Connector(
    base_url="file:{folder}",
    owner="data",
    options={
        "folder": Option("the folder that holds the files", required=True),
        "streams": Option("what is read: name → glob, key, columns, format, ...", required=True),
    },
    streams=streams,
)
