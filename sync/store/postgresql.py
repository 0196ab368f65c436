"""PostgreSQL: one statement compares a batch, one statement stores it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Dialect, Table, Text, bindparam, select

from connectors import Field
from sync.store import packed
from sync.store.identity import Batch
from sync.store.tally import Tally
from sync.store.upsert import ASKED_AT, incoming, pack, postgresql_known, postgresql_upsert
from sync.store.write import Values, Write, mean_the_same


class Postgresql:
    """A stream's table on PostgreSQL."""

    most = 500

    def __init__(self, table: Table, fields: Sequence[Field], dialect: Dialect) -> None:
        self.table, self.fields = table, fields
        self._names = incoming(fields)
        self._known = postgresql_known(table)
        self._insert = postgresql_upsert(table, fields, look=False)
        self._change = postgresql_upsert(table, fields, look=True)
        stored = table.c
        self._why = select(
            stored.key, stored.version, stored.digest, stored.deleted_at, stored.payload.cast(Text)
        ).where(stored.connection_id == bindparam("connection_id"), stored.key.in_(bindparam("keys", expanding=True)))

    def known(self, connection: Connection, connection_id: int, batch: Batch) -> list[int | None]:
        asked = {"connection_id": connection_id, "keys": packed.texts(batch.keys)}
        found: list[int | None] = connection.execute(self._known, asked).scalar_one()
        return found

    def store(self, connection: Connection, write: Write, batch: Batch, values: Values) -> Tally:
        raws = list(map(bytes, batch.raws))
        columns: list[Any] = [batch.keys, batch.versions, batch.digests, raws, batch.deleted, *values]
        parameters: dict[str, Any] = {
            "connection_id": write.connection_id,
            "parent_key": write.parent_key,
            ASKED_AT: write.asked_at,
            **pack(self._names, self.fields, columns),
        }
        statement = self._change if batch.compared else self._insert
        answer = connection.execute(statement, parameters).all()
        if (
            len(answer) == len(batch)
            and not batch.compared
            and not any(batch.deleted)
            and all(row[1] for row in answer)
        ):
            return Tally(inserted=list(batch.keys))
        written = {row[0]: row for row in answer}
        tally = Tally()
        for key, gone in zip(batch.keys, batch.deleted, strict=True):
            row = written.get(key)
            if row is not None:
                tally.wrote(key, gone=gone, inserted=row[1], was_gone=batch.compared and bool(row[2]))
        if len(written) < len(batch):
            left = [index for index, key in enumerate(batch.keys) if key not in written]
            self._explain(connection, write, batch.only(left), tally)
        return tally

    def _explain(self, connection: Connection, write: Write, left: Batch, tally: Tally) -> None:
        """Ask why rows were not written, in the same transaction."""
        asked = {"connection_id": write.connection_id, "keys": left.keys}
        stored = {row[0]: row for row in connection.execute(self._why, asked)}
        rows = zip(left.keys, left.versions or (), left.digests, left.deleted, left.raws, strict=True)
        for key, version, digest, gone, raw in rows:
            _, held, known, deleted_at, payload = stored[key]
            as_gone = gone == (deleted_at is not None)
            same = known == digest or (version == held and as_gone and mean_the_same(raw, payload))
            tally.left(key, version=version, held=held, same=same)
