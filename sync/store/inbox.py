"""The inbox: deliveries that are due, in batches, and what became of them, many in one statement."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from typing import Any

import msgspec
from sqlalchemy import (
    BigInteger,
    Connection,
    Double,
    Integer,
    Row,
    Text,
    and_,
    bindparam,
    case,
    cast,
    exists,
    func,
    insert,
    null,
    or_,
    select,
    text,
    update,
)  # fmt: skip

from models import Attempt, Delivery, Holdup
from models import Connection as Account
from models.delivery import OPEN
from sync.states import DELIVERY, State
from sync.store import packed
from sync.store.database import now

_deliveries = Delivery.__table__
_holdups = Holdup.__table__
_accounts = Account.__table__
_attempts = Attempt.__table__

MOST = 200  # deliveries of a batch
MOST_BYTES = 4 * 1024 * 1024  # of their bodies, unless one alone is larger
LATER = 3600.0  # seconds after which what waits for another delivery looks again, though nobody told it to
RECEIVED, DEFERRED, DEAD = (DELIVERY.word(state) for state in (State.READY, State.DEFERRED, State.DEAD))
APPLIED, IGNORED = DELIVERY.word(State.DONE), DELIVERY.word(State.CANCELLED)

_open = text(f"deliveries.{OPEN}")
_active = exists().where(_accounts.c.id == bindparam("account"), _accounts.c.state == "active")
_look = (
    select(_deliveries.c.id, func.length(_deliveries.c.body).label("size"))
    .where(
        _deliveries.c.connection_id == bindparam("account"),
        _open,
        _deliveries.c.due_at <= now(),
        _deliveries.c.id.not_in(bindparam("without", expanding=True)),
        _active,
    )
    .order_by(_deliveries.c.due_at, _deliveries.c.id)
    .limit(bindparam("most"))
)
_take = (
    select(_deliveries)
    .where(_deliveries.c.id.in_(bindparam("ids", expanding=True)), _open)
    .order_by(_deliveries.c.id)
    .with_for_update(skip_locked=True)
)


def batch(connection: Connection, account: int, without: Collection[int] = (), most: int = MOST) -> list[Row[Any]]:
    """Deliveries of an active connection that are due, those that are due the longest, in the order in which they
    came. What somebody else is changing just now has its turn later."""
    asked = {"account": account, "without": sorted(without), "most": most}
    looked = connection.execute(_look, asked).all()
    sizes = accumulate(row.size for row in looked)
    ids = [row.id for row, size in zip(looked, sizes, strict=True) if size <= MOST_BYTES]
    ids = ids or [row.id for row in looked[:1]]
    return list(connection.execute(_take, {"ids": ids})) if ids else []


_began = update(_deliveries).where(_deliveries.c.id == bindparam("unit"), _open)
_began = _began.values(attempts=_deliveries.c.attempts + 1)


def begin(connection: Connection, unit: int) -> None:
    """Count an attempt before it is made, where making it may be the end of the worker."""
    connection.execute(_began, {"unit": unit})


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What becomes of a delivery.

    wait      seconds until it is due; None = as it was
    failures  attempts that it used up
    left      the records that are still to come; None = all
    behind    the delivery that it waits for
    was       the state before, where the step belongs into the history
    """

    id: int
    state: str
    reason: str | None = None
    wait: float | None = None
    failures: int = 0
    left: Sequence[tuple[str, str]] | None = None
    behind: int | None = None
    counts: dict[str, int] | None = None
    name: str | None = None
    was: str | None = None


def settle(connection: Connection, settled: Sequence[Settled], worker: str | None = None) -> int:
    """Write what became of these deliveries, however many, in one statement; how many. What a person has closed
    meanwhile stays closed.

    One that waits behind another is due at once if that one holds nothing up any more.
    """
    if not settled:
        return 0
    rows = sorted(settled, key=lambda one: one.id)
    note(connection, [(one.id, one.was, one.state, one.reason) for one in rows if one.was], worker)
    if connection.dialect.name == "postgresql":
        return connection.execute(_settling("postgresql"), _packed(rows)).rowcount
    return connection.execute(_settling("sqlite"), [_plain(one) for one in rows]).rowcount


_COLUMNS: dict[str, Any] = {
    "unit": BigInteger(), "becomes": Text(), "why": Text(), "wait": Double(), "failures": BigInteger(),
    "remains": Text(), "after": BigInteger(), "did": Text(), "called": Text(),
}  # fmt: skip


