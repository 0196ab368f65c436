"""Inboxes: the door of a connection for deliveries, with its secrets and the lease under which it is drained."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identity


class Inbox(Base):
    """One connection that is delivered to. Its deliveries are drained under one lease, so that they stay in order.

    sealed       AES-GCM ciphertext of the signing secrets as JSON, bound to the connection's id; None = none is set
    gap_at       since when deliveries may be missing; cleared by the reconcile that makes up for it
    fence        rises with every claim; a commit that carries an old fence changes nothing
    lease_until  when the worker that holds it counts as dead
    rung_at      when a message about it was last sent; rings counts them since the last claim
    """

    __tablename__ = "inboxes"

    connection_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("connections.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    sealed: Mapped[bytes | None] = mapped_column(LargeBinary)
    gap_at: Mapped[datetime | None]
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(Text)
    rung_at: Mapped[datetime | None]
    rings: Mapped[int] = mapped_column(default=0)
    updated_at: Mapped[datetime]
