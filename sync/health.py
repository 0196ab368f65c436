"""Is what we stand on there? Each answer is a sentence, or "" where all is well."""

import socket
from urllib.parse import urlsplit

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from connectors import TidelockError
from sync.store.migrations import require

PATIENCE = 2.0  # seconds
_SOCKET = "redis+socket://"
_AMQP = {"amqp": 5672, "pyamqp": 5672, "amqps": 5671}


def database_problem(target: Engine) -> str:
    """Why the database can't be used."""
    try:
        require(target)
    except (TidelockError, DBAPIError) as error:
        return str(error)
    return ""


def redis_problem(url: str) -> str:
    """Why the server behind this Redis or broker URL can't be used; of RabbitMQ only whether it listens."""
    scheme = urlsplit(url).scheme
    return _amqp_problem(url, _AMQP[scheme]) if scheme in _AMQP else _redis_problem(url)


def _redis_problem(url: str) -> str:
    if url.startswith(_SOCKET):
        url = "unix://" + url.removeprefix(_SOCKET).replace("virtual_host=", "db=")
    try:
        with Redis.from_url(
            url, socket_timeout=PATIENCE, socket_connect_timeout=PATIENCE, retry=Retry(NoBackoff(), 0)
        ) as client:
            client.ping()
    except (RedisError, ValueError, OSError) as error:
        return f"the server at {shown(url)} does not answer: {error}"
    return ""


def _amqp_problem(url: str, port: int) -> str:
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "localhost", parts.port or port), PATIENCE):
            return ""
    except (OSError, ValueError) as error:
        return f"the server at {shown(url)} does not answer: {error}"


def shown(url: str) -> str:
    """The address without user and password."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
