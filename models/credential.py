"""Credentials: secrets sealed under an identity of their own, on which limits and refresh locks key."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, LargeBinary, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import NEVER_AGAIN, Base, Identity


class Credential(Base):
    """One set of secrets of one account.

    sealed      AES-GCM ciphertext of the secrets as JSON, bound to this row's id
    version     rises with every change; a refresh only counts if the version it started from still stands
    expires_at  when the access token ends; None = it doesn't
    renewed_by  until when a worker that renews the access token is alone in doing so
    refused     the vendor's words when it refused to renew for good; only new secrets help
    blocked     limit name -> until when (ISO 8601) the vendor refuses us; survives the loss of Redis
    """

    __tablename__ = "credentials"

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    connector: Mapped[str] = mapped_column(Text)
    sealed: Mapped[bytes] = mapped_column(LargeBinary)
    version: Mapped[int] = mapped_column(default=1)
    expires_at: Mapped[datetime | None]
    renewed_by: Mapped[datetime | None]
    refused: Mapped[str | None] = mapped_column(Text)
    blocked: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)
    created_at: Mapped[datetime]
    updated_at: Mapped[datetime]

    __table_args__ = NEVER_AGAIN
