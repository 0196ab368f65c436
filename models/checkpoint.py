"""Checkpoints: where the next run of a partition starts."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identity


class Checkpoint(Base):
    """The saved cursor of one partition.

    partition   the parent's key; "" = the stream has no parent. A list of its own (tombstones, the event feed)
                has a checkpoint of its own: its `list` is "deletes" or "feed" instead of "rows"
    cursor      the cursor's position; None = nothing was read to its end yet
    etag        of the first page of the last pull
    moved       the parent's `when` field as it was when the children were last pulled
    fresh_at    the start of the last pull that fully succeeded
    full_at     the start of the last full pass that fully succeeded
    """

    __tablename__ = "checkpoints"

    connection_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    stream: Mapped[str] = mapped_column(Text, primary_key=True)
    partition: Mapped[str] = mapped_column(Text, primary_key=True, default="")
    list: Mapped[str] = mapped_column(Text, primary_key=True, default="rows")
    cursor: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    etag: Mapped[str | None] = mapped_column(Text)
    moved: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    fresh_at: Mapped[datetime | None]
    full_at: Mapped[datetime | None]
