"""Gaps: what an event feed forgot while nobody read it, only full passes can tell."""

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row

from connectors import Feed, seconds
from sync.store import checkpoints


def is_gap(feed: Feed, saved: Row[Any] | None, clock: datetime) -> bool:
    """The feed was never read, or not for longer than the vendor keeps its events."""
    if saved is None or saved.fresh_at is None:
        return True
    return bool(clock - saved.fresh_at > timedelta(seconds=seconds(feed.retention)))


def outdate(connection: Connection, account: int, feed: Feed) -> None:
    """Events are lost: every stream that the feed covers is due for a full pass."""
    for stream in feed.streams:
        checkpoints.outdate(connection, account, stream)
