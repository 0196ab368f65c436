"""Parcels: deliveries in the hands of a drain, each with the records that it is still to change, until it is settled.

A delivery may touch several records, and each goes its own way: done, failed, or behind an earlier delivery that
failed at the same record. What becomes of the delivery follows from all of them.
"""

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Row

from connectors import Pull
from sync.effects import Change, Key, Unfit
from sync.events import Understood
from sync.states import DELIVERY
from sync.store.inbox import APPLIED, DEAD, DEFERRED, IGNORED, Settled

BACKOFF = 5.0  # seconds before the first retry at most; doubles with every failure
LONGEST = 900.0
_UNKNOWN = "\0"  # the key of a record whose key can't be read
PULL = ""  # the key that stands for a whole stream, which is to be pulled


_NEEDED = ("id", "state", "reason", "received_at", "attempts", "left", "behind_id")


class Kind(IntEnum):
    """What a failure comes to; of several the first decides about the delivery."""

    RETRY = 1  # again after a while, an attempt less
    WAIT = 2  # again at a stated time, at no cost
    DEAD = 3  # a person must see to it


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a record could not be changed. `holds`: later deliveries wait behind it, unless they are newer than
    `as_of`."""

    kind: Kind
    reason: str
    wait: float = 0.0
    as_of: int | None = None
    holds: bool = True


@dataclass(slots=True)
class Parcel:
    """One delivery in hand.

    todo      the records whose change is still to come
    parents   the partitions to pull, by stream; None = all of them
    failures  of records in `todo`; `behind` says for which earlier delivery others of them wait
    passed    the records that were done since it was taken
    holds     the records at which it holds up others
    whole     what is left can't be said by records: all of it is done again
    counted   this attempt was counted before it began
    began     there was something to do
    """

    row: Any
    understood: Understood = field(default_factory=Understood)
    todo: dict[Key, Change] = field(default_factory=dict)
    parents: dict[str, set[str | None]] = field(default_factory=dict)
    failures: dict[Key, Failure] = field(default_factory=dict)
    behind: dict[Key, int] = field(default_factory=dict)
    passed: set[Key] = field(default_factory=set)
    holds: set[Key] = field(default_factory=set)
    counts: Counter[str] = field(default_factory=Counter)
    whole: bool = False
    counted: bool = False
    began: bool = False

    @property
    def id(self) -> int:
        return int(self.row.id)

    @classmethod
    def of(cls, row: Row[Any], understood: Understood, *, counted: bool = False) -> "Parcel":
        """A delivery with what is left of it to do."""
        meaning = understood.meaning
        parcel = cls(row, understood, todo=dict(meaning.changes), counted=counted)
        for one in meaning.pulls:
            parcel.pull(one)
        for unfit in meaning.unfit:
            parcel._refuse(unfit)
        if row.left is not None:
            left = {(stream, key) for stream, key in row.left}
            parcel.todo = {record: change for record, change in parcel.todo.items() if record in left}
            parcel.failures = {record: why for record, why in parcel.failures.items() if record in left or parcel.whole}
        parcel.began = bool(parcel.todo) or row.left is not None
        return parcel

    @classmethod
    def unreadable(cls, row: Row[Any], reason: str) -> "Parcel":
        """One of which nobody knows what it means."""
        parcel = cls(row, whole=True)
        parcel.failures["", PULL] = Failure(kind=Kind.DEAD, reason=reason, holds=False)
        return parcel

    def pull(self, effect: Pull) -> None:
        self.todo.setdefault((effect.stream, PULL), Change())
        self.parents.setdefault(effect.stream, set()).add(effect.parent)

    def _refuse(self, unfit: Unfit) -> None:
        """A record that can't be stored; one without a readable key holds nobody up."""
        rejection = unfit.rejection
        reason = f"{unfit.stream} {rejection.key}: {rejection.reason} (at {rejection.path})"
        record = (unfit.stream, rejection.key or _UNKNOWN)
        failure = Failure(kind=Kind.DEAD, reason=reason, as_of=unfit.as_of, holds=bool(rejection.key))
        self.failures[record] = failure
        if rejection.key:
            self.todo.setdefault(record, Change())
        else:
            self.whole = True

    @property
    def size(self) -> int:
        """Rows to be written, itself among them."""
        return 1 + sum(len(change.rows) or 1 for change in self.todo.values())

    def lighten(self) -> None:
        """Keep what is needed of the row: bodies are large."""
        self.row = SimpleNamespace(**{name: getattr(self.row, name) for name in _NEEDED})

    # on the way

    def open(self) -> Iterator[Key]:
        """The records that are to be worked on now."""
        return (record for record in self.todo if record not in self.failures and record not in self.behind)

    def telling(self) -> list[Key]:
        return [record for record in self.open() if self.todo[record].tells]

    def asking(self) -> list[Key]:
        return [record for record in self.open() if self.todo[record].asks]

    def pulling(self) -> list[str]:
        return [stream for stream, key in self.open() if key == PULL]

    def told(self, record: Key) -> None:
        """What the events say of it is stored; it may still have to be asked for."""
        change = self.todo[record]
        if change.asks:
            change.rows, change.gone = [], None
        else:
            self.done(record)

    def done(self, record: Key) -> None:
        if self.todo.pop(record, None) is not None:
            self.passed.add(record)
            self.failures.pop(record, None)

    def fail(self, record: Key, failure: Failure) -> None:
        if record in self.todo:
            self.failures[record] = failure

    def wait_for(self, record: Key, unit: int) -> None:
        if record in self.todo:
            self.behind[record] = unit

    # in the end

    @property
    def settled(self) -> Settled | None:
        """What becomes of it; None while there is something to work on, and nothing to be noted."""
        if next(self.open(), None) is not None:
            return self._progress() if self.passed else None
        if not self.todo and not self.failures:
            return self._closed()
        if self.failures:
            return self._failed(min(self.failures.values(), key=lambda one: one.kind))
        unit = min(self.behind.values())
        return self._open(DEFERRED, reason=f"behind delivery {unit}", behind=unit, failures=-int(self.counted))

    @property
    def is_over(self) -> bool:
        """Nothing is left of it."""
        return not self.todo and not self.failures

    @property
    def in_hand(self) -> bool:
        return next(self.open(), None) is not None

    def _progress(self) -> Settled:
        return self._open(self.row.state, reason=self.row.reason, behind=self.row.behind_id, wait=None)

    def _closed(self) -> Settled:
        unknown, name = self.understood.unknown, self.understood.name
        counts = dict(self.counts + Counter(unknown=len(unknown)))
        state, reason = APPLIED, None
        if not self.began:
            state, reason = IGNORED, self._why_ignored()
        return Settled(id=self.id, state=state, reason=reason, counts=counts or None, name=name or None)

    def _why_ignored(self) -> str | None:
        understood = self.understood
        if understood.unknown:
            return f"unknown event {understood.unknown[0]!r:.80}"
        if understood.ignored and understood.ignored == understood.events:
            return f"events {understood.name!r:.80} are of no concern"
        return "its stream is not selected" if understood.meaning.others else "it changes nothing here"

    def _failed(self, failure: Failure) -> Settled:
        """The last attempt makes it dead."""
        counted, was = int(self.counted), self.row.state
        spent = failure.kind is Kind.RETRY and self.row.attempts + 1 >= DELIVERY.max_attempts
        if failure.kind is Kind.DEAD or spent:
            return self._open(DEAD, reason=failure.reason, failures=int(spent) - counted, was=was)
        if failure.kind is Kind.WAIT:
            return self._open(DEFERRED, reason=failure.reason, wait=failure.wait, failures=-counted)
        bound = min(LONGEST, BACKOFF * 2.0**self.row.attempts)
        wait = max(failure.wait, random.uniform(0, bound))  # noqa: S311 - spreads load, keeps no secret
        return self._open(DEFERRED, reason=failure.reason, wait=wait, failures=1 - counted, was=was)

    def _open(self, state: str, *, wait: float | None = 0.0, **more: Any) -> Settled:
        left = None if self.whole else sorted(self.todo)
        counts, name = dict(self.counts) or None, self.understood.name or None
        return Settled(id=self.id, state=state, wait=wait, left=left, counts=counts, name=name, **more)


