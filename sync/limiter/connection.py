"""The connection to Redis, and what is raised when there is none."""

from redis import Redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from connectors import TidelockError

SOCKET_TIMEOUT = 2  # seconds; a hung Redis must not hang a worker
HEALTH_CHECK = 25  # seconds of idling after which a connection is asked before it is used


class LimiterUnavailable(TidelockError):
    """The shared limits can't be asked, so nothing may be sent: put the work off."""


def unavailable(cause: Exception) -> LimiterUnavailable:
    """The error for what Redis's client raised."""
    return LimiterUnavailable(
        f"The shared rate limits can't be reached, so nothing is sent: {str(cause).rstrip('.')}. "
        f"Check REDIS_URL, and that the server there is up and accepts writes."
    )


def connect(url: str) -> Redis:
    """A client that answers or raises within SOCKET_TIMEOUT.

    It repeats no command by itself: an acquire that was lost on its way may have been done. A connection that
    dropped while it was idle is opened again, so a Redis that restarted costs no error.
    """
    return Redis.from_url(
        url,
        socket_timeout=SOCKET_TIMEOUT,
        socket_connect_timeout=SOCKET_TIMEOUT,
        health_check_interval=HEALTH_CHECK,
        retry=Retry(NoBackoff(), 0),
    )
