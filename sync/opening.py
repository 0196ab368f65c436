"""Opening: what a connection's due time, or a person, sets going.

    schedule ─┐
    person   ─┴▶ runs, one a list ─▶ slices, one a partition

The rows of a child stream wait for the run of their parent. A connector with an event feed reads the feed's head
first, then every stream once in full, and from then on only the feed.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, exists, select, text
from sqlalchemy.exc import DBAPIError

from connectors import Stream, seconds
from models import Slice
from models.slice import STUCK
from sync.gap import is_gap
from sync.lists import DELETES, FEED, ROWS, list_of, streams
from sync.planning import plan, slice_of, sweep_due, whole
from sync.registry import load
from sync.states import State
from sync.store import checkpoints, runs

_slices = Slice.__table__


@dataclass(frozen=True, kw_only=True)
class Demand:
    """What is asked of a connection.

    cause     schedule | a person's name | the run that was replayed
    lane      interactive | schedule | backfill
    select    names of streams; None = all that the connection has selected
    full      read everything again
    since, until  bounds of a backfill
    skip      streams that have a schedule of their own
    """

    cause: str
    lane: str = "schedule"
    select: Iterable[str] | None = None
    full: bool = False
    since: datetime | None = None
    until: datetime | None = None
    skip: frozenset[str] = field(default_factory=frozenset)

    @property
    def backfill(self) -> bool:
        return self.lane == "backfill"


def open_runs(connection: Connection, account: Row[Any], demand: Demand, clock: datetime) -> list[int]:
    """Open the runs of a demand in this transaction; the ids of those that were opened, parents first.

    `tables.prepare` comes first. A list whose last run is open still is skipped: a slow sync never overlaps itself.
    """
    opened, errors = open_together(connection, [(account, demand)], clock)
    for error in errors.values():
        raise error
    return opened


def open_together(
    connection: Connection, demands: Sequence[tuple[Row[Any], Demand]], clock: datetime
) -> tuple[list[int], dict[int, Exception]]:
    """Open the runs of many demands with a few statements; the ids of the runs, and by connection what is wrong
    with it, which stops no other. What the database refuses ends the transaction for all of them, and is raised."""
    errors: dict[int, Exception] = {}
    wanted: list[_Wanted] = []
    saved = checkpoints.of_lists(connection, {account.id for account, _ in demands})
    for account, demand in demands:
        try:
            wanted += _Opening(connection, account, demand, clock, saved.get(account.id, {})).wanted()
        except DBAPIError:
            raise
        except Exception as error:  # noqa: BLE001 - a connector may raise anything
            errors[account.id] = error
    sound = [one for one in wanted if one.connection_id not in errors]
    return _opened(connection, sound, errors), errors


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    """A run before it is opened, by the names of its columns.

    after   the lists whose runs it waits for, where one of this opening is there: the first of them
    place   how many runs of this opening stand before it
    part    its one partition; None = its partitions are planned once it has a row
    """

    account: Row[Any]
    stream: str
    list: str
    demand: Demand
    full: bool
    opened_at: datetime
    after: tuple[tuple[str, str], ...]
    place: int
    part: dict[str, Any] | None

    @property
    def connection_id(self) -> int:
        return int(self.account.id)

    @property
    def lane(self) -> str:
        return self.demand.lane

    @property
    def since(self) -> str | None:
        return self.demand.since.isoformat() if self.demand.since else None

    @property
    def until(self) -> str | None:
        return self.demand.until.isoformat() if self.demand.until else None

    @property
    def key(self) -> tuple[int, str, str]:
        return self.connection_id, self.stream, self.list

    def before(self, opened: Mapping[tuple[int, str, str], int]) -> int | None:
        """The run that it waits for."""
        known = (opened.get((self.connection_id, *one)) for one in self.after)
        return next((run for run in known if run is not None), None)

    def row(self, after: int | None) -> dict[str, Any]:
        goes = after is None and self.part is not None
        return {
            "connection_id": self.connection_id,
            "stream": self.stream,
            "list": self.list,
            "cause": self.demand.cause,
            "lane": self.lane,
            "state": "running" if goes else "waiting",
            "open": int(goes),
            "full": self.full,
            "baseline": self.full or self.demand.backfill,
            "exclusive": not self.demand.backfill,
            "after_id": after,
            "since": self.since,
            "until": self.until,
            "opened_at": self.opened_at,
            "counts": {},
        }


def _opened(connection: Connection, wanted: Sequence[_Wanted], errors: dict[int, Exception]) -> list[int]:
    """Insert the runs, those that others wait for first, and the slices of those that wait for nothing."""
    opened: dict[tuple[int, str, str], int] = {}
    for place in sorted({one.place for one in wanted}):
        these = {one.key: (one, one.before(opened)) for one in wanted if one.place == place}
        found = runs.open_runs(connection, [one.row(after) for one, after in these.values()])
        opened |= found
        going = [(run, *these[key]) for key, run in found.items()]
        ready = [(run, one) for run, one, after in going if after is None]
        runs.insert_slices(connection, [{**one.part, "run_id": run} for run, one in ready if one.part])
        for run, one in ready:
            if one.part is None:
                _plan_apart(connection, run, one, errors)
    return list(opened.values())


def _plan_apart(connection: Connection, run: int, one: _Wanted, errors: dict[int, Exception]) -> None:
    try:
        with connection.begin_nested():
            plan(connection, run, one.account)
    except DBAPIError:
        raise
    except Exception as error:  # noqa: BLE001 - as above
        runs.fail(connection, run, str(error))
        errors[one.connection_id] = error


class _Opening:
    """One demand on one connection, as it is turned into runs; `saved` are its checkpoints by (stream, list)."""

    def __init__(
        self,
        connection: Connection,
        account: Row[Any],
        demand: Demand,
        clock: datetime,
        saved: Mapping[tuple[str, str], Row[Any]],
    ) -> None:
        self.connection = connection
        self.account = account
        self.connector = load(account.connector)
        self.demand = demand
        self.clock = clock
        self.saved = saved
        self.places: dict[tuple[str, str], int] = {}

    def wanted(self) -> list[_Wanted]:
        return list(self._wanted())

    def _wanted(self) -> Iterator[_Wanted]:
        chosen = streams(self.connector, self.account.config, self.demand.select or self.account.streams)
        wanted = [stream for stream in chosen if stream.name not in self.demand.skip]
        if self._feed_due(wanted):
            yield self._run("", FEED, full=self._gap(), after=())
        for stream in wanted:
            yield from self._stream(stream)

    def _stream(self, stream: Stream) -> Iterator[_Wanted]:
        if not stream.pulled:
            return
        full = self._is_full(stream)
        if not full and self._covered(stream) and not self.demand.backfill:
            return
        above = ((stream.parent, ROWS),) if stream.parent else ()
        yield self._run(stream.name, ROWS, full=full, after=(*above, *([("", FEED)] if full else [])))
        if stream.tombstones and not self.demand.backfill:
            yield self._run(stream.name, DELETES, full=False, after=())

    def _run(self, stream: str, list_: str, *, full: bool, after: tuple[tuple[str, str], ...]) -> _Wanted:
        place = max((self.places[one] + 1 for one in after if one in self.places), default=0)
        self.places[stream, list_] = place
        draft = _Wanted(
            account=self.account, stream=stream, list=list_, demand=self.demand, full=full, opened_at=self.clock,
            after=after, place=place, part=None,
        )  # fmt: skip
        read = list_of(self.connector, self.account.config, stream, list_)
        if read.parent:
            return draft
        part = whole(self.connection, draft, read, self.account, self.saved.get((stream, list_)))
        return replace(draft, part=slice_of(draft, read, part))

    def _feed_due(self, wanted: list[Stream]) -> bool:
        """The feed is read where it covers a wanted stream, and none of its slices waits for the owner."""
        feed = self.connector.feed
        if not feed or self.demand.backfill or not any(stream.name in feed.streams for stream in wanted):
            return False
        return not self._is_held("")

    def _gap(self) -> bool:
        """The feed was never read, or not for longer than the vendor keeps its events."""
        feed = self.connector.feed
        return feed is None or is_gap(feed, self.saved.get(("", FEED)), self.clock)

    def _covered(self, stream: Stream) -> bool:
        feed = self.connector.feed
        return feed is not None and stream.name in feed.streams

    def _is_full(self, stream: Stream) -> bool:
        lost = self._lost(stream)
        if lost:
            checkpoints.outdate(self.connection, self.account.id, stream.name)
        if self.demand.full or lost:
            return True
        if stream.parent:  # each partition decides for itself, but is not asked where a feed covers it
            return self._covered(stream) and checkpoints.outdated(self.connection, self.account.id, stream.name)
        saved = self.saved.get((stream.name, ROWS))
        if saved is None or (stream.cursor is None and not self._covered(stream)):
            return True
        due = saved.full_at is None or sweep_due(stream, saved.full_at, self.clock)
        return due and not self._is_held(stream.name)

    def _lost(self, stream: Stream) -> bool:
        """What tells of this stream's changes or deletions has forgotten some of them by now."""
        return (self._covered(stream) and self._gap()) or self._forgotten(stream)

    def _forgotten(self, stream: Stream) -> bool:
        """The list of tombstones was not read for longer than the vendor keeps them."""
        if not stream.tombstones or not stream.tombstones.retention:
            return False
        rows, graves = (self.saved.get((stream.name, list_)) for list_ in (ROWS, DELETES))
        known = [moment for moment in (rows and rows.full_at, graves and graves.fresh_at) if moment]
        return self.clock - max(known, default=self.clock) > timedelta(seconds=seconds(stream.tombstones.retention))

    def _is_held(self, stream: str) -> bool:
        held = exists().where(
            _slices.c.connection_id == self.account.id,
            _slices.c.stream == stream,
            text(f"slices.{STUCK}"),
            _slices.c.state == State.HELD.value,
        )
        return bool(self.connection.execute(select(held)).scalar())
