"""Effects: what events do to records, whether a feed's page or a webhook's deliveries brought them.

    effects ─┬─ Upsert, Delete ─▶ told: one batch a stream ──────────┐
             ├─ Refetch ────────▶ asked: once a record, then fetched ┴▶ compared, written, buried
             └─ Pull ───────────▶ the stream is read anew

What is told has the event's own version. What was fetched is the present state: it is newer than whatever was stored
before it was asked for, though the vendor's clock shows whole seconds.
"""

from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum
from typing import Any, TypeAlias

from sqlalchemy import Connection, Row, select

from connectors import ContractError, Delete, Effect, Kind, Pull, Refetch, Rows, Stream, Upsert
from sync.store import absence
from sync.store.database import engine, read
from sync.store.identity import MAX_KEY, Batch, Rejection
from sync.store.mirror import Mirror, mirror
from sync.store.tally import Tally
from sync.store.upsert import known_keys

Key: TypeAlias = tuple[str, str]
"""Stream and key of a record."""

MOST = 10_000  # effects of one event
_ALWAYS = datetime(9999, 1, 1, tzinfo=UTC)
_INT64 = range(-(2**63), 2**63)
_TIMES = frozenset({Kind.ISO, Kind.EPOCH, Kind.EPOCH_MS})


class Trust(Enum):
    """What of an event is stored as it says, and what is only a hint to ask the vendor."""

    EVENTS = "a list that the vendor was asked for"
    VERSIONS = "a delivery: records that carry a version"
    NOTHING = "a delivery that proves nothing"


@dataclass(slots=True)
class Change:
    """What events mean for one record.

    rows   as they tell it, one a batch, in their order
    gone   when they say that it ceased to exist
    as_of  how new the newest of what they tell is; None = they tell nothing
    asks   the vendor must be asked
    """

    rows: list[Batch] = field(default_factory=list)
    gone: int | None = None
    as_of: int | None = None
    asks: bool = False

    @property
    def tells(self) -> bool:
        return bool(self.rows) or self.gone is not None

    def told(self, as_of: int) -> None:
        self.as_of = as_of if self.as_of is None else max(self.as_of, as_of)

    def buried(self, as_of: int) -> None:
        self.gone = as_of if self.gone is None else max(self.gone, as_of)
        self.told(as_of)

    def merge(self, later: "Change") -> None:
        self.rows += later.rows
        self.asks = self.asks or later.asks
        if later.gone is not None:
            self.buried(later.gone)
        if later.as_of is not None:
            self.told(later.as_of)


@dataclass(frozen=True, slots=True)
class Unfit:
    """A record that an event carries and that can't be stored."""

    stream: str
    as_of: int
    rejection: Rejection


@dataclass(slots=True)
class Meaning:
    """What effects come to: by record, by stream to pull, and what can't be stored. `others` counts the effects on
    streams that nobody selected."""

    changes: dict[Key, Change] = field(default_factory=dict)
    pulls: set[Pull] = field(default_factory=set)
    unfit: list[Unfit] = field(default_factory=list)
    others: int = 0

    def of(self, stream: str, key: str) -> Change:
        return self.changes.setdefault((stream, key), Change())

    def merge(self, later: "Meaning") -> None:
        for record, change in later.changes.items():
            self.of(*record).merge(change)
        self.pulls |= later.pulls
        self.unfit += later.unfit
        self.others += later.others


@dataclass(frozen=True, slots=True, kw_only=True)
class Portion:
    """What is to be written into one stream's table in one transaction.

    gone      key -> version of the deletion
    asked_at  when the vendor was asked, on the database's clock; None = nobody was, events told it
    clashes   keys that came with two contents under one version
    """

    stream: Stream
    batch: Batch
    gone: Mapping[str, int]
    asked_at: datetime | None = None
    clashes: Sequence[str] = ()


