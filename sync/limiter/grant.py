"""What the limiter answers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The call may be made now; `Limiter.release` it when the call has ended, however it ended.

    at      when it was granted: epoch seconds on Redis's clock
    name    of its leases
    held    the keys of the limits that count calls in flight
    """

    at: float
    name: str = ""
    held: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Wait:
    """The call may not be made now; ask again in `seconds`, because of `reason`, a sentence for people."""

    seconds: float
    reason: str
