"""Exit codes: what went wrong, for scripts. docs/cli.md lists them for people."""

from sqlalchemy.exc import OperationalError

from connectors import Outcome, TidelockError
from sync.door import OutcomeError
from sync.embedded import EmbeddedError
from sync.store.migrations import NotMigratedError, UnreachableError

OK = 0
FAILING = 1
BAD_INPUT = 2
NOT_MIGRATED = 3
NO_DATABASE = 4
NO_BROKER = 5
REFUSED = 6
NO_VENDOR = 7
INTERRUPTED = 130


class Failing(TidelockError):
    """Something of what was asked for failed, or waits for a person."""


class Refused(TidelockError):
    """The third-party system refuses the connection as it is: its credential, or a right that it lacks."""


class BrokerError(TidelockError):
    """The broker, or the Redis of the shared limits, does not answer."""


_CODES: tuple[tuple[type[Exception], int], ...] = (
    (NotMigratedError, NOT_MIGRATED),
    (UnreachableError, NO_DATABASE),
    (OperationalError, NO_DATABASE),
    (BrokerError, NO_BROKER),
    (EmbeddedError, NO_BROKER),
    (Failing, FAILING),
    (Refused, REFUSED),
)
_STOPS = (Outcome.FAIL_CONNECTION, Outcome.REFRESH_AUTH)


def code(error: Exception) -> int:
    """The exit code of an error; 2 for whatever a person can mend by other input."""
    if isinstance(error, OutcomeError):
        return REFUSED if error.outcome in _STOPS and error.status in {401, 403} else NO_VENDOR
    return next((found for kind, found in _CODES if isinstance(error, kind)), BAD_INPUT)
