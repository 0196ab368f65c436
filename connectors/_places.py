"""Places: where in a request a value stands. Header names count in any case; paths are dotted, as in fields."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeAlias


class Request(Protocol):
    """A delivery as it came, for a function of the connector's that says what of it is signed.

    url      whole, as the vendor called it
    query    its parameters, decoded
    headers  names in lower case; one that was sent several times is joined by ", "
    body     the bytes as sent
    """

    @property
    def method(self) -> str: ...
    @property
    def url(self) -> str: ...
    @property
    def query(self) -> Mapping[str, str]: ...
    @property
    def headers(self) -> Mapping[str, str]: ...
    @property
    def body(self) -> bytes: ...


@dataclass(frozen=True, slots=True)
class InHeader:
    """The value of a header: `InHeader("X-GitHub-Delivery")`."""

    name: str


@dataclass(frozen=True, slots=True)
class InBody:
    """The value at a dotted path of a JSON body: `InBody("signature.timestamp")`. A number is taken as it was
    written."""

    path: str


@dataclass(frozen=True, slots=True)
class InQuery:
    """The value of a query parameter: `InQuery("timestamp")`."""

    name: str


@dataclass(frozen=True, slots=True)
class InSignature:
    """A value beside the signature in its own pairs: the `t` of `t=1700000000,v1=5257a8...`. Only a verifier knows
    where that is."""

    name: str


Place: TypeAlias = InHeader | InBody | InQuery | InSignature
