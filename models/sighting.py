"""Sightings: which keys a full pass has seen, as compact hashes, a row a page."""

from sqlalchemy import BigInteger, ForeignKey, LargeBinary
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, Identity


class Sighting(Base):
    """The keys of one committed page of a full pass: `hashes` holds 8 bytes a key.

    Seeing a record again must not rewrite its row, so what was seen is remembered here until the pass ends.
    """

    __tablename__ = "sightings"

    slice_id: Mapped[int] = mapped_column(
        Identity, ForeignKey("slices.id", ondelete="CASCADE"), primary_key=True, autoincrement=False
    )
    page: Mapped[int] = mapped_column(BigInteger, primary_key=True, autoincrement=False)
    hashes: Mapped[bytes] = mapped_column(LargeBinary)
