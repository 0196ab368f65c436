"""URLs: the connector's base, filled from the configuration, and what may be asked for below it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from string import Formatter
from typing import Any
from urllib.parse import quote_plus, unquote_plus, urlencode, urlsplit

from connectors import Connector, ContractError, Json, Outcome
from sync.door import OutcomeError

_PORTS = {"http": 80, "https": 443}
_ABSOLUTE = re.compile(r"(?:[a-zA-Z][a-zA-Z0-9+.-]*:)?//")
_UNFIT = re.compile(r"[\s/\\?#@\x00-\x1f]")  # would move the host's end


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection's requests go, and nowhere else: scheme, host and port."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + (f":{self.port}" if self.port != _PORTS[self.scheme] else "")


def filled(connector: Connector, config: Mapping[str, Json]) -> str:
    """The base URL with the connection's options in it; ContractError names an option that is missing or
    unfit."""
    base, built = connector.base_url, ""
    for literal, name, _, _ in Formatter().parse(base):
        built += literal
        if name:
            built += _option(connector, config, name, in_host=_in_host(built))
    return built


def _in_host(before: str) -> bool:
    """Whether what follows belongs to the host of a URL that so begins."""
    scheme, mark, rest = before.partition("://")
    return bool(mark) and bool(scheme) and "/" not in rest


def _option(connector: Connector, config: Mapping[str, Json], name: str, *, in_host: bool) -> str:
    declared = connector.options.get(name)
    value = config.get(name, declared.default if declared else None)
    if value is None or value == "":
        raise ContractError(f"the option {name!r} is missing: the base URL is {connector.base_url!r}")
    if in_host and _UNFIT.search(str(value)):
        raise ContractError(f"the option {name!r} is {value!r}, which can't be part of a host's name")
    return str(value)


def origin(url: str) -> Origin:
    """The origin of an absolute http(s) URL; ContractError where it is none, or carries a user's name."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ContractError(f"{url!r} is not a URL: {error}") from error
    if parts.scheme not in _PORTS or not parts.hostname:
        raise ContractError(f"{url!r} is not a URL such as https://api.example.com")
    if parts.username is not None:
        raise ContractError(f"the URL of {parts.hostname} has a user's name in it: secrets belong to the credential")
    return Origin(parts.scheme, parts.hostname, port or _PORTS[parts.scheme])


def target(base: Origin, prefix: str, url: str) -> str:
    """Path and query of a path below the base, or of an absolute URL, which must be of the same origin."""
    url = url.partition("#")[0]
    if not _ABSOLUTE.match(url):
        return f"{prefix}{url}" if url.startswith(("/", "?")) or not url else f"{prefix}/{url}"
    other = origin(f"{base.scheme}:{url}" if url.startswith("//") else url)
    if other != base:
        raise OutcomeError(
            Outcome.FAIL_CONNECTION,
            f"{other} is another host than {base}: the credential is not sent there",
            url=str(other),
        )
    path = url.split("//", 1)[1]
    at = min((index for mark in "/?" if (index := path.find(mark)) >= 0), default=len(path))
    return path[at:] if path[at : at + 1] == "/" else f"/{path[at:]}"


def with_params(path: str, params: Mapping[str, Json] | None) -> str:
    """The path with the parameters behind its own; None is left out, a list repeats its name."""
    if not params:
        return path
    query = urlencode([(name, text(value)) for name, one in params.items() for value in _several(one)])
    if not query:
        return path
    return f"{path}{'&' if '?' in path else '?'}{query}"


def _several(value: Json) -> Any:
    if value is None:
        return ()
    return value if isinstance(value, list | tuple) else (value,)


def text(value: Json) -> str:
    """A value as queries and forms have it."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def without_param(path: str, name: str) -> str:
    """The path without one query parameter, its other parameters untouched."""
    before, mark, query = path.partition("?")
    kept = [part for part in query.split("&") if not _named(part, name)]
    return f"{before}?{'&'.join(kept)}" if mark and kept and kept != [""] else before


def _named(part: str, name: str) -> bool:
    return unquote_plus(part.partition("=")[0]) == name


def plus(path: str, name: str, value: str) -> str:
    """The path with one parameter more."""
    return f"{path}{'&' if '?' in path else '?'}{quote_plus(name)}={quote_plus(value)}"
