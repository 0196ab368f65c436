"""Subscriptions: the webhooks that we asked vendors for."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identity


class Subscription(Base):
    """What the vendor was last known to have for a connection.

    remote      the vendor's id of it; empty = a turn: somebody is at work at the connection's subscriptions
    state       active | disabled (by the vendor) | failing (it can't be renewed or looked at); reason says why.
                A turn is pending until it is done, or failing
    expires_at  when it ends unless it is renewed; None = it doesn't
    due_at      when it is next renewed or looked at
    data        what else the vendor wants to be told about it; of a turn, what is to be done
    """

    __tablename__ = "subscriptions"

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id", ondelete="CASCADE"))
    remote: Mapped[str] = mapped_column(Text)
    url: Mapped[str] = mapped_column(Text)
    events: Mapped[Any] = mapped_column(JSON)
    state: Mapped[str] = mapped_column(Text, default="active")
    reason: Mapped[str | None] = mapped_column(Text)
    expires_at: Mapped[datetime | None]
    due_at: Mapped[datetime]
    attempts: Mapped[int] = mapped_column(default=0)
    data: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    __table_args__ = (Index(None, "connection_id", "remote", unique=True), Index(None, "due_at"))
