"""Schedules: when a connection, or one stream of it, is due."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identity


class Schedule(Base):
    """A due time that moves on.

    stream       the stream it is for; "" = every stream of the connection that has none of its own
    rule         a cron expression or an interval ("every 15 minutes"), read in `zone`
    jitter       seconds by which each due time is shifted at random, so that connections don't move in step
    next_due_at  None = paused
    """

    __tablename__ = "schedules"

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id", ondelete="CASCADE"))
    stream: Mapped[str] = mapped_column(Text, default="")
    rule: Mapped[str] = mapped_column(Text)
    zone: Mapped[str] = mapped_column(Text, default="UTC")
    jitter: Mapped[float] = mapped_column(default=0.0)
    next_due_at: Mapped[datetime | None]
    last_due_at: Mapped[datetime | None]

    __table_args__ = (
        Index(None, "connection_id", "stream", unique=True),
        Index(None, "next_due_at"),
    )
