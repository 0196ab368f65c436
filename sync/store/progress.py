"""Progress: how far runs are, from their slices."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, func, select

from models import Run, Slice
from sync.states import FINAL, State
from sync.store.runs import OPEN, total

_runs = Run.__table__
_slices = Slice.__table__
_final = frozenset(state.value for state in FINAL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """One run as it stands.

    state    waiting | running | held | done | failed | cancelled
    counts   inserted, updated, unchanged, deleted, rejected, pages, requests: so far, of all its slices
    slices   how many there are; left: how many are not finished; busy: how many a worker holds now
    reason   why it failed, or why it waits; due_at: until when
    """

    run: int
    stream: str
    list: str
    state: str
    counts: dict[str, int]
    slices: int
    left: int
    busy: int
    reason: str | None
    due_at: datetime | None
    opened_at: datetime
    closed_at: datetime | None

    @property
    def open(self) -> bool:
        return self.state in OPEN


def of(connection: Connection, runs: Sequence[int]) -> list[Progress]:
    """The progress of these runs, in their order."""
    shares: dict[int, list[Row[Any]]] = {}
    for row in connection.execute(select(_slices).where(_slices.c.run_id.in_(runs))):
        shares.setdefault(row.run_id, []).append(row)
    found = connection.execute(select(_runs).where(_runs.c.id.in_(runs)).order_by(_runs.c.id))
    return [_progress(run, shares.get(run.id, [])) for run in found]


def _progress(run: Row[Any], slices: list[Row[Any]]) -> Progress:
    waiting = next((row for row in slices if row.reason and row.state not in _final), None)
    return Progress(
        run=run.id,
        stream=run.stream,
        list=run.list,
        state=run.state,
        counts=total(row.counts for row in slices),
        slices=len(slices),
        left=sum(row.state not in _final for row in slices),
        busy=sum(row.state == State.RUNNING.value for row in slices),
        reason=run.reason or (waiting.reason if waiting else None),
        due_at=waiting.due_at if waiting else None,
        opened_at=run.opened_at,
        closed_at=run.closed_at,
    )


def newest(connection: Connection, account: int) -> int:
    """The id of the connection's newest run; 0 = it never had one."""
    statement = select(func.max(_runs.c.id)).where(_runs.c.connection_id == account)
    return connection.execute(statement).scalar() or 0


def since(connection: Connection, account: int, run: int) -> list[int]:
    """The ids of the runs that were opened after this one."""
    statement = select(_runs.c.id).where(_runs.c.connection_id == account, _runs.c.id > run).order_by(_runs.c.id)
    return list(connection.execute(statement).scalars())


def under_way(connection: Connection, account: int, streams: Iterable[str] | None = None) -> list[int]:
    """The ids of the runs that are open now."""
    statement = select(_runs.c.id).where(_runs.c.connection_id == account, _runs.c.state.in_(OPEN))
    if streams is not None:
        statement = statement.where(_runs.c.stream.in_(list(streams)))
    return list(connection.execute(statement.order_by(_runs.c.id)).scalars())
