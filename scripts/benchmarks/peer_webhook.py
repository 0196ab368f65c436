"""The usual design of a receiver, the peer: what one writes first with FastAPI, SQLAlchemy and Celery.

    uvicorn benchmarks.peer_webhook:app

A typed `def` endpoint that checks GitHub's signature over the raw body, one transaction a request (INSERT ... ON
CONFLICT DO NOTHING into a table with the columns and indexes of ours), and one `apply_async` a request before it is
answered. PEER_DATABASE and PEER_REDIS say where; the tables are there. On SQLite the transaction is as durable as ours:
WAL, synchronous=FULL. What makes it faster than its first draft is in it: a raw body (a pydantic one costs more), the
statement built once, 16 threads with a connection each (40, Starlette's default, take half as much CPU again and are no
faster; 4 and 8 are level), and no access log.
"""

import hashlib
import hmac
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any

import msgspec
from anyio import to_thread
from celery import Celery
from fastapi import Depends, FastAPI, Header, HTTPException, Request
from pydantic import BaseModel
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite

from models import Delivery

SECRET = os.environ.get("PEER_SECRET", "")
CONNECTION = 1
THREADS = 16

celery = Celery("peer", broker=os.environ.get("PEER_REDIS", "redis://127.0.0.1:6379/0"))
celery.conf.update(task_ignore_result=True, task_default_queue="peer-webhook")


@asynccontextmanager
async def threaded(_app: FastAPI) -> AsyncIterator[None]:
    """So many threads for endpoints."""
    to_thread.current_default_thread_limiter().total_tokens = THREADS
    yield


app = FastAPI(lifespan=threaded)


def connected(url: str) -> Engine:
    """An engine as one sets it up."""
    if not url.startswith("sqlite"):
        return create_engine(url, pool_size=THREADS)
    engine = create_engine(url, pool_size=THREADS, connect_args={"timeout": 30})

    @event.listens_for(engine, "connect")
    def _open(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=FULL"):
            connection.execute(f"PRAGMA {pragma}")

    return engine


engine = connected(os.environ.get("PEER_DATABASE", "sqlite://"))
dialect: Any = sqlite if engine.dialect.name == "sqlite" else postgresql
statement = dialect.insert(Delivery).on_conflict_do_nothing(index_elements=["connection_id", "delivery"])


class Accepted(BaseModel):
    """The answer."""

    status: str


# celery ships no types
@celery.task(name="peer.process")  # type: ignore[untyped-decorator]
def process(delivery: str) -> None:
    """What a worker would do; in this bench there is none."""


async def raw(request: Request) -> bytes:
    """The body as it was signed."""
    return await request.body()


@app.post("/webhooks/{source}", status_code=202)
def receive(
    source: str,
    request: Request,
    body: Annotated[bytes, Depends(raw)],
    x_hub_signature_256: Annotated[str, Header()],
    x_github_delivery: Annotated[str, Header()],
    x_github_event: Annotated[str, Header()],
) -> Accepted:
    """Check, store, hand over, answer."""
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    if not hmac.compare_digest(signature, x_hub_signature_256):
        raise HTTPException(401, "bad signature")
    moment = datetime.now(UTC)
    row = {
        "connection_id": CONNECTION, "delivery": x_github_delivery, "name": x_github_event,
        "headers": msgspec.json.encode(dict(request.headers)).decode(), "body": body, "state": "received",
        "received_at": moment, "due_at": moment, "attempts": 0,
    }  # fmt: skip
    with engine.begin() as connection:
        connection.execute(statement, row)
    process.apply_async((x_github_delivery,))
    return Accepted(status="accepted")
