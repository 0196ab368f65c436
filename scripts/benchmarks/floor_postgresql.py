"""The PostgreSQL floor: the fastest hand-written loop with Tidelock's promises, storing the same bytes.

    python -m benchmarks.floor_postgresql --source URL --postgres URL [--reset] [--base /records]

It prints one JSON line. Frozen: a change needs new figures in published.json, measured as its "how" says.

Promises kept: records and checkpoint commit together, page by page; a row is inserted, or updated only if the
incoming version is newer and the content differs (or the row was deleted); unchanged rows are not rewritten.
Stored: key, version, 64-bit digest, payload as json, changed_at, deleted_at, eight typed columns.

The shape, each choice measured at pages of 100 (CPU us a record, client and backend, pages in memory):

- columns by LATERAL json_to_record 20.8; by ->> on json 32.9 (each ->> reads the document anew); a second
  json_to_recordset of the page 21.4; records wrapped by the client in {"k", "v", "d", "p"} 22.2; columns
  extracted by the client 19.4, within the drift; jsonb level; COPY to a temporary table, then upsert 23.
- checkpoint in the statement itself (WITH ... UPDATE, autocommit): one round trip, 14.7; four of them 16.6.
- payload as a binary json[] instead of one json array: 0.7 less.
- a generic plan: 1.3 less. Its trap (planned on an empty table, kept for good: 280 us a record) is avoided by
  enable_seqscan=off and a precheck that only the whole primary key can answer: a scalar subselect per key.
  `key = ANY (...)` falls into it even so. Answers come in the order of the keys: one comparison a page.
- enable_bitmapscan=off: 0.9 less on unchanged data.
- nothing to write: precheck, then the checkpoint alone. One round trip for both was no faster.
- the precheck is left out on a first load into an empty table.

Not taken: COPY straight into the table (about 3 us less), which is no upsert.
"""

import argparse
import json
import struct
import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec
import psycopg
from psycopg import pq

from benchmarks import page
from benchmarks.fetch import Fetch

CONNECTION_ID = 1
COLUMNS = (
    "name text, email text, status text, currency text, amount bigint, tax_rate double precision, "
    "paid boolean, created_at timestamptz"
)
NAMES = [column.split()[0] for column in COLUMNS.split(", ")]
RESET = f"""
    DROP TABLE IF EXISTS floor_records, floor_checkpoints;
    CREATE TABLE floor_records (
        connection_id bigint, key text, version bigint NOT NULL, digest bigint NOT NULL,
        payload json NOT NULL, changed_at timestamptz NOT NULL DEFAULT now(), deleted_at timestamptz,
        {COLUMNS},
        PRIMARY KEY (connection_id, key));
    CREATE TABLE floor_checkpoints (connection_id bigint PRIMARY KEY, page_token text);
    INSERT INTO floor_checkpoints VALUES ({CONNECTION_ID}, NULL);
"""
SETTINGS = """
    SET plan_cache_mode = force_generic_plan; SET jit = off;
    SET enable_seqscan = off; SET enable_bitmapscan = off;
"""
CHECKPOINT = f"UPDATE floor_checkpoints SET page_token = $1 WHERE connection_id = {CONNECTION_ID}"
KNOWN = f"""
    SELECT array(SELECT (SELECT digest FROM floor_records
                         WHERE connection_id = {CONNECTION_ID} AND key = asked AND deleted_at IS NULL)
                 FROM unnest($1::text[]) AS asked)
"""
UPSERT = f"""
    WITH position AS ({CHECKPOINT})
    INSERT INTO floor_records AS t (connection_id, key, version, digest, payload, {", ".join(NAMES)})
    SELECT {CONNECTION_ID}, key, version, digest, payload, {", ".join(NAMES)}
    FROM ROWS FROM (unnest($2::text[]), unnest($3::bigint[]), unnest($4::bigint[]), unnest($5::json[]))
             AS s(key, version, digest, payload),
         LATERAL json_to_record(payload) AS c({COLUMNS})
    ON CONFLICT (connection_id, key) DO UPDATE SET
        version = excluded.version, digest = excluded.digest, payload = excluded.payload, changed_at = now(),
        deleted_at = NULL, {", ".join(f"{name} = excluded.{name}" for name in NAMES)}
    WHERE excluded.version > t.version AND (excluded.digest <> t.digest OR t.deleted_at IS NOT NULL)
"""

TEXT_OID, BIGINT_OID, JSON_OID = 25, 20, 114
NO_VALUE = b"\xff\xff\xff\xff"
TEXT, BINARY = 0, 1
UPSERT_FORMATS = [TEXT, BINARY, BINARY, BINARY, BINARY]

StorePage = Callable[["Store", memoryview, page.Envelope], int]


def encoded(token: str | None) -> bytes:
    """A page token as a parameter in text format; empty at the end."""
    return (token or "").encode()


def array(oid: int, values: Iterable[bytes], count: int) -> bytes:
    """A one-dimensional PostgreSQL array in binary format."""
    head = struct.pack(">iiiii", 1, 0, oid, count, 1)
    return head + b"".join([len(value).to_bytes(4, "big") + value for value in values])


