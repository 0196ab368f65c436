"""The reception: what stands behind `/webhooks/{connection}` from the server's start to its last commit."""

import asyncio
import gc
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.types import Receive, Scope, Send

from sync.doorstep import Doorstep
from sync.log import configure
from sync.settings import settings
from sync.store.database import engine
from sync.web.answers import UNAVAILABLE, close
from sync.web.bell import Bell
from sync.web.readiness import Readiness
from sync.web.receiver import PATH, Receiver
from sync.web.writer import Writer


class Reception:
    """Receiver, writer, bell and doorstep of this process."""

    def __init__(self) -> None:
        self.bell = Bell()
        self.doorstep = Doorstep(engine)
        self.writer = Writer(engine, self.bell.ring)
        self.receiver = Receiver(self.doorstep, self.writer, settings().public_url)
        self.readiness = Readiness(engine, self.writer)

    def start(self) -> None:
        self.bell.start()
        self.writer.start()

    async def stop(self) -> None:
        """Everything that is under way is stored and rung for; nothing new is taken."""
        await self.writer.stop()
        self.doorstep.close()
        await asyncio.to_thread(self.bell.stop)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[dict[str, Any]]:
    """The lifespan of the application; requests find it in their state."""
    _settle_in()
    made = Reception()
    made.start()
    try:
        yield {"reception": made}
    finally:
        await made.stop()


class Application(FastAPI):
    """A FastAPI application in which deliveries go straight to the receiver: on the way through its middlewares, which
    are there for pages, a delivery would cost half as much again."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(PATH):
            await super().__call__(scope, receive, send)
            return
        made = scope["state"].get("reception")
        if made is None:
            await close(UNAVAILABLE, receive, send)
            return
        await made.receiver(scope, receive, send)


def _settle_in() -> None:
    """Where the process is the server's, and nobody has set up logs: uvicorn sets up only its own, which then join
    ours. And what was loaded by now stays: to look through it for garbage again would stop all requests for a tenth of
    a second, now and then."""
    if logging.getLogger().handlers:
        return
    configure(settings().log_level, settings().log_format)
    uvicorn = logging.getLogger("uvicorn")
    uvicorn.handlers.clear()
    uvicorn.propagate = True
    gc.collect()
    gc.freeze()
