"""Deliveries: the inbox, one row for every webhook that was answered."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, LargeBinary, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import NEVER_AGAIN, Base, Identity

OPEN = "state IN ('received', 'deferred')"
DEAD = "state = 'dead'"
BEHIND = "behind_id IS NOT NULL"
"""Conditions with an index each. SQLite uses a partial index only where a query repeats its words."""


class Delivery(Base):
    """One webhook as it came; `sync.states` says which transitions there are.

    delivery   the vendor's id of it, else a digest; the same one again is not stored twice
    name       the event's name, known when it is drained; of several events the first one's
    headers    as JSON text, names in lower case, without those that could open a door
    body       the raw bytes; empty when they were dropped for their age, while the row still knows repetitions
    state      received | deferred | applied | ignored | dead
    reason     why it is deferred, ignored or dead, in a sentence
    attempts   failures so far
    left       the records whose effects are still to come, as [stream, key] pairs; None = all, or not known yet
    behind_id  the delivery for which it waits, since that one comes before it at the same record
    counts     what it did, once it is done
    correlation  one id from here through its effects to what they cause
    """

    __tablename__ = "deliveries"

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id", ondelete="CASCADE"))
    delivery: Mapped[str] = mapped_column(Text)
    name: Mapped[str | None] = mapped_column(Text)
    headers: Mapped[str] = mapped_column(Text)
    body: Mapped[bytes] = mapped_column(LargeBinary)
    state: Mapped[str] = mapped_column(Text, default="received")
    reason: Mapped[str | None] = mapped_column(Text)
    received_at: Mapped[datetime]
    due_at: Mapped[datetime]
    closed_at: Mapped[datetime | None]
    attempts: Mapped[int] = mapped_column(default=0)
    left: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    behind_id: Mapped[int | None] = mapped_column(BigInteger)
    counts: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    correlation: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (
        Index(None, "connection_id", "delivery", unique=True),
        Index(
            "ix_deliveries_open", "connection_id", "due_at", "id", postgresql_where=text(OPEN), sqlite_where=text(OPEN)
        ),
        Index("ix_deliveries_dead", "connection_id", postgresql_where=text(DEAD), sqlite_where=text(DEAD)),
        Index("ix_deliveries_behind", "behind_id", postgresql_where=text(BEHIND), sqlite_where=text(BEHIND)),
        NEVER_AGAIN,
    )
