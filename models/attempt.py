"""Attempts: the append-only history of every unit of work."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identity


class Attempt(Base):
    """One transition of one unit of work: what it was, what it became, why, and by whom.

    kind   slice | run | record | delivery; `unit` is its id
    fence  the claim under which it happened
    """

    __tablename__ = "attempts"

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    kind: Mapped[str] = mapped_column(Text)
    unit: Mapped[int] = mapped_column(BigInteger)
    at: Mapped[datetime]
    before: Mapped[str] = mapped_column(Text)
    after: Mapped[str] = mapped_column(Text)
    reason: Mapped[str | None] = mapped_column(Text)
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    worker: Mapped[str | None] = mapped_column(Text)

    __table_args__ = (Index(None, "kind", "unit"), Index(None, "at"))
