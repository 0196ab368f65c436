"""Readiness: whether what is delivered here can be stored, asked in a thread, one at a time and not for ever."""

import asyncio
from collections.abc import Callable, Mapping
from typing import TypeAlias

from sqlalchemy import Engine

from sync.health import database_problem, redis_problem
from sync.settings import settings
from sync.web.writer import Writer

PATIENCE = 5.0  # seconds

Problems: TypeAlias = Mapping[str, str]


class Readiness:
    """Looks once for all who ask meanwhile, so that probes of a database that hangs take one thread and no more."""

    def __init__(self, target: Callable[[], Engine], writer: Writer, *, patience: float = PATIENCE) -> None:
        self._target, self._writer, self._patience = target, writer, patience
        self._look: asyncio.Future[tuple[Problems, Problems]] | None = None

    async def look(self) -> tuple[Problems, Problems]:
        """Why nothing can be stored, and what else is missing; empty where all is well."""
        if self._writer.full:
            return {"writer": "its queue is full: the database takes less than is delivered"}, {}
        if self._look is None or self._look.done():
            self._look = asyncio.ensure_future(asyncio.to_thread(_problems, self._target))
        try:
            async with asyncio.timeout(self._patience):
                return await asyncio.shield(self._look)
        except TimeoutError:
            return {"database": f"it did not answer in {self._patience:g} s"}, {}


def _problems(target: Callable[[], Engine]) -> tuple[Problems, Problems]:
    problem = database_problem(target())
    return ({"database": problem}, {}) if problem else ({}, _brokers())


def _brokers() -> Problems:
    held = settings()
    urls = {"redis": held.redis_url, "broker": held.broker_url}
    return {name: said for name, url in urls.items() if (said := redis_problem(url))}
