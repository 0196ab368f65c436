"""Notices: what came to a connection's door and was not let in, or not understood: counted, not kept."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identity


class Notice(Base):
    """One kind of thing that happened at one connection, and how often.

    kind    refused (a delivery that could not prove where it comes from) | unknown (an event without meaning here)
    name    the reason, or the event's name
    sample  the sentence of the last one; never what was sent
    """

    __tablename__ = "notices"

    connection_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    kind: Mapped[str] = mapped_column(Text, primary_key=True)
    name: Mapped[str] = mapped_column(Text, primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger, default=0)
    sample: Mapped[str | None] = mapped_column(Text)
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
