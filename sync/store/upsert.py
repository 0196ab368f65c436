"""The one guarded upsert, for both databases: pull, refetch, webhook and push answer all go through it.

A row is inserted; or it replaces the stored one if it differs and its version is newer, or is the same while
the stored row was written before this answer was asked for. Equal versions that were both under way win over
nobody: they are `tied`, and to be fetched again. Unchanged rows are not rewritten.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    Boolean,
    ColumnElement,
    Connection,
    DateTime,
    Select,
    String,
    Table,
    and_,
    bindparam,
    case,
    cast,
    false,
    func,
    literal_column,
    or_,
    select,
    true,
)  # fmt: skip
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSONB

from connectors import Field, Kind
from models import Instant
from sync.store import packed

ASKED_AT = "_asked_at_"  # a parameter that no column is likely to be called
IDENTITY = ("connection_id", "key")
_PACKERS: Mapping[Kind, Any] = {
    Kind.TEXT: packed.texts,
    Kind.INTEGER: packed.bigints,
    Kind.NUMBER: packed.doubles,
    Kind.BOOLEAN: packed.booleans,
    Kind.JSON: packed.jsons,
    Kind.ISO: packed.instants,
    Kind.EPOCH: packed.instants,
    Kind.EPOCH_MS: packed.instants,
}
_NUL = literal_column(r"'%\\u0000%'", String())
_STATEMENT_TIME = func.statement_timestamp(type_=DateTime(timezone=True))


def newer(statement: Any, table: Table, asked_at: ColumnElement[Any], tie: ColumnElement[bool]) -> ColumnElement[bool]:
    """Whether what comes in replaces what is stored: its version is higher, or it is the same, the stored row was
    written before this answer was asked for, and `tie` holds."""
    stored, new = table.c, statement.excluded
    as_new = and_(new.version == stored.version, stored.changed_at < asked_at, tie)
    return or_(new.version > stored.version, as_new)


def guard(statement: Any, table: Table, differs: ColumnElement[bool]) -> Any:
    """An insert becomes the upsert. `differs` says of equally new documents that they don't mean the same."""
    stored, new = table.c, statement.excluded
    changes = {column.name: new[column.name] for column in stored if column.name not in IDENTITY}
    if "parent_key" in changes:
        changes["parent_key"] = func.coalesce(new.parent_key, stored.parent_key)
    replaces = newer(statement, table, bindparam(ASKED_AT, type_=Instant()), differs)
    return statement.on_conflict_do_update(
        index_elements=IDENTITY, set_=changes, where=and_(stored.digest != new.digest, replaces)
    )


def incoming(fields: Sequence[Field]) -> tuple[str, ...]:
    """The parameters of `postgresql_upsert` that are packed arrays, in order."""
    return ("key", "version", "digest", "payload", "gone", *(f"column_{place}" for place in range(len(fields))))


def pack(names: Sequence[str], fields: Sequence[Field], columns: Sequence[Sequence[Any]]) -> dict[str, packed.Packed]:
    """Those parameters, from the lists of keys, versions, digests, payloads, deletions and the projected columns."""
    packers: list[Any] = [packed.texts, packed.bigints, packed.bigints, packed.jsons, packed.booleans]
    packers += [_PACKERS[field.kind] for field in fields]
    return {name: packer(values) for name, packer, values in zip(names, packers, columns, strict=True)}


