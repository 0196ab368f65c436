"""Notices: what came to a connection's door and was not let in, or was not understood: counted, not kept."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, Row, Select, String, Text, bindparam, exists, func, or_, select

from models import Connection as Account
from models import Notice
from sync.store.database import insert_for, now

REFUSED = "refused"
UNKNOWN = "unknown"

MOST = 200
"""Names of one kind at one connection: whoever is let in by nobody's signature could else fill the table."""

_LONGEST = 200  # characters of a name
_SAMPLE = 500
_notices: Any = Notice.__table__
_accounts: Any = Account.__table__
_KEY = ("connection_id", "kind", "name")
_LISTED = (
    *(column for column in _notices.c if column.name != "count"),
    _notices.c.count.label("times"),  # a row has a method `count`
    _accounts.c.name.label("connection"),
)


class Count(NamedTuple):
    """So many of a kind; `sample` is the sentence of the last one."""

    connection_id: int
    kind: str
    name: str
    times: int
    sample: str


def _upsert(dialect: str) -> Any:
    """For one row. A connection that is gone, and a name too many, is left out."""
    given = {
        "connection_id": _accounts.c.id,
        "kind": bindparam("kind", type_=String()),
        "name": bindparam("name", type_=String()),
        "count": bindparam("times", type_=_notices.c.count.type),
        "sample": bindparam("sample", type_=Text()),
        "first_at": now(),
        "last_at": now(),
    }
    alike = [_notices.c.connection_id == _accounts.c.id, _notices.c.kind == given["kind"]]
    here = exists().where(*alike, _notices.c.name == given["name"])
    room = select(func.count()).select_from(_notices).where(*alike).scalar_subquery() < MOST
    source = select(*given.values()).where(_accounts.c.id == bindparam("connection_id"), or_(here, room))
    insert = insert_for(dialect, _notices).from_select(list(given), source)
    new = insert.excluded
    changes = {"count": _notices.c.count + new.count, "sample": new.sample, "last_at": new.last_at}
    return insert.on_conflict_do_update(index_elements=_KEY, set_=changes)


_UPSERT = {dialect: _upsert(dialect) for dialect in ("postgresql", "sqlite")}


def count(connection: Connection, counts: Iterable[Count]) -> None:
    """Add to what was counted before."""
    rows = [_tamed(one)._asdict() for one in sorted(counts)]  # in one order, so that two writers never wait crosswise
    if rows:
        connection.execute(_UPSERT[connection.dialect.name], rows)


def listed(connection: Connection, connection_id: int | None = None, kind: str | None = None) -> Sequence[Row[Any]]:
    """What was counted, the latest first: the columns, of which `count` is called `times`, and the connection's name as
    `connection`."""
    query: Select[Any] = select(*_LISTED).join(_accounts, _accounts.c.id == _notices.c.connection_id)
    if connection_id is not None:
        query = query.where(_notices.c.connection_id == connection_id)
    if kind is not None:
        query = query.where(_notices.c.kind == kind)
    return connection.execute(query.order_by(_notices.c.last_at.desc(), *(_notices.c[name] for name in _KEY))).all()


def _tamed(one: Count) -> Count:
    return one._replace(name=_fit(one.name)[:_LONGEST], sample=_fit(one.sample)[:_SAMPLE])


def _fit(text: str) -> str:
    """Without what no database keeps: U+0000, and halves of surrogate pairs."""
    return text.replace("\0", "").encode(errors="replace").decode()
