"""Proof: what a complete full pass did not show may be gone. Absence is believed only when it is proved.

Rows that changed since the pass began are left alone. Every other absent key is asked for, or must be absent from
a second pass; and where more is gone than the guard allows, the slice is held for the owner.
"""

import time
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from connectors import Connector, Opaque, Stream, Sweep
from models import Sighting
from sync.door import UNREADABLE, OutcomeError
from sync.states import State
from sync.store import absence, leases, runs
from sync.store.database import engine, read, write
from sync.store.mirror import mirror

if TYPE_CHECKING:
    from sync.pull import Pass

_sightings = Sighting.__table__
_CONFIRMED_A_COMMIT = 20
_RESET = Sweep(every=None, confirm="order")  # after an expired cursor the vendor's list is the truth


def rule_of(connector: Connector, stream: Stream) -> Sweep | None:
    """How a full pass of the stream proves absence; None = it proves nothing.

    Where a feed or a list of tombstones tells what is deleted, a full pass makes up for what they have forgotten.
    """
    if stream.sweep or isinstance(stream.cursor, Opaque):
        return stream.sweep or _RESET
    told = stream.tombstones or (connector.feed and stream.name in connector.feed.streams)
    return Sweep(every=None, confirm="get" if stream.get else "pass") if told else None


class Proof:
    """The last phase of a full pass."""

    def __init__(self, held: "Pass") -> None:
        self.held = held
        self.rule = rule_of(held.connector, held.stream) or _RESET
        self.mirror = mirror(held.account.connector, held.stream, engine().dialect)

    def work(self) -> None:
        """Find what is absent, confirm it within the time there is, then bury it or hold the slice."""
        if self.rule.confirm != "get" and self.held.counts.get("rejected"):
            self._end()  # who can't read every record can't tell which is missing
            return
        absent = self.held.absent or {}
        if "asked" not in absent and not self._suspect(absent.get("first")):
            return
        if self._confirm():
            self._close()

    def _suspect(self, first: list[str] | None) -> bool:
        """Sort what is absent into what must be asked for and what is believed; False = a second pass is needed.

        confirm="get": ask for each. "order": believe it. "pass": believe what a second pass misses too.
        """
        missing = self._missing()
        if self.rule.confirm == "pass" and first is None and missing:
            self._pass_again(missing)
            return False
        if self.rule.confirm == "pass":
            missing = [key for key in missing if key in frozenset(first or ())]
        asks = self.rule.confirm == "get"
        self.held.absent = {"asked": missing if asks else [], "gone": [] if asks else missing}
        return True

    def _missing(self) -> list[str]:
        with read() as connection:
            seen = connection.execute(
                select(_sightings.c.hashes).where(_sightings.c.slice_id == self.held.row.id)
            ).scalars()
            missing = absence.absent(
                connection, self.mirror, self.held.account.id, self._partition(), seen, self.held.row.began_at
            )
        return [key for key, _ in missing]

    def _partition(self) -> str | None:
        return self.held.row.partition if self.held.stream.parent else None

    def _pass_again(self, missing: list[str]) -> None:
        row = self.held.row
        with write() as connection:
            leases.rewind(
                connection, row.id, row.fence, {**row.ask, "page": None}, full=True, absent={"first": missing}
            )
            leases.leave(connection, row.id, row.fence, State.READY)

    def _confirm(self) -> bool:
        """Ask for every absent key; False = time is up, the rest is asked in the continuation."""
        absent: dict[str, list[str]] = self.held.absent
        while absent["asked"]:
            for key in absent["asked"][:_CONFIRMED_A_COMMIT]:
                if self._is_gone(key):
                    absent["gone"].append(key)
            del absent["asked"][:_CONFIRMED_A_COMMIT]
            with write() as connection:
                self.held.commit(connection)
                if self._excess(connection, len(absent["gone"])):
                    return True  # the owner decides before any more is asked for
            if absent["asked"] and time.monotonic() >= self.held.until:
                self.held.pause()
                return False
        return True

    def _is_gone(self, key: str) -> bool:
        before = self.held.api.requests
        try:
            return self.held.one(key) is None
        except OutcomeError as error:
            if error.outcome not in UNREADABLE:
                raise
            return False  # nobody may read it, so nobody can say that it is gone
        finally:
            self.held.count({}, requests=self.held.api.requests - before)

    def _close(self) -> None:
        gone: list[str] = self.held.absent["gone"]
        with write() as connection:
            excess = self._excess(connection, len(gone)) if gone else None
            closed = self._hold(connection, excess) if excess else self._bury(connection, gone)
        self.held.let_go(closed=closed)

    def _end(self) -> None:
        with write() as connection:
            closed = self._bury(connection, [])
        self.held.let_go(closed=closed)

    def _excess(self, connection: Connection, gone: int) -> str | None:
        """What is gone must be within the guard of its partition, and with what this run found gone before, of the
        stream: many small partitions that are empty at once have lost a permission, not their records."""
        guarded = [(self._partition(), 0)]
        if self._partition() is not None:
            guarded.append((None, runs.counted(connection, self.held.row.run_id).get("absent", 0)))
        for parent, before in guarded:
            total = before + absence.live(connection, self.mirror, self.held.account.id, parent)
            excess = absence.guard(total, before + gone, self.rule.max_drop, self.held.row.approved)
            if excess:
                return excess
        return None

    def _hold(self, connection: Connection, excess: str) -> bool:
        self.held.commit(connection)
        row = self.held.row
        leases.leave(connection, row.id, row.fence, State.HELD, reason=excess, worker=row.worker)
        runs.hold_instead(connection, row)
        return runs.slice_left(connection, row.run_id)

    def _bury(self, connection: Connection, gone: list[str]) -> bool:
        as_of = self.held.started or 0
        buried = absence.bury_absent(connection, self.mirror, self.held.account.id, gone, as_of, self.held.row.began_at)
        self.held.count({"deleted": len(buried), "absent": len(buried)})
        self.held.absent = None
        self.held.commit(connection)
        return self.held.finish(connection)