def postgresql_upsert(table: Table, fields: Sequence[Field], *, look: bool) -> Any:
    """One statement for any number of rows, which answers with key and `inserted` of those it wrote, and if it
    shall `look`, whether each was a tombstone before."""
    names = incoming(fields)
    rows = func.unnest(*(bindparam(name, type_=packed.Array()) for name in names))
    source = rows.table_valued(*names).render_derived(name="incoming")
    values: dict[str, Any] = {
        "connection_id": bindparam("connection_id", type_=table.c.connection_id.type),
        "key": source.c.key,
        "version": source.c.version,
        "digest": source.c.digest,
        "payload": source.c.payload,
        "changed_at": _STATEMENT_TIME,
        "deleted_at": case((cast(source.c.gone, Boolean), _STATEMENT_TIME)),
        **{field.name: source.c[f"column_{place}"] for place, field in enumerate(fields)},
    }
    if "parent_key" in table.c:
        values["parent_key"] = bindparam("parent_key", type_=String())
    statement = postgresql.insert(table)
    differs = ~_same_meaning(table.c, statement.excluded)
    upsert = guard(statement.from_select(list(values), select(*values.values())), table, differs)
    answer = [table.c.key, (literal_column(f"{table.name}.xmax", String()) == literal_column("0")).label("inserted")]
    return upsert.returning(*answer, *([_was_gone(table)] if look else []))


def _same_meaning(stored: Any, new: Any) -> ColumnElement[bool]:
    """Whether two documents are equal but for space and the order of keys; JSONB can't take U+0000."""
    readable = and_(*(cast(each.payload, String).not_like(_NUL) for each in (stored, new)))
    return and_(
        stored.deleted_at.is_(None) == new.deleted_at.is_(None),
        case((readable, cast(stored.payload, JSONB) == cast(new.payload, JSONB)), else_=false()),
    )


def _was_gone(table: Table) -> ColumnElement[bool]:
    """Inside RETURNING a sub-select still sees the row as it was. SQLAlchemy would not correlate it by itself."""
    before = table.alias("before")
    itself = [before.c[name] == literal_column(f"{table.name}.{name}") for name in IDENTITY]
    return select(before.c.deleted_at.is_not(None)).where(*itself).scalar_subquery().label("was_gone")


def postgresql_known(table: Table) -> Select[Any]:
    """The digests stored under `keys`, in their order, NULL where there is none: one array. Every key is looked up
    by itself, so no plan can become a scan of the table."""
    keys: Any = func.unnest(bindparam("keys", type_=packed.Array())).table_valued("key").render_derived(name="asked")
    one = select(table.c.digest).where(
        table.c.connection_id == bindparam("connection_id", type_=table.c.connection_id.type),
        table.c.key == keys.c.key,
    )
    return select(func.array(select(one.correlate(keys).scalar_subquery()).select_from(keys).scalar_subquery()))


def sqlite_upsert(table: Table) -> Any:
    """The statement for one row; its parameters are the columns' names, and ASKED_AT."""
    return guard(sqlite.insert(table), table, true())


def sqlite_known(table: Table, *columns: str) -> Select[Any]:
    """The named columns of the rows stored under `keys`, a JSON array."""
    listed: Any = func.json_each(bindparam("keys", type_=String()))
    keys: Any = select(literal_column("value")).select_from(listed)
    connection_id = bindparam("connection_id", type_=table.c.connection_id.type)
    return select(*(table.c[name] for name in columns)).where(
        table.c.connection_id == connection_id, table.c.key.in_(keys)
    )


def sqlite_digests(table: Table) -> Select[Any]:
    """The digests stored under `keys`, in their order, null where there is none: one JSON array."""
    keys: Any = func.json_each(bindparam("keys", type_=String())).table_valued("value", name="asked")
    connection_id = bindparam("connection_id", type_=table.c.connection_id.type)
    found = keys.outerjoin(table, and_(table.c.connection_id == connection_id, table.c.key == keys.c.value))
    return select(func.json_group_array(table.c.digest, type_=String())).select_from(found)


def known_keys(connection: Connection, keys: Sequence[str]) -> Select[Any]:
    """The keys as the rows of a sub-select, one parameter however many there are."""
    if connection.dialect.name == "sqlite":
        listed = bindparam(None, msgspec.json.encode(keys).decode(), String())
        return select(literal_column("value")).select_from(func.json_each(listed))
    return select(func.unnest(bindparam(None, packed.texts(keys), packed.Array())))
