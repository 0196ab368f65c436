"""Drift: where a stream's records stopped looking as they did."""

from datetime import datetime

from sqlalchemy import ForeignKey, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identity


class Drift(Base):
    """One top-level field of a stream's records, with the JSON types seen in it so far, sampled.

    kinds     the types seen, sorted and joined by "|": "null|text"
    news      what changed last: "" (nothing since the first sight) | new | type | missing
    """

    __tablename__ = "drift"

    connection_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    stream: Mapped[str] = mapped_column(Text, primary_key=True)
    path: Mapped[str] = mapped_column(Text, primary_key=True)
    kinds: Mapped[str] = mapped_column(Text)
    news: Mapped[str] = mapped_column(Text, default="")
    detail: Mapped[str] = mapped_column(Text, default="")
    first_at: Mapped[datetime]
    last_at: Mapped[datetime]
