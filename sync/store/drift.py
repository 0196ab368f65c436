"""Drift: a vendor's records stop looking as they did. Top-level fields and their JSON types, by samples.

Sampled are the first and the last changed record of a page, and every value that its declared column couldn't
hold. What is known is kept in the process, so an unchanged shape costs no query.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, select

from models import Drift
from sync.store.columns import UNREADABLE, Misfit, Raw
from sync.store.database import engine, insert_into, now, read, write
from sync.store.identity import Batch

_drift = Drift.__table__
_any = msgspec.json.Decoder(dict[str, Any])
_MOST_FIELDS = 300  # a record keyed by ids has any number
_MOST_SHAPES = 2000
_USUAL = 10  # samples with a field, before its absence means anything
_MISSING_AFTER = 100  # samples in a row
UNFIT = "unfit"  # beside the kinds of a field: its column could not hold a value
_KINDS: Mapping[type, str] = {
    type(None): "null", bool: "boolean", int: "number", float: "number", str: "text", list: "list", dict: "object",
}  # fmt: skip


@dataclass(slots=True)
class Shape:
    """What is known of one stream of one connection: the kinds of each field, and how often it was sampled.

    gaps   samples in a row without the field
    """

    kinds: dict[str, frozenset[str]]
    samples: int = 0
    hits: dict[str, int] = field(default_factory=dict)
    gaps: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class News:
    """What is new about a field: `what` is new | type | missing, or "" where it only rounds off what is known."""

    path: str
    kinds: frozenset[str]
    what: str
    detail: str = ""


_shapes: dict[tuple[str, int, str], Shape] = {}


def observe(
    connection_id: int,
    stream: str,
    batch: Batch,
    misfits: Iterable[Misfit] = (),
    target: Engine | None = None,
) -> list[News]:
    """Compare samples of a batch that was stored with what is known, and note what is new, of another type, or
    missing: in a transaction of its own, so that it belongs after the one that stored the batch."""
    if not len(batch):
        return []
    target = target or engine()
    shape = _shape((str(target.url), connection_id, stream), target)
    samples = _samples(batch.raws)
    unfit = {misfit.field.path: misfit for misfit in misfits}
    found = [*_news(shape, _kinds_in(samples, unfit.values()), unfit), *_missing(shape, samples)]
    if found:
        with write(target) as connection:
            for news in found:
                _note(connection, connection_id, stream, news)
    shape.kinds |= {news.path: news.kinds for news in found}
    return found


def _shape(place: tuple[str, int, str], target: Engine) -> Shape:
    """What this process knows, and at first what the database knows."""
    if place not in _shapes:
        held = _drift.c
        query = select(held.path, held.kinds).where(held.connection_id == place[1], held.stream == place[2])
        with read(target) as connection:
            kinds = {row.path: frozenset(row.kinds.split("|")) for row in connection.execute(query)}
        if len(_shapes) >= _MOST_SHAPES:
            _shapes.clear()
        _shapes[place] = Shape(kinds)
    return _shapes[place]


def _samples(raws: Sequence[Raw]) -> list[dict[str, Any]]:
    found = []
    for raw in raws[:1] if len(raws) == 1 else (raws[0], raws[-1]):
        try:
            found.append(_any.decode(raw))
        except UNREADABLE:
            continue  # a number out of range somewhere: no sample, and the misfit of its column says so
    return found


def _kinds_in(samples: Iterable[Mapping[str, Any]], misfits: Iterable[Misfit]) -> dict[str, frozenset[str]]:
    found: dict[str, frozenset[str]] = {}
    for sample in samples:
        for path, value in sample.items():
            found[path] = found.get(path, frozenset()) | {_KINDS[type(value)]}
    for misfit in misfits:
        found[misfit.field.path] = found.get(misfit.field.path, frozenset()) | {misfit.kind, UNFIT}
    return found


def _news(shape: Shape, seen: Mapping[str, frozenset[str]], unfit: Mapping[str, Misfit]) -> Iterator[News]:
    """The first record ever seen is no news, and neither is null; what a column couldn't hold always is, once."""
    room = _MOST_FIELDS - len(shape.kinds)
    for path, kinds in seen.items():
        known = shape.kinds.get(path)
        if path in unfit and kinds - (known or frozenset()):
            yield News(path, kinds | (known or frozenset()), "type", unfit[path].reason)
        elif known is None and room > 0:
            room -= 1
            yield News(path, kinds, "new", f"a new field: {_listed(kinds)}") if shape.kinds else News(path, kinds, "")
        elif known is not None and kinds - known:
            silent = kinds - known == {"null"} or known == {"null"}
            detail = f"was {_listed(known)}, now also {_listed(kinds - known)}"
            yield News(path, known | kinds, "") if silent else News(path, known | kinds, "type", detail)


def _missing(shape: Shape, samples: Iterable[Mapping[str, Any]]) -> Iterator[News]:
    """A field that most samples had (and at least ten) is missing when a hundred in a row are without it."""
    for sample in samples:
        shape.samples += 1
        for path in shape.kinds.keys() | sample.keys():
            shape.hits[path] = shape.hits.get(path, 0) + (path in sample)
            shape.gaps[path] = 0 if path in sample else shape.gaps.get(path, 0) + 1
            before = shape.samples - shape.gaps[path]
            usual = shape.hits[path] >= max(_USUAL, before / 2)
            if shape.gaps[path] == _MISSING_AFTER and usual:
                yield News(path, shape.kinds[path], "missing", f"not in the last {_MISSING_AFTER} samples")


def _listed(kinds: Iterable[str]) -> str:
    return "|".join(sorted(kinds))


def _note(connection: Connection, connection_id: int, stream: str, news: News) -> None:
    statement = insert_into(connection, _drift).values(
        connection_id=connection_id, stream=stream, path=news.path.replace("\0", ""), kinds=_listed(news.kinds),
        news=news.what, detail=news.detail, first_at=now(), last_at=now(),
    )  # fmt: skip
    new = statement.excluded
    changes = {"kinds": new.kinds, "last_at": new.last_at}
    if news.what:
        changes |= {"news": new.news, "detail": new.detail}
    connection.execute(
        statement.on_conflict_do_update(index_elements=["connection_id", "stream", "path"], set_=changes)
    )
