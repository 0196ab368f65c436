"""Connections: one account on a connector."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import NEVER_AGAIN, Base, Identity


class Connection(Base):
    """Connector + configuration + credential + schedule + owner.

    state      active | paused (by a person) | failing (by the engine, until somebody mends it)
    reason     why it is paused or failing, in a sentence
    streams    the selected streams; None = all that the connector has
    served_at  when one of its slices was last sent to a worker: the least recently served go first
    parallel   how many of its slices may run at once
    objective  seconds after which its data counts as late; None = twice its schedule
    """

    __tablename__ = "connections"

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    name: Mapped[str] = mapped_column(Text, unique=True)
    connector: Mapped[str] = mapped_column(Text)
    config: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    credential_id: Mapped[int | None] = mapped_column(ForeignKey("credentials.id"))
    owner: Mapped[str | None] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, default="active")
    reason: Mapped[str | None] = mapped_column(Text)
    streams: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    served_at: Mapped[datetime | None]
    parallel: Mapped[int] = mapped_column(default=4)
    objective: Mapped[int | None]
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    __table_args__ = (Index(None, "credential_id"), NEVER_AGAIN)
