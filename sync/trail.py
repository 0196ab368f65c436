"""Page tokens that come again: a list that runs in a circle is noticed in constant space."""

from dataclasses import asdict, dataclass, replace
from hashlib import blake2b
from typing import Any, Self

import msgspec

from connectors import ContractError, Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Trail:
    """Brent's tortoise: one remembered token, moved on at every power of two.

    A circle of n pages is noticed after at most about 3n pages, however it is entered.
    """

    mark: str = ""
    power: int = 1
    lap: int = 0

    @classmethod
    def of(cls, saved: dict[str, Any] | None) -> Self:
        return cls(**saved) if saved else cls()

    def json(self) -> dict[str, Any]:
        return asdict(self)

    def step(self, token: Json) -> "Trail":
        """The trail after this page token; ContractError where the token was passed before."""
        digest = blake2b(msgspec.json.encode(token), digest_size=12).hexdigest()
        if digest == self.mark:
            raise ContractError(f"the page token {token!r} came twice: the vendor's list runs in a circle")
        if self.lap + 1 == self.power:
            return Trail(mark=digest, power=self.power * 2, lap=0)
        return replace(self, lap=self.lap + 1)
