"""The event feed: one list for the whole account, whose events become upserts, deletions and records to fetch again."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from sqlalchemy import Connection

from connectors import Event, Json, Page, Rows, TidelockError, seconds
from sync.answer import Answer, Apply, HeldError, Tally, TiedError
from sync.door import UNREADABLE, OutcomeError
from sync.effects import Key, Meaning, Portion, Records, Trust
from sync.gap import is_gap, outdate
from sync.lists import FEED
from sync.store import checkpoints, rejects
from sync.store.database import read
from sync.store.identity import Batch, Rejection, reader
from sync.store.runs import total

if TYPE_CHECKING:
    from sync.pull import Pass

Fetched: TypeAlias = dict[str, list[Batch]]
"""Records as the vendor has them now, one a batch, by stream."""
Gone: TypeAlias = dict[str, dict[str, int]]
"""By stream, the keys of those that it has no more, and when it said so."""

MICROSECOND = 1_000_000
FUTURE = 2 * MICROSECOND  # a Date header has whole seconds, so an event may seem to be younger than its answer


class FeedLanding:
    """Events of the whole account. Those that the next run will be shown again (it asks for the last second, and
    for the declared lookback) are remembered by id."""

    proves = False
    most = 0

    def __init__(self, held: "Pass") -> None:
        self.held = held
        feed = held.connector.feed
        if feed is None:
            raise AssertionError("a feed slice without a feed: list_of should have refused it")
        self.feed = feed
        self.reader = reader(held.stream)
        with read() as connection:
            saved = checkpoints.get(connection, held.account.id, held.row.stream, "", FEED)
        self.head = bool(held.row.full or is_gap(feed, saved, held.row.began_at))
        self.known = dict(saved.cursor["ids"]) if saved and saved.cursor else {}
        every = held.connector.streams_for(held.account.config)
        chosen = held.account.streams
        told = {one.name: one for one in every if one.name in feed.streams and (chosen is None or one.name in chosen)}
        self.records = Records(held.account, told, [one.name for one in every], Trust.EVENTS)
        self.tied: list[Key] = []
        self.again: list[Portion] | None = None

    def limit(self, page: Page) -> Page:
        """Before the first full pass only the newest events matter: that is where the feed goes on later."""
        return replace(page, next=None) if self.head else page

    def prepare(self, answer: Answer) -> Apply:
        seen = self._seen()
        batch = self.reader.versioned(self.reader.read(answer.rows, answer.as_of))
        fresh = [index for index, one in enumerate(batch.keys) if one not in self.known and one not in seen["ids"]]
        self._see(seen, dict(zip(batch.keys, batch.versions or (), strict=True)), answer)
        meaning, unread = (Meaning(), []) if self.head else self._meaning(Rows.of(batch.only(fresh).raws))
        fetched, absent = self._fetched(meaning, unread)
        told = self.records.told({record: [one] for record, one in meaning.changes.items() if one.tells})
        self.again = None

        def apply(connection: Connection, *, careful: bool) -> Tally:
            if self.head:
                outdate(connection, self.held.account.id, self.feed)
            rejects.save(connection, self.held.row, [*batch.rejects, *unread])
            counts = {"events": len(fresh), "rejected": len(batch.rejects) + len(unread), "absent": absent}
            resets = sum(checkpoints.reset(connection, self.held.account.id, one.stream) for one in meaning.pulls)
            landed = self._landed(connection, [*told, *fetched], careful=careful)
            return total([counts, {"resets": resets}, landed])

        return apply

    def _landed(self, connection: Connection, portions: Sequence[Portion], *, careful: bool) -> Tally:
        """Stream by stream: all writers lock in one order. What is tied is fetched again first, once."""
        tied: set[Key] = set()
        counts: list[Tally] = []
        for portion in sorted([*portions, *(self.again or ())], key=lambda one: one.stream.name):
            tally = self.records.land(connection, portion, careful=careful)
            rejects.save(connection, self.held.row, tally.rejects)
            counts.append(tally.counts())
            tied |= {(portion.stream.name, key) for key in tally.tied if portion.stream.get}
        if tied and self.again is None:
            self.tied = sorted(tied)
            raise TiedError([key for _, key in self.tied])
        return total(counts)

    def _meaning(self, events: Rows) -> tuple[Meaning, list[Rejection]]:
        """What the events come to; one that the connector can't read is kept for a person, and stops no other."""
        meaning = Meaning()
        unread: list[Rejection] = []
        for raw, event in zip(events.raws, events, strict=True):
            try:
                meaning.merge(self.records.meaning(self.feed.effects(Event(event))))
            except (KeyError, TypeError, ValueError, AttributeError, TidelockError) as error:
                reason = f"the connector can't read this event: {type(error).__name__} {error}"
                unread.append(Rejection(str(event.get(self.feed.id, "")), "$", reason, bytes(raw)))
        return meaning, unread + [one.rejection for one in meaning.unfit]

    def _seen(self) -> dict[str, Any]:
        return self.held.seen or {"at": None, "ids": {}}

    def _see(self, seen: Mapping[str, Any], moments: Mapping[str, int], answer: Answer) -> None:
        """The newest moment, and the events that the next run will be shown again."""
        ids = {**seen["ids"], **moments}
        newest = max(ids.values(), default=answer.as_of if seen["at"] is None else seen["at"])
        started = self.held.started if self.held.started is not None else newest
        if newest > started + FUTURE:  # an event of the future must not hide those that come before it
            newest = started
        oldest = newest - round(seconds(self.feed.lookback) * MICROSECOND)
        shown_again = {one: at for one, at in ids.items() if at >= oldest - MICROSECOND}
        self.held.seen = {"at": newest, "ids": shown_again}

    def _fetched(self, meaning: Meaning, unread: list[Rejection]) -> tuple[list[Portion], int]:
        """The present state of every record that changed, asked for once a page however many events it had; and how
        many we hold that are gone, though no event says so."""
        asked_at, wanted = self.held.clock(), [record for record, change in meaning.changes.items() if change.asks]
        rows, gone, failed = self._asked(wanted)
        unread += failed
        untold = {
            stream: [key for key in keys if meaning.changes[stream, key].gone is None] for stream, keys in gone.items()
        }
        absent = sum(self._guarded(stream, keys) for stream, keys in untold.items())
        return self._portions(rows, gone, asked_at), absent

    def _asked(self, wanted: Sequence[Key]) -> tuple[Fetched, Gone, list[Rejection]]:
        """What the vendor says of these records, by stream: those that are there, those that are gone, and those that
        it can't or won't tell."""
        rows: Fetched = {}
        gone: Gone = {}
        failed: list[Rejection] = []
        for stream, key in wanted:
            try:
                row = self.held.one(key, self.records.streams[stream])
            except OutcomeError as error:
                if error.outcome not in UNREADABLE or len(wanted) == len(failed) + 1 > 1:
                    raise  # not one record: the stream
                failed.append(self._unreadable(stream, key, error))
                continue
            as_of = self.held.api.as_of or 0
            if row is None:
                gone.setdefault(stream, {})[key] = as_of
            else:
                rows.setdefault(stream, []).append(self.records.read(stream, row, as_of))
        return rows, gone, failed

    def _portions(self, rows: Fetched, gone: Gone, asked_at: datetime) -> list[Portion]:
        return [
            self.records.fetched(name, rows.get(name, []), gone.get(name, {}), asked_at)
            for name in sorted({*rows, *gone})
        ]

    def _unreadable(self, stream: str, key: str, error: OutcomeError) -> Rejection:
        """One record that can't be fetched stops no other; a person sees which, and why."""
        again = f"then: tidelock run {self.held.account.name} --select {stream} --full"
        payload = msgspec.json.encode({"stream": stream, "key": key})
        return Rejection(key, "$", f"{stream} {key} can't be fetched: {error}; mend that, {again}", payload)

    def _guarded(self, stream: str, missing: Sequence[str]) -> int:
        """How many of our records can't be found, though no event says that they were deleted. Many at once have
        lost a permission, not their records: HeldError."""
        before, approved = self.held.counts.get("absent", 0), self.held.row.approved
        count, excess = self.records.missing(stream, missing, before, approved)
        if excess:
            raise HeldError(excess)
        return count

    def fetch(self, keys: Sequence[str]) -> None:
        """Neither of two equal versions wins by arrival: what the vendor says now does, unless a later one came."""
        asked_at = self.held.clock()
        rows, gone, _ = self._asked(self.tied)
        self.again = self._portions(rows, gone, asked_at)

    def settle(self) -> None:
        """Nothing is left to do."""

    def position(self, connection: Connection) -> Json:
        return self.held.seen

    def forget(self, connection: Connection) -> None:
        """Nothing was remembered."""
