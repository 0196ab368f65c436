"""What every door to the outside shares: whose call it is, by what means, and how what is not OK comes
back."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Engine

from connectors import Json, Outcome, TidelockError
from sync.limiter import Blocks, Limiter
from sync.settings import Settings
from sync.vault import Vault

EXCERPT = 500  # characters of an answer that an error may quote


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """On whose behalf a door is opened.

    connection     the connection's name, for sentences
    credential_id  whose secrets sign, and whose limits count; None = the connector asks for none
    lane           "interactive", "schedule" or "backfill"
    stream         the stream's name, for sentences and limit scopes
    limit          the name in the connector's limits that its requests count against
    """

    connection_id: int
    connection: str
    config: Mapping[str, Json] = field(default_factory=dict)
    credential_id: int | None = None
    lane: str = "schedule"
    stream: str = ""
    limit: str = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a door is made with.

    limiter, blocks  what every request is asked of; None = nothing is limited, and each call asked for alone
    engine, vault    where credentials are kept, and what opens them; None = this process's own
    """

    settings: Settings
    limiter: Limiter | None = None
    blocks: Blocks | None = None
    engine: Engine | None = None
    vault: Vault | None = None


UNREADABLE = frozenset({Outcome.FAIL_STREAM, Outcome.SKIP_RECORD})
"""Asked for one record, these outcomes speak of that record alone."""


class OutcomeError(TidelockError):
    """The door brought no usable answer; `outcome` says what the engine does next.

    why      a sentence for the person who reads the failure
    wait     seconds after which it may go on, where that is known
    scope    the limit that is spent, a name in the connector's limits; None = that of the call
    status   the answer's status; None = there was no answer
    url      what was asked for, without secrets
    excerpt  the beginning of the answer's body, without secrets
    """

    def __init__(
        self,
        outcome: Outcome,
        why: str,
        *,
        wait: float | None = None,
        scope: str | None = None,
        status: int | None = None,
        url: str = "",
        excerpt: str = "",
    ) -> None:
        super().__init__(why)
        self.outcome = outcome
        self.why = why
        self.wait = wait
        self.scope = scope
        self.status = status
        self.url = url
        self.excerpt = excerpt[:EXCERPT]

    def __str__(self) -> str:
        status = f" (status {self.status})" if self.status else ""
        said = f": {self.excerpt}" if self.excerpt else ""
        return f"{self.why}{status}{f' at {self.url}' if self.url else ''}{said}"
