"""The overview: what every stream is doing, whether its data is late, why, and whose it is."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, select

from connectors import Connector, Stream, TidelockError
from sync.lists import DELETES, FEED, ROWS, streams
from sync.registry import load
from sync.rules import Rule
from sync.states import State
from sync.store import connections, history
from sync.store.database import now
from sync.store.history import Last
from sync.store.mirror import table

_STUCK = (State.DEAD.value, State.HELD.value)
UNNOTICED = 30.0  # seconds that a due time may stand there without the clock being suspected
WORST = ("failing", "held", "late", "waiting", "paused", "syncing", "new", "fresh")
"""The states of a stream, the most urgent first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamView:
    """One stream of one connection.

    state     failing | held | late | waiting | paused | syncing | new (never synced) | fresh
    why       the reason, in a sentence
    fresh_at  the data is at least as new as this; None = never read to its end
    due_at    when its next run begins; None = not by itself
    records   how many are alive; None = not counted
    dead      slices and records that wait for a person
    """

    connection: str
    connector: str
    stream: str
    state: str
    why: str
    owner: str
    fresh_at: datetime | None
    due_at: datetime | None
    records: int | None
    dead: int
    last_run: str


def overview(connection: Connection, name: str | None = None, *, count: bool = True) -> list[StreamView]:
    """Every stream of every connection (or of this one)."""
    accounts = [connections.by_name(connection, name)] if name else connections.every(connection)
    scene = _Scene(connection, accounts, count=count)
    return [view for account in accounts for view in scene.of(account)]


class _Scene:
    """What was read once for all connections."""

    def __init__(self, connection: Connection, accounts: list[Row[Any]], *, count: bool) -> None:
        self.clock: datetime = connection.execute(select(now())).scalar_one()
        self.lasts = history.lasts(connection)
        self.unfinished = history.unfinished(connection)
        self.rejected = history.rejected(connection)
        self.schedules = {account.id: connections.schedules(connection, account.id) for account in accounts}
        self.live = history.live(connection, _tables(accounts)) if count else None

    def of(self, account: Row[Any]) -> list[StreamView]:
        try:
            connector = load(account.connector)
            chosen = streams(connector, account.config, account.streams)
        except TidelockError as error:
            return [_broken(account, str(error))]
        return [self._stream(account, connector, stream) for stream in chosen]

    def _stream(self, account: Row[Any], connector: Connector, stream: Stream) -> StreamView:
        last = self.lasts.get((account.id, stream.name, ROWS))
        unfinished = self._unfinished(account, connector, stream)
        slices = {row.state: row for row in reversed(unfinished)}
        fresh_at = self._fresh_at(account, connector, stream, last)
        schedule = self._schedule(account, stream)
        due_at = schedule.next_due_at if schedule and account.state == "active" else None
        facts = _Facts(account, schedule, last, slices, fresh_at, self.clock)
        state, why = facts.judged()
        if not stream.pulled and state in ("new", "late"):
            state, why = "fresh", "it has what webhooks bring"
        bad = self.rejected.get((account.id, stream.name), 0)
        return StreamView(
            connection=account.name,
            connector=account.connector,
            stream=stream.name,
            state=state,
            why=why or (f"{bad} records could not be stored: `tidelock errors {account.name}`" if bad else ""),
            owner=account.owner or connector.owner or "",
            fresh_at=fresh_at,
            due_at=due_at,
            records=self._records(account, stream),
            dead=bad + sum(row.many for row in unfinished if row.state in _STUCK),
            last_run=last.newest.state if last else "",
        )

    def _unfinished(self, account: Row[Any], connector: Connector, stream: Stream) -> list[Row[Any]]:
        """The unfinished slices of the stream's lists, and of the feed that tells of it, by state."""
        feed = connector.feed
        places = [(account.id, stream.name, ROWS), (account.id, stream.name, DELETES)]
        if feed and stream.name in feed.streams:
            places.append((account.id, "", FEED))
        return [row for place in places for row in self.unfinished.get(place, {}).values()]

    def _fresh_at(self, account: Row[Any], connector: Connector, stream: Stream, last: Last | None) -> datetime | None:
        """By its own runs, or once it was read whole by those of the feed."""
        own = last.fresh_at if last else None
        feed = connector.feed
        if own is None or feed is None or stream.name not in feed.streams:
            return own
        events = self.lasts.get((account.id, "", FEED))
        return max(own, events.fresh_at) if events and events.fresh_at else own

    def _schedule(self, account: Row[Any], stream: Stream) -> Row[Any] | None:
        held = self.schedules[account.id]
        return held.get(stream.name) or held.get("")

    def _records(self, account: Row[Any], stream: Stream) -> int | None:
        if self.live is None:
            return None
        return self.live.get((table(account.connector, stream).name, account.id), 0)


