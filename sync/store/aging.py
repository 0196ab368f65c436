"""Aging: what becomes of deliveries that are over. First they lose their bodies, then they go; and so do notices.

A delivery is remembered for a month at least, however little is kept: until then a vendor, or a person at a vendor's
page, may send it again, and it must not be taken for a new one. What still waits, for its time or for a person, stays
as it is.

There is no index on the time at which they came. Their numbers rise with it, so the first one of an age is found by
halving, and everything before it is looked at in the order of the primary key.
"""

from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Engine, bindparam, delete, exists, func, select, update

from models import Delivery, Notice
from sync.store.database import engine, now, read, write
from sync.store.removal import remove, some

REMEMBERED = 30.0  # days
BATCH = 300  # rows a transaction
SPAN = 5_000  # numbers that one look goes over
LOOKS = 100  # of one call
_DAY = 86_400.0

_deliveries: Any = Delivery.__table__
_notices: Any = Notice.__table__
_id = _deliveries.c.id
_over = _deliveries.c.state.in_(["applied", "ignored"])

_ends = select(select(func.min(_id)).scalar_subquery(), select(func.max(_id)).scalar_subquery())
_is_old = (
    select(_deliveries.c.received_at < now(bindparam("offset")))
    .where(_id >= bindparam("number"))
    .order_by(_id)
    .limit(1)
)
_between = (_id >= bindparam("first"), _id < bindparam("end"), _over)
_any = select(_id).where(*_between).order_by(_id).limit(BATCH)
_full = select(_id).where(*_between, func.length(_deliveries.c.body) > 0).order_by(_id).limit(BATCH)
_forgotten = _notices.c.last_at < now(bindparam("offset"))

_emptied: WeakKeyDictionary[Engine, int] = WeakKeyDictionary()
"""Up to which number bodies were dropped, as far as this process has seen; it begins anew with each process."""


def aged(days: float) -> Iterator[tuple[str, int]]:
    """Does a batch at a time: of what, and how many."""
    remembered = _older_than(max(days, REMEMBERED))
    yield from _removed(remembered)
    if days < REMEMBERED:
        yield from _dropped(remembered, _older_than(days))
    yield from _notices_removed({"offset": -days * _DAY})


def _older_than(days: float) -> int:
    """The number before which deliveries are older than that."""
    with read() as connection:
        low, high = connection.execute(_ends).one()
        if low is None or not _old(connection, low, days):
            return low or 0
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if _old(connection, middle, days) else (low, middle - 1)
    return int(low) + 1


def _old(connection: Connection, number: int, days: float) -> bool:
    return bool(connection.execute(_is_old, {"number": number, "offset": -days * _DAY}).scalar_one())


def _removed(end: int) -> Iterator[tuple[str, int]]:
    while ids := some(_any, {"first": 0, "end": end}):
        count = remove(_deliveries, ids)
        yield _deliveries.name, count
        if not count:
            return  # another one is at these rows


def _dropped(first: int, end: int) -> Iterator[tuple[str, int]]:
    """Bodies, from where the last call ended."""
    first = max(first, _emptied.get(engine(), 0))
    for start in range(first, min(end, first + LOOKS * SPAN), SPAN):
        till = min(start + SPAN, end)
        while ids := some(_full, {"first": start, "end": till}):
            yield "bodies", _without_body(ids)
        _emptied[engine()] = till


def _without_body(ids: list[int]) -> int:
    with write() as connection:
        return connection.execute(update(_deliveries).where(_id.in_(ids), _over).values(body=b"")).rowcount


def _notices_removed(age: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    with read() as connection:
        found = connection.execute(select(exists().where(_forgotten)), age).scalar_one()
    if found:
        with write() as connection:
            count = connection.execute(delete(_notices).where(_forgotten), age).rowcount
        yield _notices.name, count
