"""Tables of streams follow their declarations: CREATE TABLE, ADD COLUMN, CREATE INDEX, and nothing else.

A column that was added is filled from the payloads that are there, in short transactions; how far that got is a
row of `projections`, so it goes on after a crash. What a person must decide is a notice, never done by itself.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from alembic.operations import Operations
from alembic.operations.ops import CreateTableOp
from alembic.runtime.migration import MigrationContext
from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Dialect,
    Engine,
    Index,
    MetaData,
    Row,
    Table,
    Text,
    bindparam,
    delete,
    inspect,
    select,
    text,
    tuple_,
    update,
)  # fmt: skip
from sqlalchemy.exc import OperationalError

from connectors import ContractError, Field, Kind, Stream, TidelockError
from sync.store.columns import Projection, as_bound
from sync.store.database import insert_into, read, write
from sync.store.mirror import Mirror, mirror, table

Declared: TypeAlias = tuple[str, Stream]
_BATCH = 500
_LOCK = 0x7469_6465  # one number for all processes
_LOCK_TIMEOUT = "5s"
_LOCK_NOT_AVAILABLE = "55P03"
_ENSURED_AT_ONCE = 20  # batches: what a worker may do before it pulls
_LONGEST = 63  # characters of a name in PostgreSQL

_projections = Table(
    "projections",
    MetaData(),
    Column("table_name", Text, primary_key=True),
    Column("column_name", Text, primary_key=True),
    Column("connection_id", BigInteger, nullable=False),
    Column("key", Text, nullable=False),
)


class SchemaError(TidelockError):
    """The tables can't be brought to what is declared; the text says what is in the way."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing to do, or to know. kind: create | add | index | fill | notice; `text` is for people."""

    kind: str
    table: Table
    text: str
    column: Column[Any] | None = None
    index: Index | None = None


def plan(connection: Connection, declared: Iterable[Declared]) -> list[Step]:
    """What `apply` would do, and the notices."""
    found: list[Step] = []
    owners: dict[str, Declared] = {}
    for connector, stream in declared:
        wanted = table(connector, stream)
        _check_names(wanted, owners, (connector, stream))
        found += _steps(connection, wanted)
    return found


def apply(engine: Engine, declared: Iterable[Declared]) -> list[Step]:
    """Bring the tables to what is declared, in one transaction, one process at a time; then fill what was added."""
    declared = list(declared)
    steps = _alter(engine, declared)
    for connector, stream in declared:
        reproject(engine, connector, stream)
    return steps


def ensure(engine: Engine, connector: str, stream: Stream) -> bool:
    """Make the table of a stream what is declared; False while a new column is still being filled.

    Cheap once it is: a process looks only once. What is left to fill after 10,000 rows waits for the next call.
    """
    place = (str(engine.url), connector, stream.name, stream.parent, stream.columns)
    if place in _ensured:
        return True
    with read(engine) as connection:
        missing = any(step.kind != "notice" for step in plan(connection, [(connector, stream)]))
    if missing:
        _alter(engine, [(connector, stream)])
    filled = reproject(engine, connector, stream, _ENSURED_AT_ONCE)
    if filled:
        _ensured.add(place)
    return filled


def _alter(engine: Engine, declared: Iterable[Declared]) -> list[Step]:
    """Plan under the lock, so that two processes don't do the same twice, and do it."""
    try:
        with write(engine) as connection:
            _lock(connection)
            steps = plan(connection, declared)
            operations = Operations(MigrationContext.configure(connection))
            for step in steps:
                _do(connection, operations, step)
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == _LOCK_NOT_AVAILABLE:
            raise SchemaError(
                f"a table is in use for more than {_LOCK_TIMEOUT}: try again after long queries"
            ) from error
        raise
    return steps


_ensured: set[tuple[str, str, str, str | None, tuple[Field, ...]]] = set()


def _check_names(wanted: Table, owners: dict[str, Declared], declared: Declared) -> None:
    owner = owners.setdefault(wanted.name, declared)
    if (owner[0], owner[1].name) != (declared[0], declared[1].name):
        ours, theirs = f"{declared[0]}.{declared[1].name}", f"{owner[0]}.{owner[1].name}"
        raise ContractError(f"{ours} and {theirs} would share the table {wanted.name}: rename one")
    for name in (wanted.name, *(column.name for column in wanted.columns), *(str(i.name) for i in wanted.indexes)):
        if len(name.encode()) > _LONGEST:
            raise ContractError(f"{wanted.name}: the name {name!r} is longer than {_LONGEST} characters: shorten it")


def _steps(connection: Connection, wanted: Table) -> Iterator[Step]:
    there = inspect(connection)
    if not there.has_table(wanted.name):
        yield Step(kind="create", table=wanted, text=f"create table {wanted.name}")
        return
    columns = {column["name"]: column["type"] for column in there.get_columns(wanted.name)}
    indexes = {index["name"] for index in there.get_indexes(wanted.name)}
    for column in wanted.columns:
        if column.name not in columns:
            yield Step(kind="add", table=wanted, column=column, text=f"add column {wanted.name}.{column.name}")
        elif not _alike(column.type, columns[column.name], connection.dialect):
            has, is_to_be = columns[column.name], column.type.compile(connection.dialect)
            yield Step(
                kind="notice", table=wanted, column=column,
                text=f"{wanted.name}.{column.name} is {has}, declared is {is_to_be}: give the field another name, "
                "or drop the column by hand, then it is added and filled anew",
            )  # fmt: skip
    for name in columns.keys() - {column.name for column in wanted.columns}:
        yield Step(kind="notice", table=wanted, text=f"{wanted.name}.{name} is no longer declared: it stays as it is")
    for index in wanted.indexes:
        if index.name not in indexes:
            yield Step(kind="index", table=wanted, index=index, text=f"create index {index.name}")
    for row in _pending(connection, wanted.name):
        yield Step(kind="fill", table=wanted, text=f"go on filling {wanted.name}.{row.column_name}")


