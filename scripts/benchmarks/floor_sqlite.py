"""The SQLite floor: the fastest hand-written loop that keeps Tidelock's promises and stores the same columns.

    python -m benchmarks.floor_sqlite --source URL --sqlite PATH [--reset] [--base /records]

Frozen, as floor_postgresql is. WAL, synchronous=NORMAL, BEGIN IMMEDIATE, records and checkpoint in one
transaction a page, fetch and precheck before it.

Measured at pages of 100 (CPU us a record, pages in memory): typed decode of the page, then executemany 6.7;
columns by ->> in the statement 7.8; execute row by row for its row count 7.2, with RETURNING 9.3; INSERT ..
SELECT FROM json_each 14.0. WITHOUT ROWID, BLOB payloads, a larger cache change nothing. Unchanged pages: no
precheck 4.8, key IN (SELECT value FROM json_each) 2.5, json_each LEFT JOIN answered as one JSON array in the
order of the keys 2.1.
"""

import argparse
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from benchmarks import page
from benchmarks.fetch import Fetch

CONNECTION_ID = 1
NAMES = ("name", "email", "status", "currency", "amount", "tax_rate", "paid", "created_at")
RESET = """
    CREATE TABLE floor_records (
        connection_id integer NOT NULL, key text NOT NULL, version integer NOT NULL, digest integer NOT NULL,
        payload text NOT NULL, changed_at text NOT NULL DEFAULT (strftime('%Y-%m-%d %H:%M:%f', 'now')),
        deleted_at text, name text, email text, status text, currency text, amount integer, tax_rate real,
        paid integer, created_at text, PRIMARY KEY (connection_id, key));
    CREATE TABLE floor_checkpoints (connection_id integer PRIMARY KEY, page_token text);
"""
FIRST_CHECKPOINT = "INSERT INTO floor_checkpoints VALUES (?, NULL)"
CHECKPOINT = f"UPDATE floor_checkpoints SET page_token = ? WHERE connection_id = {CONNECTION_ID}"
KNOWN = f"""
    SELECT json_group_array(digest) FROM (
        SELECT digest FROM json_each(?) AS asked LEFT JOIN floor_records AS t
        ON t.connection_id = {CONNECTION_ID} AND t.key = asked.value AND t.deleted_at IS NULL)
"""
UPSERT = f"""
    INSERT INTO floor_records AS t (connection_id, key, version, digest, payload, {", ".join(NAMES)})
    VALUES ({CONNECTION_ID}, ?, ?, ?, ?, {", ".join("?" * len(NAMES))})
    ON CONFLICT (connection_id, key) DO UPDATE SET
        version = excluded.version, digest = excluded.digest, payload = excluded.payload,
        changed_at = excluded.changed_at, deleted_at = NULL,
        {", ".join(f"{name} = excluded.{name}" for name in NAMES)}
    WHERE excluded.version > t.version AND (excluded.digest <> t.digest OR t.deleted_at IS NOT NULL)
"""

Row = tuple[str | int | float | None, ...]
StorePage = Callable[["Store", memoryview, page.Envelope], int]
encode = msgspec.json.Encoder().encode
decode_known = msgspec.json.Decoder(list[int | None]).decode


def signed_digest(raw: msgspec.Raw) -> int:
    """The digest as SQLite stores an integer."""
    return int.from_bytes(page.digest(raw), "big", signed=True)


def as_row(seen: page.Projected, digest: int, raw: msgspec.Raw) -> Row:
    """The parameters of UPSERT."""
    identity = (seen.id, page.version(seen.updated_at), digest, str(raw, "utf-8"))
    texts = (seen.name, seen.email, seen.status, seen.currency)
    return (*identity, *texts, seen.amount, seen.tax_rate, seen.paid, seen.created_at)


class Store:
    """One connection and its statements."""

    def __init__(self, path: str, *, reset: bool) -> None:
        if reset:
            for suffix in ("", "-wal", "-shm"):
                Path(path + suffix).unlink(missing_ok=True)
        self.connection = sqlite3.connect(path, isolation_level=None)
        self.connection.execute("PRAGMA journal_mode = wal")
        self.connection.execute("PRAGMA synchronous = normal")
        if reset:
            self.connection.executescript(RESET)
            self.connection.execute(FIRST_CHECKPOINT, (CONNECTION_ID,))
        self.first_load = self.connection.execute("SELECT 1 FROM floor_records LIMIT 1").fetchone() is None

    def known(self, keys: list[str]) -> list[int | None]:
        """The stored digests of `keys`, in their order."""
        return decode_known(self.connection.execute(KNOWN, (encode(keys).decode(),)).fetchone()[0])

    def upsert(self, token: str | None, rows: list[Row]) -> int:
        """Write rows and position in one transaction; the number of rows inserted or updated."""
        self.connection.execute("BEGIN IMMEDIATE")
        written = self.connection.executemany(UPSERT, rows).rowcount if rows else 0
        self.connection.execute(CHECKPOINT, (token,))
        self.connection.execute("COMMIT")
        return written


def store_all(store: Store, body: memoryview, sent: page.Envelope) -> int:
    """A page of a first load: every record is sent. The number of rows written."""
    seen = page.PROJECTED_PAGE.decode(body).data
    rows = [as_row(one, signed_digest(raw), raw) for one, raw in zip(seen, sent.data, strict=True)]
    return store.upsert(sent.next_cursor, rows)


def store_changed(store: Store, body: memoryview, sent: page.Envelope) -> int:
    """A page of a later load: only records whose digest differs are decoded and sent. The rows written."""
    digests = [signed_digest(raw) for raw in sent.data]
    known = store.known([row.id for row in page.KEYS.decode(body).data])
    rows: list[Row] = []
    if known != digests:
        triples = zip(known, digests, sent.data, strict=True)
        rows = [as_row(page.PROJECTED.decode(raw), new, raw) for old, new, raw in triples if old != new]
    return store.upsert(sent.next_cursor, rows)


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
    parser = argparse.ArgumentParser(description="the SQLite floor")
    parser.add_argument("--source", required=True)
    parser.add_argument("--sqlite", required=True)
    parser.add_argument("--base", default="/records")
    parser.add_argument("--reset", action="store_true", help="make the database anew")
    asked = parser.parse_args()
    store, fetch = Store(asked.sqlite, reset=asked.reset), Fetch(asked.source)
    cpu, wall = time.process_time(), time.perf_counter()
    counts = pull(fetch, store, asked.base)
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    print(json.dumps({**counts, "seconds": seconds, "cpu_seconds": cpu_seconds}))


if __name__ == "__main__":
    main()
