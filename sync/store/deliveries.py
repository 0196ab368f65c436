"""Deliveries as people look at them: listed, counted, replayed, ignored."""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, literal, null, or_, select, text, update

from models import Attempt, Delivery
from models.delivery import OPEN
from sync.store import holdups, inbox
from sync.store.database import now

_deliveries = Delivery.__table__
_attempts = Attempt.__table__
_listed = [column for column in _deliveries.c if column.name not in ("headers", "body")]
_has_content = _deliveries.c.headers != ""
BY_A_PERSON = "by a person"
_CHUNK = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Which deliveries; whatever is not given leaves none out.

    accounts      ids of connections
    since, until  when they were received; until is exclusive
    ids           of deliveries, ours
    delivery      the vendor's id
    """

    accounts: Collection[int] | None = None
    states: Collection[str] | None = None
    names: Collection[str] | None = None
    since: datetime | None = None
    until: datetime | None = None
    ids: Collection[int] | None = None
    delivery: str | None = None

    def where(self) -> list[ColumnElement[bool]]:
        held = _deliveries.c
        lists = ((held.connection_id, self.accounts), (held.state, self.states), (held.name, self.names),
                 (held.id, self.ids))  # fmt: skip
        wanted: list[ColumnElement[bool]] = [
            column.in_(sorted(values)) for column, values in lists if values is not None
        ]
        wanted += [held.received_at >= self.since] if self.since else []
        wanted += [held.received_at < self.until] if self.until else []
        wanted += [held.delivery == self.delivery] if self.delivery is not None else []
        return wanted


def listed(connection: Connection, chosen: Chosen, *, before: int | None = None, most: int = 50) -> Sequence[Row[Any]]:
    """The newest first, without content but with its `size`; `before` is the last id of the page before."""
    older = [_deliveries.c.id < before] if before is not None else []
    columns = [*_listed, func.length(_deliveries.c.body).label("size")]
    query = select(*columns).where(*chosen.where(), *older).order_by(_deliveries.c.id.desc()).limit(most)
    return connection.execute(query).all()


def get(connection: Connection, unit: int) -> Row[Any] | None:
    """All of one delivery."""
    return connection.execute(select(_deliveries).where(_deliveries.c.id == unit)).one_or_none()


def history(connection: Connection, unit: int) -> Sequence[Row[Any]]:
    """What befell a delivery, the earliest first."""
    mine = (_attempts.c.kind == "delivery", _attempts.c.unit == unit)
    return connection.execute(select(_attempts).where(*mine).order_by(_attempts.c.id)).all()


def count(connection: Connection, chosen: Chosen) -> int:
    """How many there are."""
    query = select(func.count()).select_from(_deliveries).where(*chosen.where())
    return int(connection.execute(query).scalar_one())


def counts(connection: Connection, chosen: Chosen) -> dict[tuple[int, str], int]:
    """How many there are, by connection and state."""
    held = _deliveries.c
    query = select(held.connection_id, held.state, func.count().label("many")).where(*chosen.where())
    rows = connection.execute(query.group_by(held.connection_id, held.state))
    return {(row.connection_id, row.state): row.many for row in rows}


def replayable(connection: Connection, chosen: Chosen) -> int:
    """How many of them `replay` would take: not those whose content was dropped for its age."""
    query = select(func.count()).select_from(_deliveries).where(*chosen.where(), _has_content)
    return int(connection.execute(query).scalar_one())


def replay(connection: Connection, chosen: Chosen, *, whole: bool = False) -> dict[int, int]:
    """They are due again with all their attempts; how many of each connection. One that was applied in part goes on
    with what is left, unless the `whole` of it is wanted."""
    which = [*chosen.where(), _has_content]
    told = select(literal("delivery"), _deliveries.c.id, now(), _deliveries.c.state, literal(inbox.RECEIVED),
                  literal(f"replayed {BY_A_PERSON}"), literal(0))  # fmt: skip
    names = ["kind", "unit", "at", "before", "after", "reason", "fence"]
    connection.execute(insert(_attempts).from_select(names, told.where(*which), include_defaults=False))
    values: dict[str, Any] = {
        "state": inbox.RECEIVED, "due_at": now(), "attempts": 0, "reason": null(), "behind_id": null(),
        "closed_at": null(),
    }  # fmt: skip
    values |= {"left": null()} if whole else {}
    statement = update(_deliveries).where(*which).values(values).returning(_deliveries.c.connection_id)
    return dict(Counter(connection.execute(statement).scalars()))


def ignore(connection: Connection, chosen: Chosen, reason: str = BY_A_PERSON) -> int:
    """Give up on those that are not over: what waited behind them is due. How many there were."""
    stuck = [*chosen.where(), or_(text(f"deliveries.{OPEN}"), _deliveries.c.state == inbox.DEAD)]
    accounts = connection.execute(select(_deliveries.c.connection_id).where(*stuck).distinct()).scalars().all()
    holdups.lock(connection, accounts)
    query = select(_deliveries.c.id, _deliveries.c.state).where(*stuck).order_by(_deliveries.c.id)
    rows = connection.execute(query.with_for_update()).all()
    for start in range(0, len(rows), _CHUNK):
        _ignore(connection, rows[start : start + _CHUNK], reason)
    return len(rows)


def _ignore(connection: Connection, rows: Sequence[Any], reason: str) -> None:
    ids = [row.id for row in rows]
    values = {"state": inbox.IGNORED, "reason": inbox.storable(reason), "closed_at": now(), "behind_id": null()}
    connection.execute(update(_deliveries).where(_deliveries.c.id.in_(ids)).values(values))
    inbox.note(connection, [(row.id, row.state, inbox.IGNORED, reason) for row in rows])
    holdups.clear(connection, ids)
    holdups.release(connection, ids)
