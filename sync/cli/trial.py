"""Trying a connection before it counts: whoever gives a wrong secret hears of it at once."""

from sync.connecting import apply, compare
from sync.declared import Declared
from sync.probe import probe
from sync.store import connections
from sync.store.database import read, write


def tried(wanted: Declared) -> tuple[str, list[str]]:
    """Apply it where its first stream answers; what `apply` says. A new connection that is refused is not kept.

    What existed before is changed and then tried; if it is refused, it stays as failing, with the reason.
    """
    expected, _ = compare(wanted)
    done, differs = (
        apply(wanted, state="paused", reason="its credential is being tried")
        if expected == "created"
        else apply(wanted)
    )
    with read() as connection:
        account = connections.by_name(connection, wanted.name)
    found = next(probe(account))
    with write() as connection:
        if found.error is None:
            connections.set_state(connection, account.id, "active", None)
        elif expected == "created":
            connections.remove(connection, account)
        else:
            connections.set_state(connection, account.id, "failing", str(found.error))
    if found.error:
        raise found.error
    return done, differs
