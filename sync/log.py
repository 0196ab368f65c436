"""Logs: one line an event, with the ids that were bound once; for people, or as JSON for machines."""

import logging
import re
import sys
from typing import Any

import structlog

_LIBRARIES = {
    "celery.worker.strategy": logging.WARNING,
    "celery.app.trace": logging.WARNING,
    "alembic": logging.WARNING,
    "kombu": logging.WARNING,
    "amqp": logging.WARNING,
}


def configure(level: str, form: str) -> None:
    """Send our logs and those of the libraries through one formatter to standard error."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer = structlog.processors.JSONRenderer() if form == "json" else _for_people()
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
    )
    handler = logging.StreamHandler()
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name, quiet in _LIBRARIES.items():
        logging.getLogger(name).setLevel(quiet)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        cache_logger_on_first_use=True,
    )


class Complaints:
    """What is wrong is logged when it begins, when its reason becomes another, and when it is over: not at each look.

    Two reasons are the same that differ in numbers only, as times and process ids do.
    """

    def __init__(self) -> None:
        self._said: dict[tuple[str, frozenset[tuple[str, object]]], str] = {}

    def wrong(self, log: Any, event: str, reason: str, *, trace: bool = False, **about: object) -> None:
        """Say it, unless it was the last that was said about this. `trace`: with the traceback of the exception that
        is being dealt with."""
        about_what, gist = (event, frozenset(about.items())), re.sub(r"\w*\d\w*", "#", reason)
        if self._said.get(about_what) != gist:
            self._said[about_what] = gist
            log.error(event, reason=reason, exc_info=trace, **about)

    def well(self, log: Any, event: str, **about: object) -> None:
        """It works; say so where something else was said last."""
        if self._said.pop((event, frozenset(about.items())), None) is not None:
            log.info("well again", of=event, **about)


def _for_people() -> structlog.dev.ConsoleRenderer:
    """Without the values of local variables, which may be secrets; in colour where somebody looks."""
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
