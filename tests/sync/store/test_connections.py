"""Connections: who may stop one, and who may not."""

import pytest

from sync.store import connections
from sync.store.database import write


@pytest.mark.parametrize(
    ("before", "after"),
    [("active", ("failing", "bad key")), ("failing", ("failing", "bad key")), ("paused", ("paused", "holidays"))],
)
def test_what_a_person_paused_the_engine_leaves(world, before, after):
    """It stays paused with the person's reason, whatever a slice that was under way runs into."""
    account = world.connect("demo", {"url": "http://127.0.0.1:1"}, state=before, reason="holidays")
    with write() as connection:
        connections.set_state(connection, account, "failing", "bad key")
    (row,) = world.rows("connections")
    assert (row["state"], row["reason"]) == after


def test_a_person_resumes_whatever_stopped_it(sqlite_world):
    account = sqlite_world.connect("demo", {"url": "http://127.0.0.1:1"}, state="failing", reason="bad key")
    for state, reason in (("paused", "holidays"), ("active", None)):
        with write() as connection:
            connections.set_state(connection, account, state, reason)
        (row,) = sqlite_world.rows("connections")
        assert (row["state"], row["reason"]) == (state, reason)
