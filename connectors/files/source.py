"""What one stream reads, as the connection's configuration says it."""

import codecs
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

from connectors import ContractError, Field, Json, Kind

FORMAT_OF = {"csv": "csv", "tsv": "csv", "txt": "csv", "jsonl": "jsonl", "ndjson": "jsonl"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The settings of a stream of rows.

    glob       which files, relative to the folder: "orders/*.csv", "**/*.jsonl"
    key        the column that names a record, or several
    columns    columns to have beside the payload, and their kind: {amount: number, placed_at: iso};
               in CSV, where all is text, integers, numbers, booleans and JSON become such
    format     csv or jsonl; "" = by the file's suffix
    delimiter  between the fields of CSV; "" = a tab in .tsv, else a comma
    header     the columns' names, for CSV that has no line of them
    encoding   of the text
    """

    name: str
    glob: str
    key: str | tuple[str, ...]
    columns: Mapping[str, str]
    format: str = ""
    delimiter: str = ""
    header: tuple[str, ...] = ()
    encoding: str = "utf-8"

    @property
    def fields(self) -> tuple[Field, ...]:
        return tuple(
            Field(path, Kind(kind), name=re.sub(r"\W+", "_", path).strip("_").lower())
            for path, kind in self.columns.items()
        )

    def format_of(self, path: str) -> str:
        """The format of a file; ContractError where neither the settings nor its suffix say it."""
        found = self.format or FORMAT_OF.get(_suffix(path))
        if found is None:
            raise ContractError(f"option streams.{self.name}.format: {path} ends in none of {_listed(FORMAT_OF)}")
        return found

    def delimiter_of(self, path: str) -> str:
        return self.delimiter or ("\t" if _suffix(path) == "tsv" else ",")


def source(name: str, settings: Json) -> Source:
    """The source that settings describe; ContractError names the setting that is wrong."""
    if not isinstance(settings, Mapping) or not {"glob", "key"} <= settings.keys():
        raise ContractError(f"option streams.{name}: give glob and key, as in {{glob: '*.csv', key: id}}")
    known = {one.name for one in fields(Source)} - {"name"}
    for setting, value in settings.items():
        if setting not in known:
            raise ContractError(f"option streams.{name}.{setting}: there is no such setting, only {_listed(known)}")
        wish, holds = _WISHES[setting]
        if not holds(value):
            raise ContractError(f"option streams.{name}.{setting}: {value!r} is not {wish}")
    tuples = {one: tuple(value) for one, value in settings.items() if isinstance(value, list)}
    return Source(**{"name": name, "columns": {}, **settings, **tuples})


def _is_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and bool(value) and all(isinstance(one, str) and one for one in value)


def _is_kinds(value: Any) -> bool:
    return isinstance(value, Mapping) and all(kind in set(Kind) for kind in value.values())


def _is_encoding(value: Any) -> bool:
    """One in which a line break is the byte of a line break."""
    try:
        codecs.lookup(str(value))
        return "\r\n".encode(value) == b"\r\n"
    except (LookupError, TypeError):
        return False


_WISHES: Mapping[str, tuple[str, Callable[[Any], bool]]] = {
    "glob": ("a pattern such as '*.csv'", lambda value: isinstance(value, str) and bool(value)),
    "key": ("a column or a list of columns", lambda value: _is_names(value) or _is_names([value])),
    "columns": (f"a mapping of columns to {', '.join(Kind)}", _is_kinds),
    "format": ("csv or jsonl", lambda value: value in {"csv", "jsonl"}),
    "delimiter": ("one character", lambda value: isinstance(value, str) and len(value) == 1),
    "header": ("a list of names", _is_names),
    "encoding": ("an encoding such as utf-8 or cp1252", _is_encoding),
}


def _suffix(path: str) -> str:
    return path.rpartition(".")[2].lower()


def _listed(names: Any) -> str:
    return ", ".join(sorted(names))
