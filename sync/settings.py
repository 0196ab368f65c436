"""Settings: the one reader of the environment, typed and frozen.

Every variable has a default with which the whole service runs on this machine alone. `.env` in the working
folder is read first; the environment stands above it.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from io import StringIO
from ipaddress import IPv4Network, IPv6Network, ip_network
from math import inf
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from dotenv.parser import parse_stream

from connectors import TidelockError


class SettingsError(TidelockError):
    """A variable of the environment, or a line of `.env`, cannot be used; the text names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the service runs on. The variable of each field is its name in capitals, behind `TIDELOCK_` except for
    the three URLs.

    home             folder of everything that is kept on this machine: database, key, logs
    database_url     PostgreSQL (postgresql+psycopg://...) or SQLite (sqlite:///...)
    redis_url        shared limits
    broker_url       Celery's messages: Redis or RabbitMQ (amqp://...)
    key              the key that seals secrets, 32 bytes as base64; empty = the file `key` in the home folder
    allow_private    networks that user-given URLs may reach though they are private: "127.0.0.0/8,10.1.0.0/16"
    connections      folder of connections as YAML files
    public_url       where vendors reach `/webhooks/`: "https://sync.example.com"; empty = as they say they called us
    tick_seconds     how often the tick looks for due work
    slice_seconds    how long a slice works before it makes room and chains to its continuation
    lease_seconds    how long a silent worker keeps what it holds
    in_flight        how many slices of a lane may be on their way to workers at once
    keep_days        how long attempts, finished runs and the bodies of deliveries are kept; the last run of each list
                     stays, and a delivery is remembered for 30 days at least
    request_seconds  total deadline of one request
    max_body         bytes of one answer
    log_level        debug | info | warning | error
    log_format       console | json
    """

    home: Path = Path(".tidelock")
    database_url: str = ""
    redis_url: str = "redis://127.0.0.1:6379/0"
    broker_url: str = ""
    key: str = ""
    allow_private: tuple[IPv4Network | IPv6Network, ...] = ()
    connections: Path = Path("connections")
    public_url: str = ""
    tick_seconds: float = 1.0
    slice_seconds: float = 45.0
    lease_seconds: float = 60.0
    in_flight: int = 64
    keep_days: int = 30
    request_seconds: float = 60.0
    max_body: int = 64 * 1024 * 1024
    log_level: str = "info"
    log_format: str = "console"

    def __post_init__(self) -> None:
        if not self.database_url:
            object.__setattr__(self, "database_url", f"sqlite:///{self.home / 'tidelock.db'}")
        if not self.broker_url:
            object.__setattr__(self, "broker_url", as_broker(self.redis_url))


def as_broker(redis_url: str) -> str:
    """The same Redis in Celery's spelling, which has one of its own for sockets."""
    if not redis_url.startswith("unix://"):
        return redis_url
    return redis_url.replace("unix://", "redis+socket://", 1).replace("db=", "virtual_host=")


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(part.strip(), strict=False) for part in text.split(",") if part.strip())


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < inf:
        raise ValueError(f"{text} is not a number above zero")
    return value


def _choice(*choices: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text.lower() not in choices:
            raise ValueError(f"{text!r} is none of {', '.join(choices)}")
        return text.lower()

    return parse


def _database(text: str) -> str:
    """A bare postgresql:// means psycopg 3, the driver that is installed."""
    scheme, _, rest = text.partition("://")
    if scheme in ("postgresql", "postgres"):
        return f"postgresql+psycopg://{rest}"
    if scheme not in ("postgresql+psycopg", "sqlite"):
        raise ValueError(f"{scheme}:// is neither postgresql:// nor sqlite://")
    return text


def _address(text: str) -> str:
    """Without the slash at its end, so that paths can follow."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError(f"{text} is no https:// or http:// address")
    return text.rstrip("/")


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise ValueError(f"{text} is not a number above zero")
    return value


_PARSERS: Mapping[str, Callable[[str], Any]] = {
    "home": Path,
    "database_url": _database,
    "redis_url": str,
    "broker_url": str,
    "key": str,
    "allow_private": _networks,
    "connections": Path,
    "public_url": _address,
    "tick_seconds": _positive,
    "slice_seconds": _positive,
    "lease_seconds": _positive,
    "in_flight": _count,
    "keep_days": _count,
    "request_seconds": _positive,
    "max_body": _count,
    "log_level": _choice("debug", "info", "warning", "error"),
    "log_format": _choice("console", "json"),
}


def variable(field: str) -> str:
    """The environment variable of a setting."""
    return field.upper() if field in ("database_url", "redis_url", "broker_url") else f"TIDELOCK_{field.upper()}"


def read(environ: Mapping[str, str], dotenv: Path | None = None) -> Settings:
    """Settings from an environment above a `.env` file; SettingsError names the variable that is wrong."""
    given = {**(_dotenv(dotenv) if dotenv else {}), **environ}
    values: dict[str, Any] = {}
    for field in fields(Settings):
        name = variable(field.name)
        if given.get(name):
            values[field.name] = _parse(name, field.name, given[name])
    return Settings(**values)


def _parse(name: str, field: str, text: str) -> Any:
    try:
        return _PARSERS[field](text)
    except ValueError as error:
        raise SettingsError(f"{name} is {text!r}: {error}") from error


def _dotenv(path: Path) -> dict[str, str]:
    if not path.is_file():
        return {}
    found = {}
    for binding in parse_stream(StringIO(_text(path))):
        if binding.error:
            line = binding.original.string.strip()
            raise SettingsError(f"{path} line {binding.original.line}: {line!r} is not NAME=value")
        if binding.key is not None:
            found[binding.key] = binding.value or ""
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise SettingsError(f"{path} can't be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SettingsError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from error


def environment(dotenv: Path = Path(".env")) -> dict[str, str]:
    """Every variable as it counts here, the environment above `.env`: for secrets by reference, and for children."""
    return {**_dotenv(dotenv), **os.environ}


_assumed: dict[str, str] = {}


def assume(variables: Mapping[str, str]) -> None:
    """Variables that count in this process above the environment: what a service that runs here told us."""
    _assumed.update(variables)
    settings.cache_clear()


@lru_cache(maxsize=1)
def settings() -> Settings:
    """This process's settings, read once."""
    return read({**environment(), **_assumed})
