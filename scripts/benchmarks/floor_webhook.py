"""The limit of storing deliveries: INSERT ... SELECT FROM unnest by one psycopg client, without HTTP around it.

    python -m benchmarks.floor_webhook --postgres URL --rows 100 --seconds 2 --name TEXT

The table with its indexes is there (that of `models.Delivery`), and so is connection 1. Each transaction stores so
many rows of the same bytes as the receiver does: body, headers as JSON text, two ids of its own each. It prints one
JSON line: rows, seconds, CPU seconds of the client.
"""

import argparse
import json
import time
from itertools import count
from secrets import token_hex

import psycopg

from benchmarks import deliveries

POOL = 64
CONNECTION = 1
INSERT = f"""
    INSERT INTO deliveries (
        connection_id, delivery, headers, body, correlation, state, received_at, due_at, attempts)
    SELECT {CONNECTION}, delivery, headers, body, correlation, 'received', now(), now(), 0
    FROM unnest(%b::text[], %b::text[], %b::bytea[], %b::text[]) AS sent(delivery, headers, body, correlation)
    ON CONFLICT (connection_id, delivery) DO NOTHING
"""
HEADERS = json.dumps(
    {
        "host": "127.0.0.1:8700",
        "user-agent": "Bench-Hookshot/1",
        "accept": "*/*",
        "content-type": "application/json",
        "content-length": str(deliveries.BYTES),
        "x-github-event": "fat",
        "x-github-hook-id": "1",
        "x-github-delivery": "00000000-0000-4000-8000-000000000000",
    },
    separators=(",", ":"),
)


def stored(url: str, rows: int, seconds: float, name: str) -> int:
    """Store for so long; the rows."""
    bodies = [deliveries.body("fat", number) for number in range(POOL)]
    ids = (f"{name}-4000-8000-{number:012x}" for number in count())
    headers, done, at = [HEADERS] * rows, 0, 0
    with psycopg.connect(url, autocommit=True) as connection:
        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends:
            batch = [bodies[(at + number) % POOL] for number in range(rows)]
            names, tokens = [next(ids) for _ in batch], [token_hex(16) for _ in batch]
            done += connection.execute(INSERT, (names, headers, batch, tokens)).rowcount
            at += rows
    return done


def main() -> None:
    parser = argparse.ArgumentParser(description="the multi-row insert limit of deliveries")
    parser.add_argument("--postgres", required=True)
    parser.add_argument("--rows", type=int, default=100, help="of a transaction")
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--name", required=True, help="what the deliveries' ids begin with")
    asked = parser.parse_args()
    cpu, begun = time.process_time(), time.perf_counter()
    done = stored(asked.postgres, asked.rows, asked.seconds, asked.name)
    print(json.dumps({"rows": done, "seconds": time.perf_counter() - begun, "cpu_seconds": time.process_time() - cpu}))


if __name__ == "__main__":
    main()
