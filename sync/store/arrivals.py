"""Arrivals: webhooks on their way into the inbox, as many of them in one statement as there are."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, String, bindparam, func, literal_column, select

from models import Delivery
from sync.store import packed
from sync.store.database import insert_for, now

_deliveries: Any = Delivery.__table__
_KEY = ("connection_id", "delivery")


class Arrival(NamedTuple):
    """A delivery that was believed, not stored yet; `correlation` is an id that no other arrival has."""

    connection_id: int
    delivery: str
    headers: str
    body: bytes
    correlation: str


_SAME = {"state": literal_column("'received'"), "received_at": now(), "due_at": now(), "attempts": literal_column("0")}


def _postgresql() -> Any:
    """Numbered in the order in which they came."""
    columns = func.unnest(*(bindparam(name, type_=packed.Array()) for name in Arrival._fields))
    came = columns.table_valued(*Arrival._fields).render_derived(name="came")
    values = {**{name: came.c[name] for name in Arrival._fields}, **_SAME}
    insert = insert_for("postgresql", _deliveries).from_select(list(values), select(*values.values()))
    return insert.on_conflict_do_nothing(index_elements=_KEY).returning(_deliveries.c.correlation)


def _sqlite() -> Any:
    """For one row."""
    values = {**{name: bindparam(name) for name in Arrival._fields}, **_SAME}
    return insert_for("sqlite", _deliveries).values(values).on_conflict_do_nothing(index_elements=_KEY)


_INSERT = {"postgresql": _postgresql(), "sqlite": _sqlite()}
_asked: Any = func.json_each(bindparam("asked", type_=String())).table_valued("value", name="asked")
_STORED = select(_deliveries.c.correlation).where(
    _deliveries.c.connection_id == func.json_extract(_asked.c.value, "$[0]"),
    _deliveries.c.delivery == func.json_extract(_asked.c.value, "$[1]"),
)


def store(connection: Connection, arrivals: Sequence[Arrival]) -> list[Arrival]:
    """Put them into the inbox; those that were new. A delivery that is there already, under the same connection and
    id, is left as it is."""
    known = _known(connection, arrivals) if connection.dialect.name == "sqlite" else _answered(connection, arrivals)
    return list(arrivals) if known is None else [one for one in arrivals if one.correlation in known]


def _answered(connection: Connection, arrivals: Sequence[Arrival]) -> set[str]:
    accounts, deliveries, headers, bodies, correlations = zip(*arrivals, strict=True)
    columns = {
        "connection_id": packed.bigints(accounts),
        "delivery": packed.texts(deliveries),
        "headers": packed.texts(headers),
        "body": packed.blobs(bodies),
        "correlation": packed.texts(correlations),
    }
    return set(connection.execute(_INSERT["postgresql"], columns).scalars())


def _known(connection: Connection, arrivals: Sequence[Arrival]) -> set[str] | None:
    """The correlations that are stored now; None = all are. SQLite says how many rows were new, not which."""
    rows = [one._asdict() for one in arrivals]
    if connection.execute(_INSERT["sqlite"], rows).rowcount == len(arrivals):
        return None
    asked = msgspec.json.encode([one[:2] for one in arrivals]).decode()
    return set(connection.execute(_STORED, {"asked": asked}).scalars())
