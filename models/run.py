"""Runs: one pull of one stream of one connection."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import NEVER_AGAIN, Base, Identity

_OPEN = text("state IN ('waiting', 'running') AND exclusive")


class Run(Base):
    """What was asked, and what came of it.

    list       rows | feed | deletes: which list of the stream is read
    state      waiting (for the run of its parent) | running | held | done | failed | cancelled
    lane       interactive | schedule | backfill
    full       a full pass: starts from the beginning and may prove absence
    baseline   derives no flow and no push
    exclusive  no second one of the same list is opened beside it; backfills and what people release are not
    after_id   the run that must be done first
    since, until  the bounds of a backfill, as ISO 8601 text
    counts     inserted, updated, unchanged, deleted, rejected, pages, requests, bytes
    open       how many of its slices are not finished
    """

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id", ondelete="CASCADE"))
    stream: Mapped[str] = mapped_column(Text)
    list: Mapped[str] = mapped_column(Text, default="rows")
    cause: Mapped[str] = mapped_column(Text)
    lane: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    full: Mapped[bool] = mapped_column(default=False)
    baseline: Mapped[bool] = mapped_column(default=False)
    exclusive: Mapped[bool] = mapped_column(default=True)
    after_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"))
    since: Mapped[str | None] = mapped_column(Text)
    until: Mapped[str | None] = mapped_column(Text)
    counts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    open: Mapped[int] = mapped_column(default=0)
    opened_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_runs_one_open",
            "connection_id",
            "stream",
            "list",
            unique=True,
            postgresql_where=_OPEN,
            sqlite_where=_OPEN,
        ),
        Index(None, "connection_id", "stream", "list", "id"),
        Index(None, "after_id"),
        Index(None, "closed_at"),
        Index(
            "ix_runs_waiting",
            "after_id",
            postgresql_where=text("state = 'waiting'"),
            sqlite_where=text("state = 'waiting'"),
        ),
        NEVER_AGAIN,
    )