@dataclass(frozen=True, slots=True)
class _Facts:
    """What a stream's state is judged by."""

    account: Row[Any]
    schedule: Row[Any] | None
    last: Last | None
    slices: Mapping[str, Row[Any]]
    fresh_at: datetime | None
    clock: datetime

    def judged(self) -> tuple[str, str]:
        """The state and the reason; the most urgent first."""
        if self.account.state == "failing":
            return "failing", self.account.reason or ""
        for state, name in ((State.DEAD.value, "failing"), (State.HELD.value, "held")):
            if state in self.slices:
                return name, self.slices[state].reason or ""
        if self.last and self.last.newest.state == "failed":
            return "failing", self.last.newest.reason or ""
        if self.account.state == "paused":
            return "paused", self.account.reason or ""
        return self._going()

    def _going(self) -> tuple[str, str]:
        waits = self._waits()
        if self._is_late():
            return "late", waits or self._overdue() or "no run has ended well in time"
        if waits:
            return "waiting", waits
        if self.slices or (self.last and self.last.under_way):
            return "syncing", ""
        return ("fresh", "") if self.fresh_at else ("new", "")

    def _waits(self) -> str:
        deferred = self.slices.get(State.DEFERRED.value)
        return (deferred.reason or "its time has not come") if deferred else ""

    def _overdue(self) -> str:
        due_at = self.schedule.next_due_at if self.schedule else None
        if due_at is None or self.clock - due_at < timedelta(seconds=UNNOTICED):
            return ""
        return "its time has come and nobody opened a run: does the clock run? `tidelock doctor`"

    def _is_late(self) -> bool:
        objective = self._objective()
        if objective is None:
            return False
        since = self.fresh_at or self.account.created_at
        return bool(self.clock - since > timedelta(seconds=objective))

    def _objective(self) -> float | None:
        """Seconds: the connection's, else twice what lies between two due times."""
        if self.account.objective is not None:
            return float(self.account.objective)
        if self.schedule is None:
            return None
        rule = Rule(self.schedule.rule, self.schedule.zone)
        if rule.interval is not None:
            return 2 * rule.interval + float(self.schedule.jitter)
        first = rule.after(self.clock)
        return 2 * (rule.after(first) - first).total_seconds() + float(self.schedule.jitter)


def _broken(account: Row[Any], reason: str) -> StreamView:
    """A connection whose connector is gone or broken still shows."""
    return StreamView(
        connection=account.name, connector=account.connector, stream="", state="failing", why=reason,
        owner=account.owner or "", fresh_at=None, due_at=None, records=None, dead=0, last_run="",
    )  # fmt: skip


def _tables(accounts: list[Row[Any]]) -> list[Any]:
    found = {}
    for account in accounts:
        try:
            chosen = streams(load(account.connector), account.config, account.streams)
        except TidelockError:
            continue  # it is shown as failing, with the reason
        for stream in chosen:
            made = table(account.connector, stream)
            found[made.name] = made
    return list(found.values())


def worst(views: list[StreamView]) -> str:
    """The most urgent state of some streams."""
    return min((view.state for view in views), key=WORST.index, default="new")
