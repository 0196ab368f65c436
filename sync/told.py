"""What deliveries tell: stored without a request, in the transaction that closes them."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from sync.effects import Key
from sync.parcel import Failure, Kind, Parcel, line_up
from sync.store import holdups, inbox, notices
from sync.store.database import engine, read
from sync.store.mirror import refused
from sync.store.tally import Tally

if TYPE_CHECKING:
    from sync.receive import Drain

log = structlog.get_logger()

ROWS = 100  # deliveries and records of one transaction on SQLite, where everybody else waits for its end
_BECAME = ("inserted", "updated", "revived", "deleted", "unknown")


class Told:
    """Takes deliveries in: what they tell is stored, what must be asked for or pulled is left."""

    def __init__(self, drain: "Drain") -> None:
        self.drain = drain

    def take(self, parcels: Sequence[Parcel]) -> list[Parcel]:
        """Chunk by chunk; where the database refuses a value, one by one, so that only its own delivery is dead."""
        return [parcel for chunk in _chunks(parcels) for parcel in self._chunk(chunk)]

    def _chunk(self, parcels: Sequence[Parcel]) -> Sequence[Parcel]:
        try:
            self._take(parcels)
        except DBAPIError as error:
            if not refused(error):
                raise
        else:
            return parcels
        anew = [self.drain.anew(parcel) for parcel in parcels]
        for parcel in anew:
            self._take([parcel], careful=True)
        return anew

    def _take(self, parcels: Sequence[Parcel], *, careful: bool = False) -> None:
        drain = self.drain
        touched = {record for parcel in parcels for record in parcel.todo}
        with read() as connection:
            held = holdups.of(connection, drain.account.id, touched, [parcel.id for parcel in parcels])
        overtakes = line_up(parcels, held)
        telling = _by_record(parcels)
        told = drain.records.told({record: [one.todo[record] for one in ones] for record, ones in telling.items()})
        with drain.writing() as connection:
            tallies = {one.stream.name: drain.records.land(connection, one, careful=careful) for one in told}
            outcomes = {name: became(tally) for name, tally in tallies.items()}
            for record, ones in telling.items():
                _stored(record, ones, tallies[record[0]], outcomes[record[0]])
            settle(connection, drain.account.id, parcels)
            self._overtake(connection, parcels, overtakes)
        for parcel in parcels:
            drain.keep(parcel)

    def _overtake(
        self, connection: Connection, parcels: Sequence[Parcel], overtakes: Mapping[int, Sequence[tuple[Key, int]]]
    ) -> None:
        """What failed before, and is no news any more, holds up nobody."""
        past: dict[int, list[Key]] = {}
        by: dict[int, int] = {}
        for parcel in parcels:
            for record, unit in overtakes.get(parcel.id, ()):
                if record in parcel.passed:
                    past.setdefault(unit, []).append(record)
                    by[unit] = parcel.id
        if not past:
            return
        pairs = [(unit, record) for unit, records in past.items() for record in records]
        holdups.drop(connection, self.drain.account.id, pairs)
        holdups.clear(connection, inbox.overtaken(connection, past, by))
        holdups.release(connection, past)
        self.drain.forget(pairs)


def _stored(record: Key, parcels: Sequence[Parcel], tally: Tally, outcomes: Mapping[str, str]) -> None:
    """Where nobody knows which state is the later one, the vendor is asked."""
    stream, key = record
    bad = next((one for one in tally.rejects if one.key == key), None)
    for parcel in parcels:
        change = parcel.todo[record]
        if bad is not None:
            reason = f"{stream} {key}: {bad.reason} (at {bad.path})"
            parcel.fail(record, Failure(kind=Kind.DEAD, reason=reason, as_of=change.as_of))
            continue
        change.asks = change.asks or key in tally.tied
        parcel.counts[outcomes.get(key, "unchanged") if parcel is parcels[-1] else "coalesced"] += 1
        parcel.told(record)


def became(tally: Tally) -> dict[str, str]:
    """What became of each record that was written, by key."""
    return {key: name for name in _BECAME for key in getattr(tally, name)}


def _by_record(parcels: Iterable[Parcel]) -> dict[Key, list[Parcel]]:
    """Those that tell of each record, in their order."""
    found: dict[Key, list[Parcel]] = {}
    for parcel in parcels:
        for record in parcel.telling():
            found.setdefault(record, []).append(parcel)
    return found


def _chunks(parcels: Sequence[Parcel]) -> Iterator[list[Parcel]]:
    """As many as belong into one transaction."""
    most = ROWS if engine().dialect.name == "sqlite" else 10 * ROWS
    chunk: list[Parcel] = []
    size = 0
    for parcel in parcels:
        if chunk and size + parcel.size > most:
            yield chunk
            chunk, size = [], 0
        chunk.append(parcel)
        size += parcel.size
    if chunk:
        yield chunk


def settle(connection: Connection, account: int, parcels: Sequence[Parcel]) -> None:
    """Write what becomes of these deliveries, in the transaction of what they did; what waited for them is due."""
    failed = {
        (parcel.id, record): failure.as_of
        for parcel in parcels
        for record, failure in parcel.failures.items()
        if failure.holds
    }
    passed = [(parcel.id, record) for parcel in parcels for record in parcel.passed & parcel.holds]
    over = [parcel.id for parcel in parcels if parcel.is_over and parcel.holds]
    holdups.add(connection, account, failed)
    holdups.drop(connection, account, passed)
    holdups.clear(connection, over)
    inbox.settle(connection, [one for parcel in parcels if (one := parcel.settled)])
    holdups.release(connection, {*over, *(unit for unit, _ in passed)})
    _count_unknown(connection, account, parcels)


def _count_unknown(connection: Connection, account: int, parcels: Iterable[Parcel]) -> None:
    """An event that nobody knows is counted when its delivery is over, and told when it is the first of its name."""
    names = Counter(name for parcel in parcels if parcel.is_over for name in parcel.understood.unknown)
    if not names:
        return
    known = {row.name for row in notices.listed(connection, account, notices.UNKNOWN)}
    for name in names.keys() - known:
        log.warning("unknown event", connection=account, name=name)
    said = "the connector neither understands nor ignores it"
    notices.count(connection, [notices.Count(account, notices.UNKNOWN, *each, said) for each in names.items()])