def _alike(wanted: Any, there: Any, dialect: Dialect) -> bool:
    return bool(str(wanted.compile(dialect)).upper() == str(there.compile(dialect)).upper())


def _lock(connection: Connection) -> None:
    """One process at a time; on SQLite the transaction itself is the lock."""
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"SET LOCAL lock_timeout = '{_LOCK_TIMEOUT}'"))
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _LOCK})


def _do(connection: Connection, operations: Operations, step: Step) -> None:
    if step.kind == "create":
        operations.invoke(CreateTableOp.from_table(step.table))
        for index in step.table.indexes:
            _index(operations, index)
    elif step.kind == "add" and step.column is not None:
        column = step.column
        operations.add_column(step.table.name, Column(column.name, column.type))
        _note(connection, step.table, column.name)
    elif step.kind == "index" and step.index is not None:
        _index(operations, step.index)


def _index(operations: Operations, index: Index) -> None:
    if index.table is not None:
        operations.create_index(index.name, index.table.name, [column.name for column in index.columns])


def _note(connection: Connection, wanted: Table, column: str) -> None:
    """Remember that a column is to be filled, in the transaction that adds it."""
    if connection.execute(select(text("1")).select_from(text(f'"{wanted.name}"')).limit(1)).first() is None:
        return
    _projections.create(connection, checkfirst=True)
    start = {"table_name": wanted.name, "column_name": column, "connection_id": -1, "key": ""}
    connection.execute(insert_into(connection, _projections).values(start).on_conflict_do_nothing())


def _pending(connection: Connection, name: str) -> Sequence[Row[Any]]:
    if not inspect(connection).has_table(_projections.name):
        return []
    return connection.execute(select(_projections).where(_projections.c.table_name == name)).all()


def reproject(engine: Engine, connector: str, stream: Stream, batches: int | None = None) -> bool:
    """Fill added columns from the payloads, at most so many batches; False while rows are left.

    It reads and writes short, goes on where it (or another process) left off, and never touches a row that was
    written since it was read: that row has its columns already.
    """
    held = mirror(connector, stream, engine.dialect)
    done = 0
    while True:
        with read(engine) as connection:
            pending = _pending(connection, held.table.name)
            rows = _next_rows(connection, held.table, pending[0]) if pending else []
        if not pending:
            return True
        if batches is not None and done >= batches:
            return False
        group = [
            row.column_name
            for row in pending
            if (row.connection_id, row.key) == (pending[0].connection_id, pending[0].key)
        ]
        with write(engine) as connection:
            _fill(connection, held, group, rows)
        done += 1


def _next_rows(connection: Connection, stored: Table, after: Row[Any]) -> Sequence[Row[Any]]:
    place = tuple_(stored.c.connection_id, stored.c.key)
    return connection.execute(
        select(stored.c.connection_id, stored.c.key, stored.c.digest, stored.c.payload.cast(Text).label("payload"))
        .where(place > tuple_(bindparam(None, after.connection_id), bindparam(None, after.key)))
        .order_by(stored.c.connection_id, stored.c.key)
        .limit(_BATCH)
    ).all()


def _fill(connection: Connection, held: Mirror, names: Sequence[str], rows: Sequence[Row[Any]]) -> None:
    """Fill the columns in these rows and move on behind them; no rows: the columns are full."""
    these = (_projections.c.table_name == held.table.name, _projections.c.column_name.in_(names))
    if not rows:
        connection.execute(delete(_projections).where(*these))
        return
    fields = [field for field in held.stream.columns if field.name in names]
    values = _projected(fields, [row.payload.encode() for row in rows])
    parameters = [
        {"b_connection": row.connection_id, "b_key": row.key, "b_digest": row.digest, **filled}
        for row, filled in zip(rows, values, strict=True)
        if any(value is not None for value in filled.values())
    ]
    if parameters:
        connection.execute(_filling(held.table, fields), parameters)
    connection.execute(
        update(_projections).where(*these).values(connection_id=rows[-1].connection_id, key=rows[-1].key)
    )


def _projected(fields: Sequence[Field], raws: Sequence[bytes]) -> list[dict[str, Any]]:
    columns, _ = Projection(fields).of(raws, b"[" + b",".join(raws) + b"]")
    bound = [[as_bound(field.kind, value) for value in column] for field, column in zip(fields, columns, strict=True)]
    return [{f"v_{place}": column[row] for place, column in enumerate(bound)} for row in range(len(raws))]


def _filling(stored: Table, fields: Sequence[Field]) -> Any:
    values = {}
    for place, field in enumerate(fields):
        kind = Text() if field.kind is Kind.JSON else stored.c[field.name].type
        value: Any = bindparam(f"v_{place}", type_=kind)
        values[field.name] = value.cast(stored.c[field.name].type) if field.kind is Kind.JSON else value
    return (
        update(stored)
        .where(stored.c.connection_id == bindparam("b_connection"), stored.c.key == bindparam("b_key"),
               stored.c.digest == bindparam("b_digest"))
        .values(values)
    )  # fmt: skip
