"""Cutting the lines of a piece into rows: CSV (RFC 4180) and JSON Lines (https://jsonlines.org)."""

import csv
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from connectors import ContractError, Json, Kind
from connectors.files.piece import LONGEST, Piece, is_text
from connectors.files.source import Source

ROWS = 500  # a page has

# For the whole process, which has no other use of csv: the largest record is bounded by the piece.
csv.field_size_limit(LONGEST)


@dataclass(frozen=True, slots=True)
class Cut:
    """The rows of the lines that were taken, and the columns' names for the lines that follow."""

    rows: list[Any]
    header: tuple[str, ...] = ()


def cut_jsonl(piece: Piece, source: Source, path: str, final: bool) -> Cut:  # noqa: FBT001
    """A line, a row; blank lines are none."""
    rows: list[Any] = []
    while len(rows) < ROWS and piece.taken < len(piece.lines):
        start = piece.taken
        line = next(piece).strip()
        if not line:
            continue
        raw = line.encode("utf-8", "surrogateescape")
        wrong = _not_json(raw)
        rows.append(malformed(piece, start, wrong) if wrong else msgspec.Raw(raw))
    return Cut(rows)


def _not_json(raw: bytes) -> str:
    try:
        msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return str(error)
    return ""


def cut_csv(piece: Piece, source: Source, path: str, final: bool) -> Cut:  # noqa: FBT001
    """Rows are mappings of the header's names. `final`: a larger piece can't be had.

    A quote that isn't closed within the largest piece spoils its own line only.
    """
    reader = csv.reader(piece, delimiter=source.delimiter_of(path), strict=True)
    header = piece.place.header or source.header
    row_of = _rower(header, source)
    rows: list[Any] = []
    while len(rows) < ROWS:
        start = piece.taken
        try:
            values = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            if piece.ran_out and not piece.at_end and (start or not final):
                piece.rewind(start)
                break
            piece.rewind(start + 1 if piece.ran_out else piece.taken)
            rows.append(malformed(piece, start, str(error)))
            continue
        if not values:
            continue
        if not header:
            header = _header(values, path)
            row_of = _rower(header, source)
            continue
        wrong = _wrong(values, header, piece, start)
        rows.append(malformed(piece, start, wrong) if wrong else row_of(values))
    return Cut(rows, header)


def _header(values: list[str], path: str) -> tuple[str, ...]:
    """The names, those that are empty by their number; ContractError where two are the same."""
    names = [name.strip() or f"column_{number}" for number, name in enumerate(values, 1)]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise ContractError(f"{path}: its first line names the column {twice[0]!r} twice")
    return tuple(names)


def _wrong(values: list[str], header: tuple[str, ...], piece: Piece, start: int) -> str:
    if len(values) != len(header):
        return f"{len(values)} fields where the header has {len(header)}"
    if not piece.is_text and not is_text(piece.since(start), piece.encoding):
        return f"not {piece.encoding}"
    return ""


def _rower(header: tuple[str, ...], source: Source) -> Callable[[list[str]], dict[str, Json]]:
    typed = [(name, _TYPED[Kind(kind)]) for name, kind in source.columns.items() if Kind(kind) in _TYPED]
    typed = [(name, convert) for name, convert in typed if name in header]

    def row(values: list[str]) -> dict[str, Json]:
        made: dict[str, Json] = dict(zip(header, values, strict=True))
        for name, convert in typed:
            made[name] = convert(made[name])
        return made

    return row


def _typed(convert: Callable[[str], Json]) -> Callable[[str], Json]:
    """Nothing is null; what isn't of the kind stays as it is, to be reported by the column."""

    def typed(value: str) -> Json:
        try:
            return convert(value) if value else None
        except (ValueError, KeyError):
            return value

    return typed


def _integer(value: str) -> int:
    if not value.strip().lstrip("+-").isdecimal():
        raise ValueError(value)
    return int(value)


def _number(value: str) -> float:
    number = float(value)
    if "_" in value or not math.isfinite(number):
        raise ValueError(value)
    return number


_BOOLEANS = {
    "true": True,
    "yes": True,
    "1": True,
    "t": True,
    "false": False,
    "no": False,
    "0": False,
    "f": False,
}
_TYPED: Mapping[Kind, Callable[[str], Json]] = {
    Kind.INTEGER: _typed(_integer),
    Kind.NUMBER: _typed(_number),
    Kind.BOOLEAN: _typed(lambda value: _BOOLEANS[value.lower()]),
    Kind.JSON: _typed(msgspec.json.decode),
    Kind.ISO: _typed(str),
    Kind.EPOCH: _typed(str),
    Kind.EPOCH_MS: _typed(str),
}


def malformed(piece: Piece, start: int, wrong: str, raw: bytes | None = None) -> str:
    """What stands in for a row that can't be read: a sentence with the raw text, which is no record."""
    text = (piece.since(start) if raw is None else raw).decode(piece.encoding, "backslashreplace")
    return f"line {piece.place.line + start}: {wrong}: {text.rstrip()}"