def bigints(values: list[int]) -> bytes:
    """A bigint[] in binary format."""
    return array(BIGINT_OID, [value.to_bytes(8, "big", signed=True) for value in values], len(values))


def elements(sent: bytes) -> list[bytes | None]:
    """The elements of a bigint[] in binary format, each as its eight bytes."""
    found: list[bytes | None] = []
    at = 20
    while at < len(sent):
        if sent[at : at + 4] == NO_VALUE:
            found.append(None)
            at += 4
        else:
            found.append(sent[at + 4 : at + 12])
            at += 12
    return found


class Store:
    """The three prepared statements on one connection."""

    def __init__(self, url: str, *, reset: bool) -> None:
        self.connection = psycopg.connect(url, autocommit=True)
        if reset:
            self.connection.execute(RESET)
        self.connection.execute(SETTINGS)
        empty = self.connection.execute("SELECT NOT EXISTS (SELECT FROM floor_records)").fetchone()
        self.first_load = bool(empty and empty[0])
        self.raw = self.connection.pgconn
        for name, sql in ((b"known", KNOWN), (b"upsert", UPSERT), (b"checkpoint", CHECKPOINT)):
            self._checked(self.raw.prepare(name, sql.encode()))

    def _checked(self, result: Any) -> Any:
        if result.status not in {pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK}:
            raise psycopg.DatabaseError(result.error_message.decode())
        return result

    def known(self, keys: bytes) -> bytes:
        """The stored digests of a text[] of keys, in their order, as a bigint[]."""
        result = self._checked(self.raw.exec_prepared(b"known", [keys], [BINARY], BINARY))
        return bytes(result.get_value(0, 0))

    def checkpoint(self, token: str | None) -> None:
        """Move the position where no row needs writing."""
        self._checked(self.raw.exec_prepared(b"checkpoint", [encoded(token)]))

    def upsert(self, token: str | None, keys: bytes, versions: bytes, digests: bytes, payloads: bytes) -> int:
        """Write rows and position in one transaction; the number of rows inserted or updated."""
        values = [encoded(token), keys, versions, digests, payloads]
        result = self._checked(self.raw.exec_prepared(b"upsert", values, UPSERT_FORMATS))
        return int(result.command_tuples)


def store_all(store: Store, body: memoryview, sent: page.Envelope) -> int:
    """A page of a first load: every record is sent. The number of rows written."""
    rows = page.VERSIONED_PAGE.decode(body).data
    raws = sent.data
    return store.upsert(
        sent.next_cursor,
        array(TEXT_OID, [row.id.encode() for row in rows], len(rows)),
        bigints([page.version(row.updated_at) for row in rows]),
        array(BIGINT_OID, [page.digest(raw) for raw in raws], len(raws)),
        array(JSON_OID, [bytes(raw) for raw in raws], len(raws)),
    )


def store_changed(store: Store, body: memoryview, sent: page.Envelope) -> int:
    """A page of a later load: only records whose digest differs are sent. The number of rows written."""
    keys = [row.id.encode() for row in page.KEYS.decode(body).data]
    digests = [page.digest(raw) for raw in sent.data]
    known = store.known(array(TEXT_OID, keys, len(keys)))
    if known == array(BIGINT_OID, digests, len(digests)):
        store.checkpoint(sent.next_cursor)
        return 0
    differing = [n for n, (old, new) in enumerate(zip(elements(known), digests, strict=True)) if old != new]
    raws: list[msgspec.Raw] = [sent.data[n] for n in differing]
    versions = [page.version(page.VERSIONED.decode(raw).updated_at) for raw in raws]
    return store.upsert(
        sent.next_cursor,
        array(TEXT_OID, [keys[n] for n in differing], len(raws)),
        bigints(versions),
        array(BIGINT_OID, [digests[n] for n in differing], len(raws)),
        array(JSON_OID, [bytes(raw) for raw in raws], len(raws)),
    )


def pull(fetch: Fetch, store: Store, base: str) -> dict[str, int]:
    """Every page of `base` into the store. Counts of pages, records and rows written."""
    store_page: StorePage = store_all if store.first_load else store_changed
    pages = records = written = 0
    token: str | None = "0"
    while token is not None:
        body = fetch.get(f"{base}?cursor={token}&limit=100")
        sent = page.ENVELOPE.decode(body)
        written += store_page(store, body, sent)
        records += len(sent.data)
        pages += 1
        token = sent.next_cursor
    return {"pages": pages, "records": records, "written": written}


def main() -> None:
    parser = argparse.ArgumentParser(description="the PostgreSQL floor")
    parser.add_argument("--source", required=True)
    parser.add_argument("--postgres", required=True)
    parser.add_argument("--base", default="/records")
    parser.add_argument("--reset", action="store_true", help="make the tables anew")
    asked = parser.parse_args()
    store, fetch = Store(asked.postgres, reset=asked.reset), Fetch(asked.source)
    cpu, wall = time.process_time(), time.perf_counter()
    counts = pull(fetch, store, asked.base)
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({**counts, "seconds": seconds, "cpu_seconds": cpu_seconds}))


if __name__ == "__main__":
    main()