class Records:
    """The records of one connection, in the streams that it has selected.

    streams  those of them that events may tell of, by name
    known    the names of all that the connector has: another one in an effect is a mistake
    """

    def __init__(self, account: Row[Any], streams: Mapping[str, Stream], known: Collection[str], trust: Trust) -> None:
        self.account, self.streams, self.known, self.trust = account, streams, frozenset(known), trust

    def mirror(self, stream: str) -> Mirror:
        return mirror(self.account.connector, self.streams[stream], engine().dialect)

    # what effects mean; no database

    def meaning(self, effects: Iterable[Effect]) -> Meaning:
        """What these effects come to; ContractError where one of them makes no sense."""
        meaning = Meaning()
        for place, effect in enumerate(effects):
            if place >= MOST:
                raise ContractError(f"an event has more than {MOST:,} effects")
            self._take(meaning, effect)
        return meaning

    def _take(self, meaning: Meaning, effect: Effect) -> None:
        if not isinstance(effect, Upsert | Delete | Refetch | Pull):
            raise ContractError(f"{effect!r:.80} is no effect: Upsert, Delete, Refetch or Pull")
        if effect.stream not in self.known:
            raise ContractError(f"there is no stream {effect.stream!r}; there are {', '.join(sorted(self.known))}")
        stream = self.streams.get(effect.stream)
        if isinstance(effect, Pull):
            self._pull(meaning, stream, effect)
        elif stream is None:
            meaning.others += 1
        elif isinstance(effect, Upsert):
            self._upsert(meaning, stream, effect)
        elif isinstance(effect, Delete):
            self._delete(meaning, stream, effect)
        else:
            self._ask(meaning, stream, effect.key)

    def _upsert(self, meaning: Meaning, stream: Stream, effect: Upsert) -> None:
        reader, as_of = self.mirror(stream.name).reader, _moment(effect.as_of)
        batch = reader.read(Rows.of([effect.row]), as_of)
        if self._stores(stream):
            batch = reader.versioned(batch)
        for rejection in batch.rejects:
            meaning.unfit.append(Unfit(stream.name, effect.as_of, rejection))
        for key in batch.keys:  # one, or none where `keep` leaves it out
            if self._stores(stream):
                change = meaning.of(stream.name, key)
                change.rows.append(batch)
                change.told(effect.as_of)
            else:
                self._ask(meaning, stream, key)

    def _stores(self, stream: Stream) -> bool:
        """Whether a record in an event is the truth about it (law 4)."""
        if self.trust is Trust.VERSIONS:
            return stream.version is not None or stream.get is None
        return self.trust is Trust.EVENTS

    def _delete(self, meaning: Meaning, stream: Stream, effect: Delete) -> None:
        key = _fit(stream, effect.key)
        if self.trust is Trust.NOTHING:
            self._ask(meaning, stream, key)
        else:
            meaning.of(stream.name, key).buried(_moment(effect.as_of))

    def _pull(self, meaning: Meaning, stream: Stream | None, effect: Pull) -> None:
        """A feed's page may name any stream: it opens nothing by itself."""
        if stream is not None and not stream.pulled:
            raise ContractError(f"stream {stream.name!r} can't be pulled: it has what the webhook brings")
        if stream is None and self.trust is not Trust.EVENTS:
            meaning.others += 1
        else:
            meaning.pulls.add(effect)

    def _ask(self, meaning: Meaning, stream: Stream, key: str) -> None:
        if stream.get is None:
            raise ContractError(f"stream {stream.name!r} must say how one record is fetched: get=...")
        meaning.of(stream.name, _fit(stream, key)).asks = True

    def read(self, stream: str, row: Any, as_of: int) -> Batch:
        """One record, with its version: a batch of one, or of none with the rejection."""
        reader = self.mirror(stream).reader
        return reader.versioned(reader.read(Rows.of([row]), as_of))

    # before the transaction

    def told(self, changes: Mapping[Key, Sequence[Change]]) -> list[Portion]:
        """What events tell of records, several of the same one in their order, as one portion a stream."""
        portions: list[Portion] = []
        for name in sorted({stream for stream, _ in changes}):
            those = [(key, one) for (stream, key), several in changes.items() if stream == name for one in several]
            batch, clashes = _joined([row for _, one in those for row in one.rows])
            newest = dict(zip(batch.keys, batch.versions or (), strict=True))
            if clashes and self.streams[name].get:
                batch = batch.only([i for i, key in enumerate(batch.keys) if key not in clashes])
            gone: dict[str, int] = {}
            for key, one in those:
                if one.gone is not None and one.gone >= newest.get(key, one.gone):
                    gone[key] = max(gone.get(key, one.gone), one.gone)
            with read() as connection:
                batch = self.mirror(name).compare(connection, self.account.id, batch)
            portions.append(Portion(stream=self.streams[name], batch=batch, gone=gone, clashes=clashes))
        return portions

    def fetched(self, name: str, rows: Sequence[Batch], gone: Mapping[str, int], asked_at: datetime) -> Portion:
        """The present state of records of a stream; `gone` are those that the vendor has no more, and when it said so.

        They are at least as new as what was stored before they were asked for. A record that is numbered, not dated,
        keeps its number when it goes.
        """
        stream, table = self.streams[name], self.mirror(name)
        batch, _ = _joined(rows)
        raised = batch.keys if stream.version is None else ()
        with read() as connection:
            stored = self._versions(connection, table, [*raised, *gone]) if raised or gone else {}
            if stored and raised:
                pairs = zip(batch.keys, batch.versions or (), strict=True)
                batch = replace(batch, versions=[max(own, stored.get(key, own)) for key, own in pairs])
            batch = table.compare(connection, self.account.id, batch)
        if stream.version is None or stream.version.kind in _TIMES:
            left = {key: max(at, stored.get(key, at)) for key, at in gone.items()}
        else:
            left = {key: stored[key] for key in gone if key in stored}
        return Portion(stream=stream, batch=batch, gone=left, asked_at=asked_at)

    def missing(self, name: str, keys: Sequence[str], before: int = 0, approved: int = 0) -> tuple[int, str | None]:
        """How many of these records, which the vendor has no more though no event says so, we hold; and why that is
        too many, if it is. Many at once have lost a permission, not their records. `before` were gone before."""
        with read() as connection:
            count = absence.live(connection, self.mirror(name), self.account.id, None, keys)
            few = not count or before + count == 1  # one may always go; counting all costs more than the whole batch
            alive = 0 if few else absence.live(connection, self.mirror(name), self.account.id, None)
        excess = None if few else absence.guard(before + alive, before + count, 0.0, approved)
        return count, f"{name}: {excess}" if excess else None

    # in the transaction

    def land(self, connection: Connection, portion: Portion, *, careful: bool = False) -> Tally:
        """Write a portion. Of records that are `tied` nobody knows which state is the later one: ask for them.

        Where nobody can be asked, the later delivery wins, and a deletion is final.
        """
        table, account, batch = self.mirror(portion.stream.name), self.account.id, portion.batch
        tally = Tally(
            unchanged=batch.unchanged, repeated=batch.repeated, dropped=batch.dropped, rejects=[*batch.rejects]
        )
        for rows, gone in _ascending(portion):
            tally.add(table.write(connection, account, rows, portion.asked_at, careful=careful))
            tally.add(absence.bury(connection, table, account, gone, portion.asked_at))
        if portion.stream.get is None:
            if self.trust is not Trust.EVENTS:
                self._by_arrival(connection, table, portion, tally)
            return tally
        if tally.stale or tally.tied:
            tally.tied += self._overtaken(connection, table, portion)
        tally.tied = sorted({*tally.tied, *portion.clashes})
        return tally

    def _overtaken(self, connection: Connection, table: Mirror, portion: Portion) -> list[str]:
        """Records that live though they were to be buried; and those without a version of their own over which
        somebody else has written since they were asked for."""
        gone = self._alive(connection, table, portion.gone)
        if portion.asked_at is None or portion.stream.version is not None:
            return gone
        stored = self._versions(connection, table, portion.batch.keys)
        pairs = zip(portion.batch.keys, portion.batch.versions or (), strict=True)
        return [*gone, *(key for key, own in pairs if stored.get(key, own) > own)]

    def _by_arrival(self, connection: Connection, table: Mirror, portion: Portion, tally: Tally) -> None:
        tied, tally.tied = frozenset(tally.tied), []
        if not tied:
            return
        alive = frozenset(self._alive(connection, table, tied))
        again = portion.batch.only([i for i, key in enumerate(portion.batch.keys) if key in alive])
        tally.add(table.write(connection, self.account.id, _uncounted(again), _ALWAYS))
        gone = {key: at for key, at in portion.gone.items() if key in tied}
        tally.add(absence.bury(connection, table, self.account.id, gone, _ALWAYS))

    def _versions(self, connection: Connection, table: Mirror, keys: Collection[str]) -> dict[str, int]:
        stored = table.table.c
        which = (stored.connection_id == self.account.id, stored.key.in_(known_keys(connection, list(keys))))
        return {row.key: row.version for row in connection.execute(select(stored.key, stored.version).where(*which))}

    def _alive(self, connection: Connection, table: Mirror, keys: Collection[str]) -> list[str]:
        stored = table.table.c
        which = (stored.connection_id == self.account.id, stored.key.in_(known_keys(connection, list(keys))))
        return list(connection.execute(select(stored.key).where(*which, stored.deleted_at.is_(None))).scalars())


