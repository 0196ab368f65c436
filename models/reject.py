"""Rejects: single records that could not be stored and wait for a person."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identity


class Reject(Base):
    """A record in the state "dead letter", with its payload as it came.

    key      the record's key; "" = it has none
    payload  the raw bytes, so that nothing is lost, whatever they are
    path     the JSON path of what is wrong; reason says it in a sentence
    digest   of the payload: the same bad record is one row, however often it comes
    state    dead | replayed | dropped (by a person) | overtaken (it came right, or is there no more)
    """

    __tablename__ = "rejects"

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    connection_id: Mapped[int] = mapped_column(ForeignKey("connections.id", ondelete="CASCADE"))
    stream: Mapped[str] = mapped_column(Text)
    partition: Mapped[str] = mapped_column(Text, default="")
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id", ondelete="SET NULL"))
    key: Mapped[str] = mapped_column(Text, default="")
    digest: Mapped[int] = mapped_column(Identity)
    payload: Mapped[bytes] = mapped_column(LargeBinary)
    path: Mapped[str] = mapped_column(Text, default="$")
    reason: Mapped[str] = mapped_column(Text)
    state: Mapped[str] = mapped_column(Text, default="dead")
    seen: Mapped[int] = mapped_column(default=1)
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]

    __table_args__ = (Index(None, "connection_id", "stream", "digest", unique=True), Index(None, "run_id"))
