"""`tidelock webhooks listen`: a receiver on a developer's machine, which applies what it takes and prints it."""

import contextlib
import logging
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI
from sqlalchemy import Connection, Row

from connectors import TidelockError
from sync import receive
from sync.cli.output import Form, console, emit, say
from sync.doorstep import Doorstep
from sync.settings import settings
from sync.store import connections, deliveries, notices, waiting
from sync.store.database import engine, read
from sync.store.deliveries import Chosen
from sync.web.receiver import Receiver
from sync.web.reception import Application
from sync.web.writer import Writer

LOOK = 0.1  # seconds between two looks
MOST = 500  # deliveries of one look
_OVER = frozenset({"applied", "ignored", "dead"})
_PRINTED = ("id", "name", "delivery", "state", "counts", "reason")


class PortTaken(TidelockError):
    """Somebody listens there already."""


def listen(host: str, port: int, form: Form) -> None:
    """Until Ctrl-C."""
    with _bound(host, port) as bound, _served(bound) as server:
        url = f"http://{host}:{bound.getsockname()[1]}/webhooks/CONNECTION"
        say(f"Listening: {url}. A vendor needs a tunnel to it, or a setting that lets it call here. Ctrl-C ends it.")
        watch = Watch(form)
        with contextlib.suppress(KeyboardInterrupt):
            while server.is_alive():
                watch.look()
                time.sleep(LOOK)  # deliveries come when they come


@contextlib.contextmanager
def _bound(host: str, port: int) -> Iterator[socket.socket]:
    """A socket that is there before anything is started."""
    try:
        bound = socket.create_server((host, port))
    except OSError as error:
        raise PortTaken(f"{host}:{port} can't be listened at: {error.strerror}; give another --port") from error
    with bound:
        yield bound


@contextlib.contextmanager
def _served(bound: socket.socket) -> Iterator[threading.Thread]:
    """The receiver, in a thread: Ctrl-C is ours."""
    logging.getLogger("uvicorn").setLevel(logging.WARNING)
    config = uvicorn.Config(_app(), log_config=None, ws="none", access_log=False, lifespan="on")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, args=([bound],), name="receiver", daemon=True)
    thread.start()
    try:
        yield thread
    finally:
        server.should_exit = True
        thread.join(15)


class _Door:
    """As the reception of the service, but for the bell: nobody else need hear of what comes in here."""

    def __init__(self) -> None:
        self.doorstep = Doorstep(engine)
        self.writer = Writer(engine)
        self.receiver = Receiver(self.doorstep, self.writer, settings().public_url)


def _app() -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, Any]]:
        made = _Door()
        made.writer.start()
        try:
            yield {"reception": made}
        finally:
            await made.writer.stop()
            made.doorstep.close()

    return Application(docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)


class Watch:
    """Applies what is due, and prints what came since it began, whenever its state changes."""

    def __init__(self, form: Form) -> None:
        self.form = form
        self.states: dict[int, str] = {}
        with read() as connection:
            newest = deliveries.listed(connection, Chosen(), most=1)
            self.refused = _refused(connection)
        self.newest = newest[0].id if newest else 0

    def look(self) -> None:
        with read() as connection:
            due = waiting.due(connection)
        for account in due:
            receive.drain(account)  # as a worker would
        with read() as connection:
            for row in self._came(connection):
                self._tell(connection, row)
            self._complain(connection)

    def _came(self, connection: Connection) -> list[Row[Any]]:
        """What is not over, in the order in which it came."""
        fresh = [row.id for row in deliveries.listed(connection, Chosen(), most=MOST) if row.id > self.newest]
        self.newest = max([self.newest, *fresh])
        self.states |= dict.fromkeys(fresh, "")
        open_ = [unit for unit, state in self.states.items() if state not in _OVER]
        return sorted(deliveries.listed(connection, Chosen(ids=open_), most=MOST), key=lambda row: row.id)

    def _tell(self, connection: Connection, row: Row[Any]) -> None:
        if row.state == self.states[row.id] or row.state == "received":
            return
        self.states[row.id] = row.state
        name = connections.get(connection, row.connection_id).name
        if self.form is Form.JSON:
            emit(self.form, {"connection": name, **{column: getattr(row, column) for column in _PRINTED}})
        else:
            console().print(_line(row, name), markup=False)

    def _complain(self, connection: Connection) -> None:
        refused = _refused(connection)
        for (name, kind, what), count in sorted(refused.items()):
            more = count - self.refused.get((name, kind, what), 0)
            if more:
                say(f"{name}: {more} {kind}: {what}")
        self.refused = refused


def _line(row: Row[Any], name: str) -> str:
    counts = " ".join(f"{what}={many}" for what, many in (row.counts or {}).items())
    came = f"{row.received_at.astimezone():%H:%M:%S}"
    return "  ".join(filter(None, (came, f"#{row.id}", name, row.name, row.delivery, row.state, counts, row.reason)))


def _refused(connection: Connection) -> dict[tuple[str, str, str], int]:
    return {(row.connection, row.kind, row.name): row.times for row in notices.listed(connection)}