def _joined(batches: Sequence[Batch]) -> tuple[Batch, list[str]]:
    """Batches of one record at most as one: of a key the newest, the last of equals. Second, the keys of which equals
    differ."""
    newest: dict[str, tuple[int, Batch]] = {}
    clashes: set[str] = set()
    filled = [one for one in batches if len(one)]
    for one in filled:
        (key,), (version,) = one.keys, one.versions or ()
        before, known = newest.get(key, (version, one))
        if version > before:
            clashes.discard(key)
        elif version == before and one.digests[0] != known.digests[0]:
            clashes.add(key)
        if version >= before:
            newest[key] = (version, one)
    ones = [one for _, one in newest.values()]
    joined = Batch(
        keys=list(newest),
        raws=[one.raws[0] for one in ones],
        digests=[one.digests[0] for one in ones],
        deleted=[one.deleted[0] for one in ones],
        versions=[version for version, _ in newest.values()],
        as_of=0,
        repeated=len(filled) - len(newest),
        dropped=sum(one.dropped for one in batches),
        rejects=tuple(rejection for one in batches for rejection in one.rejects),
    )
    return joined, sorted(clashes)


def _ascending(portion: Portion) -> Iterator[tuple[Batch, dict[str, int]]]:
    """What is written and what is buried, so divided that keys ascend: all writers lock rows in one order."""
    batch = _uncounted(portion.batch).ascending()
    begin = 0
    for last in sorted(portion.gone):
        end = bisect_right(batch.keys, last)
        yield batch.only(range(begin, end)), {last: portion.gone[last]}
        begin = end
    yield batch.only(range(begin, len(batch))), {}


def _uncounted(batch: Batch) -> Batch:
    """The rows without the counts of those that were left out, which count once."""
    return replace(batch, unchanged=0, repeated=0, dropped=0, rejects=())


def _fit(stream: Stream, key: Any) -> str:
    """A key that can be stored."""
    text = str(key) if isinstance(key, int) and not isinstance(key, bool) else key
    if not isinstance(text, str) or not text:
        raise ContractError(f"{stream.name}: {key!r:.80} is no key")
    if len(text) > MAX_KEY or "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise ContractError(f"{stream.name}: the key {text!r:.80} can't be stored")
    return text


def _moment(as_of: Any) -> int:
    if not isinstance(as_of, int) or isinstance(as_of, bool) or as_of not in _INT64:
        raise ContractError(f"as_of={as_of!r:.80} is no moment: microseconds since 1970, as in epoch('created')")
    return as_of
