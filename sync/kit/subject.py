"""What the contract suite looks at: every list of a connector, with a door to its recordings."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from connectors import Ask, Connector, Json, Page, Rows, Stream, TidelockError
from sync.files import FilesApi
from sync.kit.recording import Exchange, Recordings, Response, load
from sync.kit.replay import Replay, Unrecorded
from sync.lists import DELETES, FEED, ROWS, list_of
from sync.registry import load as load_connector

MOST = 64 * 1024 * 1024
TOO_MANY = 10_000  # pages of a recording: it goes in circles


@dataclass(frozen=True, slots=True)
class Step:
    """One page of a walk: what was asked for, the raw rows, and the next page's token."""

    ask: Ask
    rows: tuple[bytes, ...]
    next: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """One list of one connector: a stream's rows, its tombstones, or the feed."""

    name: str
    connector: Connector
    stream: Stream
    kind: str
    recordings: Recordings

    def __str__(self) -> str:
        return f"{self.name}-{self.stream.name}" + (f"-{self.kind}" if self.kind == DELETES else "")

    @property
    def is_folder(self) -> bool:
        """Its vendor is a folder of files: there are no answers to record."""
        return self.connector.base_url.startswith("file:")

    @property
    def advice(self) -> str:
        return f"record it: tidelock check CONNECTION --record, into {self.recordings.folder}"

    def door(self, **changes: Any) -> Any:
        """A fresh door to the vendor as recorded."""
        if self.is_folder:
            place = self.connector.base_url.removeprefix("file:").format_map(self.recordings.config)
            return FilesApi(str(self.recordings.folder / place), most=MOST)
        return Replay(self.recordings.exchanges, self.connector.rules, **changes)

    def asks(self) -> tuple[Ask, ...]:
        """The first ask of every partition that is recorded."""
        config = self.recordings.config
        whole = (Ask(config=config),) if self.stream.parent is None else tuple(self._partitions(config))
        return tuple(ask for ask in whole if self._is_recorded(ask))

    @property
    def is_recorded(self) -> bool:
        """Whether there is a recording; one that can't be read is for the tests to complain of."""
        try:
            return bool(self.asks())
        except TidelockError:
            return True

    def _partitions(self, config: Mapping[str, Json]) -> Iterator[Ask]:
        above = replace(self, stream=list_of(self.connector, config, str(self.stream.parent), ROWS), kind=ROWS)
        for row in above.rows():
            if self.stream.where is None or self.stream.where(row):
                yield Ask(config=config, parent={name: row[name] for name in self.stream.parent_fields})

    def _is_recorded(self, ask: Ask) -> bool:
        try:
            self.pull(self.door(), ask)
        except Unrecorded:
            return False
        return True

    def pull(self, api: Any, ask: Ask) -> Page:
        return self.stream.pull(api, self.stream, ask)

    def walk(self, ask: Ask, api: Any = None) -> list[Step]:
        """Every page from an ask on, as far as it is recorded."""
        api = api or self.door()
        steps: list[Step] = []
        while len(steps) < TOO_MANY:
            try:
                page = self.pull(api, ask)
            except Unrecorded:
                if not steps:
                    raise
                return steps
            steps.append(Step(ask, tuple(map(bytes, Rows.of(page.rows).raws)), page.next))
            if page.next is None:
                return steps
            ask = replace(ask, page=page.next)
        return steps

    def walks(self) -> list[list[Step]]:
        """A walk through every partition that is recorded."""
        return [self.walk(ask) for ask in self.asks()]

    def rows(self) -> list[Any]:
        """Every recorded record, decoded; those that are no records are left out."""
        rows = [msgspec.json.decode(raw) for walk in self.walks() for step in walk for raw in step.rows]
        return [row for row in rows if isinstance(row, dict)]

    def first(self) -> tuple[Ask, Exchange]:
        """The first ask, and the exchange that answers it."""
        ask = self.asks()[0]
        door = self.door()
        self.pull(door, ask)
        return ask, next(one for one in reversed(self.recordings.exchanges) if one.request == door.asked[-1])


def subjects(name: str, connector: Connector, folder: Path) -> Iterable[Subject]:
    """Every list of a connector, with its recordings. What only a webhook brings is none."""
    recordings = load(folder / name)
    for stream in connector.streams_for(recordings.config):
        if not stream.pulled:
            continue
        yield _subject(name, connector, stream.name, ROWS, recordings)
        if stream.tombstones:
            yield _subject(name, connector, stream.name, DELETES, recordings)
    if connector.feed:
        yield _subject(name, connector, "", FEED, recordings)


@dataclass(frozen=True, slots=True)
class Declared:
    """A connector, or why it can't be loaded."""

    name: str
    folder: Path

    def __str__(self) -> str:
        return self.name

    @property
    def connector(self) -> Connector:
        return load_connector(self.name)

    def subjects(self) -> list[Subject]:
        try:
            return list(subjects(self.name, self.connector, self.folder))
        except TidelockError:
            return []  # the test of the declaration says why


def _subject(name: str, connector: Connector, stream: str, kind: str, recordings: Recordings) -> Subject:
    described = list_of(connector, recordings.config, stream, kind)
    return Subject(name=name, connector=connector, stream=described, kind=kind, recordings=recordings)


def altered(change: Callable[[bytes], bytes], **headers: str) -> Callable[[Response], Response]:
    """An alteration of a replay: the body as `change` makes it."""
    return lambda response: replace(response, body=change(response.body), headers={**response.headers, **headers})