def line_up(parcels: Iterable[Parcel], holdups: Iterable[Any]) -> dict[int, list[tuple[Key, int]]]:
    """Put each behind those that failed before it at one of its records, unless what it tells is newer; by delivery
    the (record, earlier delivery) that it will have overtaken once it is stored."""
    failed: dict[Key, dict[int, int | None]] = {}
    of: dict[int, set[Key]] = {}
    for row in holdups:
        failed.setdefault((row.stream, row.key), {})[row.delivery_id] = row.as_of
        of.setdefault(row.delivery_id, set()).add((row.stream, row.key))
    overtakes: dict[int, list[tuple[Key, int]]] = {}
    for parcel in parcels:
        parcel.holds |= of.get(parcel.id, set())
        for record in [*parcel.open()]:
            before = {unit: as_of for unit, as_of in failed.get(record, {}).items() if unit < parcel.id}
            if _is_newer(parcel.todo[record], before.values()):
                overtakes.setdefault(parcel.id, []).extend((record, unit) for unit in before)
            elif before:
                parcel.wait_for(record, min(before))
        for record, failure in parcel.failures.items():
            if failure.holds:
                failed.setdefault(record, {})[parcel.id] = failure.as_of
    return overtakes


def _is_newer(change: Change, failed: Iterable[int | None]) -> bool:
    """What it tells says more than what failed did."""
    moments = [*failed]
    if not moments or change.as_of is None or change.asks:
        return False
    return all(as_of is not None and change.as_of > as_of for as_of in moments)
