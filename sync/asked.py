"""What vendors say when they are asked: the present state of records, landed for all deliveries that wanted it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from connectors import Outcome, TidelockError
from sync.door import UNREADABLE, OutcomeError
from sync.effects import Key, Portion
from sync.parcel import Failure, Kind, Parcel
from sync.refetch import Said
from sync.store import connections
from sync.store.identity import Batch
from sync.store.mirror import refused
from sync.store.tally import Tally
from sync.told import became, settle

if TYPE_CHECKING:
    from sync.receive import Drain

TRIES = 3  # times that a record is asked for, while others write it
AGAIN = 1.0  # seconds before it is tried anew after that
OLD = -(2**63)  # whatever is told is newer
PAUSE = 5.0  # seconds to wait for a limit that doesn't say how long
_STOPS = frozenset({Outcome.REFRESH_AUTH, Outcome.FAIL_CONNECTION})


class Asked:
    """Lands answers. `absent` counts, by stream, what was gone though no event had said so."""

    def __init__(self, drain: "Drain") -> None:
        self.drain = drain
        self.absent: Counter[str] = Counter()
        self.stopped = False

    def land(self, said: Sequence[Said]) -> None:
        """All of it, the answers about one record one after the other."""
        while said:
            first = {one.want.record: one for one in reversed(said)}
            self._land(list(first.values()))
            said = [one for one in said if one is not first[one.want.record]]

    def _land(self, said: Sequence[Said]) -> None:
        """In one transaction: the records, and what becomes of the deliveries that wanted them."""
        wanted = {one.want.record: self._who(one) for one in said}
        rows: dict[str, list[Batch]] = {}
        gone: dict[str, dict[str, int]] = {}
        for one in said:
            stream, key = one.want.record
            if one.error is not None:
                self._failed(one, wanted[one.want.record], one.error)
            elif one.is_gone:
                gone.setdefault(stream, {})[key] = one.as_of
            else:
                rows.setdefault(stream, []).extend(self._read(one, wanted[one.want.record]))
        self._guard(gone, wanted)
        self._write(said, self._portions(said, rows, gone), wanted)

    def _who(self, said: Said) -> list[Parcel]:
        """Those in hand that want it still, in the order in which they came."""
        hand = self.drain.hand
        ones = [
            hand[unit] for unit in sorted(said.want.units) if unit in hand and said.want.record in hand[unit].open()
        ]
        for one in ones[:1]:
            one.counts["requests"] += said.requests
        return ones

    def _read(self, said: Said, parcels: Sequence[Parcel]) -> list[Batch]:
        """The record; none where it is none that could be stored."""
        problem = ""
        batch = None
        try:
            batch = self.drain.records.read(said.want.record[0], said.row, said.as_of)
        except (TypeError, ValueError, RecursionError) as error:
            problem = str(error)
        for bad in batch.rejects if batch else ():
            problem = f"{bad.reason} (at {bad.path})"
        if problem:
            _fail(said.want.record, parcels, Kind.DEAD, f"what was fetched can't be stored: {problem}")
        return [batch] if batch and not problem else []

    def _guard(self, gone: Mapping[str, dict[str, int]], wanted: Mapping[Key, Sequence[Parcel]]) -> None:
        """Many records that can't be found at once have lost a permission: their owner decides. Whatever an event tells
        of one of them, its deletion too, settles it before."""
        for stream, keys in gone.items():
            count, excess = self.drain.records.missing(stream, list(keys), self.absent[stream])
            if excess is None:
                self.absent[stream] += count
                continue
            reason = f"{excess}, or replay this once they can be found again"
            for key in keys:
                _fail((stream, key), wanted[stream, key], Kind.DEAD, reason, as_of=OLD)
            keys.clear()

    def _portions(
        self, said: Sequence[Said], rows: Mapping[str, Sequence[Batch]], gone: Mapping[str, Mapping[str, int]]
    ) -> list[Portion]:
        asked_at = min((one.asked_at for one in said if one.asked_at), default=self.drain.lease.clock)
        names = sorted(name for name in {*rows, *gone} if rows.get(name) or gone.get(name))
        return [self.drain.records.fetched(name, rows.get(name, ()), gone.get(name, {}), asked_at) for name in names]

    def _write(self, said: Sequence[Said], portions: Sequence[Portion], wanted: Mapping[Key, Sequence[Parcel]]) -> None:
        try:
            again = self._written(said, portions, wanted, careful=False)
        except DBAPIError as error:
            if not refused(error):
                raise
            again = self._written(said, portions, wanted, careful=True)
        for parcel in {one.id: one for ones in wanted.values() for one in ones}.values():
            self.drain.keep(parcel, asked=True)
        for one in again:
            units = [parcel.id for parcel in wanted[one.want.record]]
            self.drain.refetches.want(one.want.record, units, one.want.tries + 1)

    def _written(
        self,
        said: Sequence[Said],
        portions: Sequence[Portion],
        wanted: Mapping[Key, Sequence[Parcel]],
        *,
        careful: bool,
    ) -> list[Said]:
        """The transaction; what must be asked for again, because somebody else wrote it meanwhile."""
        parcels = {one.id: one for ones in wanted.values() for one in ones}
        with self.drain.writing() as connection:
            tallies = {one.stream.name: self.drain.records.land(connection, one, careful=careful) for one in portions}
            again = [one for one in said if self._is_tied(one, tallies)]
            outcomes = {name: became(tally) for name, tally in tallies.items()}
            for one in said:
                if one.error is None and not self._is_tied(one, tallies):
                    _landed(one, wanted[one.want.record], tallies, outcomes)
            settle(connection, self.drain.account.id, list(parcels.values()))
        return again

    def _is_tied(self, said: Said, tallies: Mapping[str, Tally]) -> bool:
        stream, key = said.want.record
        tied = said.error is None and stream in tallies and key in tallies[stream].tied
        return tied and said.want.tries + 1 < TRIES

    def _failed(self, said: Said, parcels: Sequence[Parcel], error: Exception) -> None:
        outcome = error.outcome if isinstance(error, OutcomeError) else Outcome.RETRY
        if isinstance(error, OutcomeError) and (outcome in _STOPS or outcome is Outcome.RATE_LIMITED):
            self._wait(said, parcels, error)
            return
        stream, key = said.want.record
        reason = str(error) if isinstance(error, TidelockError) else f"{type(error).__name__}: {error}"
        wait = (error.wait if isinstance(error, OutcomeError) else None) or 0.0
        kind = Kind.DEAD if outcome in UNREADABLE else Kind.RETRY
        _fail(said.want.record, parcels, kind, f"{stream} {key} can't be fetched: {reason}", wait)

    def _wait(self, said: Said, parcels: Sequence[Parcel], error: OutcomeError) -> None:
        """Nothing that is asked now is answered: that is no failure of these deliveries."""
        wait = (said.wait if said.wait is not None else error.wait) or PAUSE
        if error.outcome in _STOPS:
            self._stop(error)
            wait = 0.0
        elif said.wait is None:
            self.drain.refetches.refuse(error, error.scope, wait)
        for parcel in parcels:
            parcel.fail(said.want.record, Failure(kind=Kind.WAIT, reason=str(error), wait=wait, holds=False))

    def _stop(self, error: OutcomeError) -> None:
        """Nothing of this connection is worth trying until somebody mends it: its deliveries wait, with the reason."""
        if self.stopped:
            return
        self.stopped = True
        with self.drain.writing() as connection:
            connections.set_state(connection, self.drain.account.id, "failing", str(error))
        self.drain.refetches.refuse(error, None, float("inf"))


def _fail(
    record: Key, parcels: Sequence[Parcel], kind: Kind, reason: str, wait: float = 0.0, as_of: int | None = None
) -> None:
    """The first of those that wanted it has failed; the others wait behind it."""
    for parcel in parcels[:1]:
        parcel.fail(record, Failure(kind=kind, reason=reason, wait=wait, as_of=as_of))
    for parcel in parcels[1:]:
        parcel.wait_for(record, parcels[0].id)


def _landed(
    said: Said,
    parcels: Sequence[Parcel],
    tallies: Mapping[str, Tally],
    outcomes: Mapping[str, Mapping[str, str]],
) -> None:
    record = stream, key = said.want.record
    tally = tallies.get(stream)
    if tally is None:
        return
    bad = next((one for one in tally.rejects if one.key == key), None)
    if bad is not None:
        _fail(record, parcels, Kind.DEAD, f"what was fetched can't be stored: {bad.reason} (at {bad.path})")
    elif key in tally.tied:
        _fail(record, parcels, Kind.RETRY, "what was fetched is as new as what is stored, and different", AGAIN)
    else:
        for parcel in [parcel for parcel in parcels if record in parcel.open()]:
            parcel.counts[outcomes[stream].get(key, "unchanged") if parcel is parcels[-1] else "coalesced"] += 1
            parcel.done(record)
