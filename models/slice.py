"""Slices: one partition's share of a run, the unit that is leased."""

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import NEVER_AGAIN, Base, Identity

WAITING = "state IN ('ready', 'deferred')"
RUNNING = "state = 'running'"
UNFINISHED = "state IN ('ready', 'deferred', 'running')"
STUCK = "state IN ('dead', 'held')"
"""Conditions with an index each. SQLite uses a partial index only where a query repeats its words."""


class Slice(Base):
    """One unit of work; `sync.states` says which transitions there are.

    connection_id  that of its run, by which it goes with the connection. It is no key of its own, for that wants an
                 index of all slices, which SQLite would take instead of the small ones below
    ask          the `Ask` of the page to fetch next, saved whole
    phase        fetch (pages), again (a second pass), prove (what is absent is gone?)
    seen         the largest position of the cursor's field in the pages committed so far
    started      the pass's start on the vendor's clock, microseconds since 1970
    began_at     the pass's start on the database's clock
    pages        pages committed; requests made, for the budget of the owner
    attempts     failures since the last progress
    restarts     how often the pass was begun again
    fence        rises with every claim; a commit that carries an old fence changes nothing
    lease_until  when the worker that holds it counts as dead
    rung_at      when a message about it was last sent; rings counts them since the last claim
    etag, moved  what the checkpoint will say when the slice is done
    full, first  a full pass; the first one, into an empty table
    trail        what it takes to notice a page token that comes again
    absent       the keys whose absence a full pass has still to prove
    approved     how many deletions the owner has allowed
    """

    __tablename__ = "slices"

    id: Mapped[int] = mapped_column(Identity, primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id", ondelete="CASCADE"))
    connection_id: Mapped[int] = mapped_column(Identity)
    stream: Mapped[str] = mapped_column(Text)
    partition: Mapped[str] = mapped_column(Text, default="")
    list: Mapped[str] = mapped_column(Text, default="rows")
    lane: Mapped[str] = mapped_column(Text)
    phase: Mapped[str] = mapped_column(Text, default="fetch")
    state: Mapped[str] = mapped_column(Text, default="ready")
    reason: Mapped[str | None] = mapped_column(Text)
    due_at: Mapped[datetime]
    rung_at: Mapped[datetime | None]
    rings: Mapped[int] = mapped_column(default=0)
    attempts: Mapped[int] = mapped_column(default=0)
    restarts: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(BigInteger, default=0)
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None] = mapped_column(Text)
    ask: Mapped[dict[str, Any]] = mapped_column(JSON)
    seen: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    started: Mapped[int | None] = mapped_column(BigInteger)
    began_at: Mapped[datetime | None]
    etag: Mapped[str | None] = mapped_column(Text)
    moved: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    full: Mapped[bool] = mapped_column(default=False)
    first: Mapped[bool] = mapped_column(default=False)
    trail: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    absent: Mapped[Any | None] = mapped_column(JSON(none_as_null=True))
    approved: Mapped[int] = mapped_column(default=0)
    pages: Mapped[int] = mapped_column(default=0)
    counts: Mapped[dict[str, Any]] = mapped_column(JSON, default=dict)

    __table_args__ = (
        Index(None, "run_id", "partition", unique=True),
        Index("ix_slices_due", "due_at", postgresql_where=text(WAITING), sqlite_where=text(WAITING)),
        Index("ix_slices_running", "lease_until", postgresql_where=text(RUNNING), sqlite_where=text(RUNNING)),
        Index("ix_slices_open", "connection_id", postgresql_where=text(UNFINISHED), sqlite_where=text(UNFINISHED)),
        Index(
            "ix_slices_stuck",
            "connection_id",
            "stream",
            "partition",
            "list",
            postgresql_where=text(STUCK),
            sqlite_where=text(STUCK),
        ),
        NEVER_AGAIN,
    )