@cache
def _settling(dialect: str) -> Any:
    """The statement: PostgreSQL's reads all rows from arrays, SQLite's is executed for each."""
    if dialect == "postgresql":
        rows = func.unnest(*(bindparam(name, type_=packed.Array()) for name in _COLUMNS))
        new = rows.table_valued(*_COLUMNS).render_derived(name="settled").c
        given: dict[str, Any] = {name: cast(new[name], kind) for name, kind in _COLUMNS.items()}
    else:
        given = {name: bindparam(name, type_=kind) for name, kind in _COLUMNS.items()}
    json = _deliveries.c.left.type if dialect == "postgresql" else Text()
    return (
        update(_deliveries)
        .where(_deliveries.c.id == given["unit"], _open)
        .values(
            state=given["becomes"],
            reason=given["why"],
            due_at=_due(given),
            closed_at=case((or_(given["becomes"] == APPLIED, given["becomes"] == IGNORED), now())),
            attempts=_deliveries.c.attempts + cast(given["failures"], Integer),
            left=cast(given["remains"], json),
            behind_id=given["after"],
            counts=cast(given["did"], json),
            name=func.coalesce(given["called"], _deliveries.c.name),
        )
    )


def _due(given: dict[str, Any]) -> Any:
    holds = exists().where(_holdups.c.delivery_id == given["after"])
    return case(
        (and_(given["after"].is_not(None), holds), now(LATER)),
        (given["after"].is_not(None), now()),
        (given["wait"].is_(None), _deliveries.c.due_at),
        else_=now(given["wait"]),
    )


def _plain(one: Settled) -> dict[str, Any]:
    left = None if one.left is None else _json(one.left)
    return {
        "unit": one.id, "becomes": one.state, "why": storable(one.reason), "wait": one.wait,
        "failures": one.failures, "remains": left, "after": one.behind,
        "did": _json(one.counts) if one.counts is not None else None, "called": storable(one.name),
    }  # fmt: skip


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


_PACKERS: dict[str, Any] = {
    "unit": packed.bigints, "wait": packed.doubles, "failures": packed.bigints, "after": packed.bigints,
}  # fmt: skip


def _packed(rows: Iterable[Settled]) -> dict[str, Any]:
    plain = [_plain(one) for one in rows]
    return {name: _PACKERS.get(name, packed.texts)([one[name] for one in plain]) for name in _COLUMNS}


def storable(words: str | None) -> str | None:
    """A text as every database takes it."""
    return None if words is None else words.encode(errors="replace").decode().replace("\0", "")


_note = insert(_attempts).values(kind="delivery", at=now())


def note(
    connection: Connection, steps: Iterable[tuple[int, str | None, str, str | None]], worker: str | None = None
) -> None:
    """Append transitions to the history: delivery, before, after, and why."""
    rows = [
        {"unit": unit, "before": before, "after": after, "reason": storable(reason), "fence": 0, "worker": worker}
        for unit, before, after, reason in steps
    ]
    if rows:
        connection.execute(_note, rows)


_left_of = select(_deliveries.c.id, _deliveries.c.left, _deliveries.c.state).where(
    _deliveries.c.id.in_(bindparam("units", expanding=True)), or_(_open, _deliveries.c.state == DEAD)
)
_fewer = (
    update(_deliveries)
    .where(_deliveries.c.id == bindparam("unit"))
    .values(left=bindparam("remains", type_=_deliveries.c.left.type))
)
_over = (
    update(_deliveries)
    .where(_deliveries.c.id == bindparam("unit"))
    .values(state=IGNORED, reason=bindparam("why"), closed_at=now(), left=null(), behind_id=null())
)


def overtaken(connection: Connection, past: dict[int, list[tuple[str, str]]], by: dict[int, int]) -> list[int]:
    """Newer deliveries have said all about these records of these deliveries, by whom says `by`. Those of which
    nothing is left are over; their ids."""
    over: list[int] = []
    for row in connection.execute(_left_of, {"units": sorted(past)}).all():
        remains = [one for one in row.left or () if tuple(one) not in past[row.id]]
        if remains or row.left is None:
            connection.execute(_fewer, {"unit": row.id, "remains": remains or None})
            continue
        reason = f"overtaken by delivery {by[row.id]}"
        connection.execute(_over, {"unit": row.id, "why": reason})
        note(connection, [(row.id, row.state, IGNORED, reason)])
        over.append(row.id)
    return over
