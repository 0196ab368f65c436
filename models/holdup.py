"""Hold-ups: records at which a delivery failed, behind which later ones wait."""

from sqlalchemy import BigInteger, ForeignKey, Index, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identity


class Holdup(Base):
    """One record of one delivery that could not be applied. It goes when the delivery is resolved, or overtaken.

    as_of  how new the failed event is, microseconds since 1970 on the vendor's clock; what is newer overtakes it.
           None = it only said that something changed
    """

    __tablename__ = "holdups"

    connection_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    stream: Mapped[str] = mapped_column(Text, primary_key=True)
    key: Mapped[str] = mapped_column(Text, primary_key=True)
    delivery_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("deliveries.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    as_of: Mapped[int | None] = mapped_column(BigInteger)

    __table_args__ = (Index(None, "delivery_id"),)
