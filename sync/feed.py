"""The event feed: one list for the whole account, whose events become upserts, deletions and records to fetch again."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import Connection

from connectors import Delete, Effect, Event, Json, Page, Pull, Refetch, Rows, TidelockError, Upsert, seconds
from sync.answer import Answer, Apply, HeldError, Tally
from sync.door import UNREADABLE, OutcomeError
from sync.gap import is_gap, outdate
from sync.lists import FEED
from sync.store import absence, checkpoints, rejects
from sync.store.database import engine, read
from sync.store.identity import Rejection, reader
from sync.store.mirror import Mirror, mirror
from sync.store.runs import total

if TYPE_CHECKING:
    from sync.pull import Pass

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
        chosen = held.account.streams
        self.streams = {
            stream.name: stream
            for stream in held.connector.streams_for(held.account.config)
            if stream.name in feed.streams and (chosen is None or stream.name in chosen)
        }

    def limit(self, page: Page) -> Page:
        """Before the first full pass only the newest events matter: that is where the feed goes on later."""
        return replace(page, next=None) if self.head else page

    def prepare(self, answer: Answer) -> Apply:
        seen = self._seen()
        batch = self.reader.versioned(self.reader.read(answer.rows, answer.as_of))
        fresh = [index for index, one in enumerate(batch.keys) if one not in self.known and one not in seen["ids"]]
        self._see(seen, dict(zip(batch.keys, batch.versions or (), strict=True)), answer)
        effects, unread = ([], []) if self.head else self._effects(Rows.of(batch.only(fresh).raws))
        applies = [*self._fetched(effects, unread), *self._said(effects, answer)]

        def apply(connection: Connection, *, careful: bool) -> Tally:
            if self.head:
                outdate(connection, self.held.account.id, self.feed)
            rejects.save(connection, self.held.row, [*batch.rejects, *unread])
            counts = {"events": len(fresh), "rejected": len(batch.rejects) + len(unread)}
            return total([counts, *(one(connection, careful=careful) for one in applies)])

        return apply

    def _effects(self, events: Rows) -> tuple[list[Effect], list[Rejection]]:
        """What the events do; one that the connector can't read is kept for a person, and stops no other."""
        effects: list[Effect] = []
        unread: list[Rejection] = []
        for raw, event in zip(events.raws, events, strict=True):
            try:
                effects += self.feed.effects(Event(event))
            except (KeyError, TypeError, ValueError, AttributeError, TidelockError) as error:
                reason = f"the connector can't read this event: {type(error).__name__} {error}"
                unread.append(Rejection(str(event.get(self.feed.id, "")), "$", reason, bytes(raw)))
        return effects, unread

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

    def _fetched(self, effects: Sequence[Effect], unread: list[Rejection]) -> list[Apply]:
        """The present state of every record that changed, asked for once a page however many events it had."""
        wanted = dict.fromkeys(
            (e.stream, e.key) for e in effects if isinstance(e, Refetch) and e.stream in self.streams
        )
        found: dict[str, list[Any]] = {}
        gone: dict[str, dict[str, int]] = {}
        asked, as_of = self.held.clock(), []
        for stream, key in wanted:
            try:
                row = self.held.one(key, self.streams[stream])
            except OutcomeError as error:
                if error.outcome not in UNREADABLE or len(wanted) == len(unread) + 1 > 1:
                    raise  # not one record: the stream
                unread.append(self._unreadable(stream, key, error))
                continue
            as_of.append(self.held.api.as_of or 0)
            if row is None:
                gone.setdefault(stream, {})[key] = as_of[-1]
            else:
                found.setdefault(stream, []).append(row)
        told = {(e.stream, e.key) for e in effects if isinstance(e, Delete)}
        missing = {stream: [key for key in keys if (stream, key) not in told] for stream, keys in gone.items()}
        return [
            *(self._upsert(stream, rows, min(as_of), asked) for stream, rows in found.items()),
            *(self._bury(stream, keys, self._guarded(stream, missing[stream])) for stream, keys in gone.items()),
        ]

    def _unreadable(self, stream: str, key: str, error: OutcomeError) -> Rejection:
        """One record that can't be fetched stops no other; a person sees which, and why."""
        again = f"then: tidelock run {self.held.account.name} --select {stream} --full"
        payload = msgspec.json.encode({"stream": stream, "key": key})
        return Rejection(key, "$", f"{stream} {key} can't be fetched: {error}; mend that, {again}", payload)

    def _guarded(self, stream: str, missing: Sequence[str]) -> int:
        """How many of our records can't be found, though no event says that they were deleted. Many at once have
        lost a permission, not their records: HeldError."""
        before = self.held.counts.get("absent", 0)
        with read() as connection:
            alive = absence.live(connection, self._mirror(stream), self.held.account.id, None)
            count = absence.live(connection, self._mirror(stream), self.held.account.id, None, missing)
        excess = absence.guard(before + alive, before + count, 0.0, self.held.row.approved) if count else None
        if excess:
            raise HeldError(f"{stream}: {excess}")
        return count

    def _said(self, effects: Iterable[Effect], answer: Answer) -> list[Apply]:
        """What the events themselves say."""
        applies: list[Apply] = []
        for effect in effects:
            if isinstance(effect, Delete) and effect.stream in self.streams:
                applies.append(self._bury(effect.stream, {effect.key: effect.as_of}))
            elif isinstance(effect, Upsert) and effect.stream in self.streams:
                applies.append(self._upsert(effect.stream, [effect.row], effect.as_of, answer.asked_at))
            elif isinstance(effect, Pull):
                applies.append(self._pull(effect))
        return applies

    def _upsert(self, stream: str, rows: list[Any], as_of: int, asked: datetime) -> Apply:
        table = self._mirror(stream)
        batch = table.reader.read(Rows.of(rows), as_of)
        with read() as connection:
            batch = table.compare(connection, self.held.account.id, batch)

        def apply(connection: Connection, *, careful: bool) -> Tally:
            tally = table.write(connection, self.held.account.id, batch, asked, careful=careful)
            rejects.save(connection, self.held.row, tally.rejects)
            return tally.counts()

        return apply

    def _mirror(self, stream: str) -> Mirror:
        return mirror(self.held.account.connector, self.streams[stream], engine().dialect)

    def _bury(self, stream: str, keys: Mapping[str, int], absent: int = 0) -> Apply:
        table, account = self._mirror(stream), self.held.account.id
        return lambda connection, *, careful: total(
            [absence.bury(connection, table, account, keys).counts(), {"absent": absent}]
        )

    def _pull(self, effect: Pull) -> Apply:
        """Forget that the stream was read, so that its next run reads it anew."""
        return lambda connection, *, careful: {
            "resets": checkpoints.reset(connection, self.held.account.id, effect.stream)
        }

    def fetch(self, keys: Sequence[str]) -> None:
        """Nothing of a feed is tied: what is fetched again was asked for just now."""

    def settle(self) -> None:
        """Nothing is left to do."""

    def position(self, connection: Connection) -> Json:
        return self.held.seen

    def forget(self, connection: Connection) -> None:
        """Nothing was remembered."""
