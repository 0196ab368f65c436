"""What deliveries ask to be pulled: runs are opened, soon, and once for however many deliveries ask."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from sync.opening import Demand, open_together
from sync.parcel import PULL, Failure, Kind, Parcel
from sync.settings import settings
from sync.store import checkpoints, dispatch, pulls
from sync.store.database import now
from sync.told import settle

if TYPE_CHECKING:
    from sync.receive import Drain

AGAIN = 5.0  # seconds until it is tried again where an earlier pull is still under way


class Pulled:
    """Opens runs in which what the deliveries mean will be seen: those that are opened after they came."""

    def __init__(self, drain: "Drain") -> None:
        self.drain = drain

    def open(self, parcels: Sequence[Parcel]) -> list[tuple[int, str]]:
        """Open what is wanted and settle the deliveries; the slices to ring for."""
        wanted: dict[str, list[Parcel]] = {}
        for parcel in parcels:
            for stream in parcel.pulling():
                wanted.setdefault(stream, []).append(parcel)
        if not wanted:
            return []
        with self.drain.writing() as connection:
            errors = self._opened(connection, wanted)
            for stream, ones in wanted.items():
                self._answer(connection, stream, ones, errors)
            settle(connection, self.drain.account.id, parcels)
            rung = dispatch.ring(connection, settings().in_flight)
        for parcel in parcels:
            self.drain.keep(parcel, asked=True)
        return rung

    def _opened(self, connection: Connection, wanted: Mapping[str, Sequence[Parcel]]) -> str | None:
        """Open the runs that are not there yet; what is wrong with the connection, if anything is."""
        account = self.drain.account
        missing = [stream for stream, ones in sorted(wanted.items()) if not self._is_seen(connection, stream, ones)]
        if not missing:
            return None
        for stream in missing:
            self._stir(connection, stream, {parent for one in wanted[stream] for parent in one.parents[stream]})
        clock: datetime = connection.execute(select(now())).scalar_one()
        demand = Demand(cause="webhook", lane="interactive", select=missing)
        _, errors = open_together(connection, [(account, demand)], clock)
        error = errors.get(account.id)
        return None if error is None else f"{type(error).__name__}: {error}"

    def _is_seen(self, connection: Connection, stream: str, parcels: Iterable[Parcel]) -> bool:
        """A run that was opened after the last of these came sees what they mean."""
        newest = pulls.newest(connection, self.drain.account.id, stream)
        return newest is not None and newest >= max(parcel.row.received_at for parcel in parcels)

    def _stir(self, connection: Connection, stream: str, parents: set[str | None]) -> None:
        """Whatever would say that there is nothing to pull is forgotten."""
        account, feed = self.drain.account.id, self.drain.connector.feed
        if feed and stream in feed.streams:
            checkpoints.reset(connection, account, stream)
        if self.drain.records.streams[stream].parent:
            for parent in {None} if None in parents else sorted(filter(None, parents)):
                pulls.stir(connection, account, stream, parent)

    def _answer(self, connection: Connection, stream: str, parcels: Sequence[Parcel], error: str | None) -> None:
        record = (stream, PULL)
        for parcel in parcels:
            if error is not None:
                reason = f"a pull of {stream} can't be opened: {error}"
                parcel.fail(record, Failure(kind=Kind.RETRY, reason=reason, holds=False))
            elif self._is_seen(connection, stream, [parcel]):
                parcel.counts["pulls"] += 1
                parcel.done(record)
            else:
                reason = f"a pull of {stream} is under way, another one follows it"
                parcel.fail(record, Failure(kind=Kind.WAIT, reason=reason, wait=AGAIN, holds=False))
