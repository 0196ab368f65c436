"""Places: where in a request a value stands. Header names count in any case; paths are dotted, as in fields."""

from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class InHeader:
    """The value of a header: `InHeader("X-GitHub-Delivery")`."""

    name: str


@dataclass(frozen=True, slots=True)
class InBody:
    """The value at a dotted path of a JSON body: `InBody("signature.timestamp")`."""

    path: str


@dataclass(frozen=True, slots=True)
class InQuery:
    """The value of a query parameter: `InQuery("timestamp")`."""

    name: str


@dataclass(frozen=True, slots=True)
class InSignature:
    """A value beside the signature in its own header: the `t` of `t=1700000000,v1=5257a8...`."""

    name: str


Place: TypeAlias = InHeader | InBody | InQuery | InSignature
