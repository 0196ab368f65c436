"""Hold-ups: the records at which a delivery failed. Later deliveries wait for it there, and nowhere else.

Whoever changes one holds the inbox: a drain by its lease (`inbox_leases.renew` in the same transaction), a person by
`lock`. So nothing is left waiting for a delivery that was resolved in the same moment.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, TypeAlias

from sqlalchemy import Connection, Row, and_, bindparam, delete, insert, null, or_, select, text, update

from models import Delivery, Holdup, Inbox
from models.delivery import BEHIND, OPEN
from sync.store.database import now
from sync.store.upsert import known_keys

Key: TypeAlias = tuple[str, str]

_holdups = Holdup.__table__
_deliveries = Delivery.__table__
_inboxes = Inbox.__table__
_one = and_(
    _holdups.c.connection_id == bindparam("account"),
    _holdups.c.stream == bindparam("of_stream"),
    _holdups.c.key == bindparam("of_key"),
    _holdups.c.delivery_id == bindparam("unit"),
)
_any = select(_holdups.c.delivery_id).where(_holdups.c.connection_id == bindparam("account")).limit(1)
_alive = and_(_deliveries.c.id == bindparam("unit"), or_(text(f"deliveries.{OPEN}"), _deliveries.c.state == "dead"))
_add = insert(_holdups).from_select(
    ["connection_id", "stream", "key", "delivery_id", "as_of"],
    select(
        bindparam("account", type_=_holdups.c.connection_id.type),
        bindparam("of_stream", type_=_holdups.c.stream.type),
        bindparam("of_key", type_=_holdups.c.key.type),
        _deliveries.c.id,
        bindparam("new", type_=_holdups.c.as_of.type),
    ).where(_alive),
)
_drop = delete(_holdups).where(_one)
_clear = delete(_holdups).where(_holdups.c.delivery_id.in_(bindparam("units", expanding=True)))
_release = (
    update(_deliveries)
    .where(text(f"deliveries.{BEHIND}"), _deliveries.c.behind_id.in_(bindparam("units", expanding=True)))
    .values(due_at=now(), behind_id=null())
)


def lock(connection: Connection, accounts: Collection[int]) -> None:
    """Until the end of this transaction no drain of these inboxes commits."""
    which = select(_inboxes.c.connection_id).where(_inboxes.c.connection_id.in_(sorted(accounts)))
    connection.execute(which.order_by(_inboxes.c.connection_id).with_for_update()).all()


def of(connection: Connection, account: int, records: Iterable[Key], deliveries: Collection[int]) -> list[Row[Any]]:
    """The hold-ups at these records, and those of these deliveries."""
    if connection.execute(_any, {"account": account}).first() is None:
        return []
    mine = _holdups.c.connection_id == account
    found = {tuple(row): row for row in connection.execute(select(_holdups).where(mine, _of(deliveries)))}
    for stream, keys in _by_stream(records).items():
        there = _holdups.c.key.in_(known_keys(connection, keys))
        rows = connection.execute(select(_holdups).where(mine, _holdups.c.stream == stream, there))
        found |= {tuple(row): row for row in rows}
    return list(found.values())


def _of(deliveries: Collection[int]) -> Any:
    return _holdups.c.delivery_id.in_(sorted(deliveries))


def _by_stream(records: Iterable[Key]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for stream, key in records:
        found.setdefault(stream, []).append(key)
    return found


def add(connection: Connection, account: int, failed: Mapping[tuple[int, Key], int | None]) -> None:
    """(delivery, record) -> how new its event is. One that a person has closed meanwhile holds up nothing."""
    drop(connection, account, failed)
    if failed:
        connection.execute(_add, [{**_named(account, *one), "new": as_of} for one, as_of in failed.items()])


def drop(connection: Connection, account: int, resolved: Iterable[tuple[int, Key]]) -> None:
    """These deliveries are past these records."""
    rows = [_named(account, *one) for one in resolved]
    if rows:
        connection.execute(_drop, rows)


def _named(account: int, unit: int, record: Key) -> dict[str, Any]:
    return {"account": account, "unit": unit, "of_stream": record[0], "of_key": record[1]}


def clear(connection: Connection, deliveries: Collection[int]) -> None:
    """These deliveries hold up nothing any more."""
    if deliveries:
        connection.execute(_clear, {"units": sorted(deliveries)})


def release(connection: Connection, deliveries: Collection[int]) -> int:
    """What waits behind these is due now: it looks again. How many there were."""
    return connection.execute(_release, {"units": sorted(deliveries)}).rowcount if deliveries else 0
