"""SQLite: the write lock makes a look exact; new rows go in one call, the others one by one."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import repeat
from typing import Any

import msgspec
from sqlalchemy import Connection, Dialect, Table, Text, select, type_coerce

from connectors import Field, Kind
from sync.store.database import now
from sync.store.identity import Batch
from sync.store.tally import Tally
from sync.store.upsert import ASKED_AT, sqlite_digests, sqlite_known, sqlite_upsert
from sync.store.write import Values, Write, mean_the_same

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - the text in the database has no offset
_NOW = select(type_coerce(now(), Text))


class Sqlite:
    """A stream's table on SQLite."""

    most = 200  # there is one writer at a time: others want their turn

    def __init__(self, table: Table, fields: Sequence[Field], dialect: Dialect) -> None:
        self.table, self.fields = table, fields
        upsert = sqlite_upsert(table)
        self._upsert = str(upsert.compile(dialect=dialect))
        self._names = (*table.columns.keys(), ASKED_AT)
        self._digests = sqlite_digests(table)
        self._versions = sqlite_known(table, "key", "version", "digest", "deleted_at")
        self._payload = sqlite_known(table, "payload").with_only_columns(type_coerce(table.c.payload, Text))

    def known(self, connection: Connection, connection_id: int, batch: Batch) -> list[int | None]:
        answer = connection.execute(self._digests, _asked(connection_id, batch.keys)).scalar_one()
        found: list[int | None] = msgspec.json.decode(answer)
        return found

    def store(self, connection: Connection, write: Write, batch: Batch, values: Values) -> Tally:
        stored = {row[0]: row for row in connection.execute(self._versions, _asked(write.connection_id, batch.keys))}
        rows = self._rows(connection, write, batch, values)
        tally = Tally()
        fresh = [index for index, key in enumerate(batch.keys) if key not in stored]
        if fresh:
            connection.exec_driver_sql(self._upsert, [rows[index] for index in fresh])
        for index in fresh:
            tally.wrote(batch.keys[index], gone=batch.deleted[index], inserted=True, was_gone=False)
        for index, key in enumerate(batch.keys) if stored else ():
            if key in stored:
                self._replace(connection, write, batch.only([index]), rows[index], stored[key], tally)
        return tally

    def _replace(
        self, connection: Connection, write: Write, one: Batch, row: tuple[Any, ...], stored: Any, tally: Tally
    ) -> None:
        (key,), (version,), (digest,), (gone,) = one.keys, one.versions or (), one.digests, one.deleted
        _, held, known, deleted_at = stored
        was_gone = deleted_at is not None
        same = known == digest or (held == version and gone == was_gone and self._means(connection, write, one))
        if not same and connection.exec_driver_sql(self._upsert, row).rowcount:
            tally.wrote(key, gone=gone, inserted=False, was_gone=was_gone)
        else:
            tally.left(key, version=version, held=held, same=same)

    def _means(self, connection: Connection, write: Write, one: Batch) -> bool:
        payload = connection.execute(self._payload, _asked(write.connection_id, one.keys)).scalar_one()
        return mean_the_same(one.raws[0], payload)

    def _rows(self, connection: Connection, write: Write, batch: Batch, values: Values) -> list[tuple[Any, ...]]:
        changed_at = connection.execute(_NOW).scalar_one()
        columns: dict[str, Any] = {
            "connection_id": repeat(write.connection_id),
            "key": batch.keys,
            "parent_key": repeat(write.parent_key),
            "version": batch.versions,
            "digest": batch.digests,
            "payload": [bytes(raw).decode() for raw in batch.raws],
            "changed_at": repeat(changed_at),
            "deleted_at": [changed_at if gone else None for gone in batch.deleted],
            ASKED_AT: repeat(write.asked_at and _text(write.asked_at)),
        }
        for field, column in zip(self.fields, values, strict=True):
            columns[field.name] = _AS_STORED[field.kind](column) if field.kind in _AS_STORED else column
        return list(zip(*(columns[name] for name in self._names), strict=False))


def _asked(connection_id: int, keys: Sequence[str]) -> dict[str, Any]:
    return {"connection_id": connection_id, "keys": msgspec.json.encode(keys).decode()}


def _text(moment: datetime) -> str:
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(" ", "microseconds")


def _instants(values: Sequence[int | None]) -> list[str | None]:
    return [
        None if value is None else (_EPOCH + timedelta(microseconds=value)).isoformat(" ", "microseconds")
        for value in values
    ]


def _documents(values: Sequence[bytes | None]) -> list[str | None]:
    return [None if value is None else value.decode() for value in values]


_AS_STORED: Mapping[Kind, Callable[[Sequence[Any]], list[Any]]] = {
    Kind.JSON: _documents,
    Kind.ISO: _instants,
    Kind.EPOCH: _instants,
    Kind.EPOCH_MS: _instants,
}
