"""Rejects: single records that could not be stored. They wait for a person, with their bytes, and stop nothing."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection, Row, case, exists, false, or_, select, update

from connectors import Rows, TidelockError
from models import Reject
from sync.store.database import insert_into, now
from sync.store.identity import Rejection, digests
from sync.store.mirror import Mirror
from sync.store.tally import Tally

_rejects = Reject.__table__
_EPOCH_MICROSECONDS = 1_000_000


class Source(Protocol):
    """Where records came from: a slice is one."""

    @property
    def connection_id(self) -> int: ...
    @property
    def stream(self) -> str: ...
    @property
    def partition(self) -> str: ...
    @property
    def run_id(self) -> int | None: ...


class UnknownRejectError(TidelockError):
    """There is no reject of this number."""


def save(connection: Connection, source: Source, rejections: Iterable[Rejection]) -> None:
    """Keep records that could not be stored. The same bytes again are counted, not kept twice; what a person has
    dropped stays dropped."""
    rows = [_row(source, rejection) for rejection in rejections]
    if not rows:
        return
    statement = insert_into(connection, _rejects)
    new, held = statement.excluded, _rejects.c
    again = {
        "seen": held.seen + 1, "last_at": new.last_at, "run_id": new.run_id, "path": new.path, "reason": new.reason,
        "state": case((held.state == "dropped", held.state), else_=new.state),
    }  # fmt: skip
    index = ["connection_id", "stream", "digest"]
    statement = statement.values(first_at=now(), last_at=now())
    connection.execute(statement.on_conflict_do_update(index_elements=index, set_=again), rows)


def _row(source: Source, rejection: Rejection) -> dict[str, Any]:
    return {
        "connection_id": source.connection_id, "stream": source.stream, "partition": source.partition,
        "run_id": source.run_id, "key": rejection.key.replace("\0", ""), "payload": rejection.payload,
        "digest": digests([rejection.payload], [False])[0], "path": rejection.path,
        "reason": rejection.reason.replace("\0", ""), "state": "dead", "seen": 1,
    }  # fmt: skip


def listed(
    connection: Connection, connection_id: int | None = None, stream: str | None = None, state: str = "dead",
    limit: int = 100,
) -> Sequence[Row[Any]]:  # fmt: skip
    """Rejects in this state, the latest first."""
    held = _rejects.c
    wanted = [held.state == state]
    wanted += [held.connection_id == connection_id] if connection_id is not None else []
    wanted += [held.stream == stream] if stream is not None else []
    return connection.execute(select(_rejects).where(*wanted).order_by(held.last_at.desc()).limit(limit)).all()


def replay(connection: Connection, mirror: Mirror, reject: int) -> Tally:
    """Try to store a reject again; it is closed if that worked, else it says what is wrong now.

    Where versions are the time of the request, it counts as asked for when it was last seen.
    """
    row = connection.execute(select(_rejects).where(_rejects.c.id == reject)).first()
    if row is None:
        raise UnknownRejectError(f"there is no reject {reject}")
    batch = mirror.reader.read(Rows([row.payload]), int(row.last_at.timestamp() * _EPOCH_MICROSECONDS))
    tally = mirror.write(connection, row.connection_id, batch, row.last_at, row.partition or None, careful=True)
    if tally.rejects:
        worse = {"path": tally.rejects[0].path, "reason": tally.rejects[0].reason.replace("\0", "")}
        connection.execute(update(Reject).where(Reject.id == reject).values(state="dead", **worse))
    else:
        connection.execute(update(Reject).where(Reject.id == reject).values(state="replayed"))
    return tally


def overtake(connection: Connection, source: Source, mirror: Mirror, *, unseen_since: datetime | None) -> int:
    """Close what a person need not look at any more: rejects whose record was stored since they were last seen, and,
    behind a pass over the whole list that began at `unseen_since`, those that it did not show again."""
    held, stored = _rejects.c, mirror.table.c
    later = exists().where(
        stored.connection_id == held.connection_id, stored.key == held.key, stored.changed_at > held.last_at
    )
    unseen = held.last_at < unseen_since if unseen_since else false()
    statement = update(_rejects).where(
        held.connection_id == source.connection_id, held.stream == source.stream, held.partition == source.partition,
        held.state == "dead", or_(later, unseen),
    )  # fmt: skip
    return connection.execute(statement.values(state="overtaken")).rowcount


def drop(connection: Connection, rejects: Sequence[int]) -> int:
    """Give up on rejects; they stay to be looked at. Returns how many there were."""
    gone = update(Reject).where(Reject.id.in_(rejects), Reject.state == "dead").values(state="dropped")
    return connection.execute(gone).rowcount
