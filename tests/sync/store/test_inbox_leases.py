"""The lease of an inbox: one drain at a time, and no wake-up is lost."""

import threading

import pytest
from sqlalchemy import insert, select

from models import Connection, Delivery, Inbox
from sync.store import inbox_leases
from sync.store.agenda import look
from sync.store.database import now, read, write
from sync.store.leases import LostLeaseError
from tests.sync.store.test_inbox import explained, scans


@pytest.fixture
def account(world):
    with write() as connection:
        values = {"name": "a", "connector": "demo", "config": {}, "created_at": now(), "updated_at": now()}
        account = connection.execute(insert(Connection).values(values).returning(Connection.id)).scalar_one()
        connection.execute(insert(Inbox).values(connection_id=account, updated_at=now()))
    return account


def put(account, wait=0.0, **values):
    with write() as connection:
        count = len(connection.execute(select(Delivery.id)).all())
        row = {"connection_id": account, "delivery": str(count), "headers": "{}", "body": b"", "received_at": now(),
               "due_at": now(wait), **values}  # fmt: skip
        connection.execute(insert(Delivery).values(row))


def claim(account, worker="w"):
    with write() as connection:
        return inbox_leases.claim(connection, account, worker, 60)


def release(lease):
    with write() as connection:
        return inbox_leases.release(connection, lease.account, lease.fence)


def leave(lease, **how):
    with write() as connection:
        inbox_leases.leave(connection, lease.account, lease.fence, **how)


def is_wanted(account):
    with read() as connection:
        return inbox_leases.is_wanted(connection, account)


def renew(lease):
    with write() as connection:
        inbox_leases.renew(connection, lease.account, lease.fence, 60)


def take_back(world):
    world.execute("UPDATE inboxes SET lease_until = '2020-01-01 00:00:00.000000' WHERE lease_until IS NOT NULL")
    with write() as connection:
        return [(row.connection_id, row.worker) for row in inbox_leases.take_back(connection)]


def agenda():
    with read() as connection:
        found = look(connection)
    return found.abandoned, found.delivered


def wanted():
    with write() as connection:
        return inbox_leases.ring(connection, inbox_leases.wanted(connection, 10))


def test_only_one_holds_it_and_only_while_something_is_due(world, account):
    assert claim(account) is None
    put(account, wait=60)
    assert claim(account) is None
    put(account)
    lease = claim(account)
    assert lease is not None
    assert (lease.fence, lease.wary) == (1, False)
    assert claim(account) is None
    renew(lease)


@pytest.mark.parametrize("state", ["paused", "failing"])
def test_what_is_not_active_is_not_claimed(world, account, state):
    put(account)
    world.execute(f"UPDATE connections SET state = '{state}'")
    assert claim(account) is None
    assert agenda() == (False, False)


def test_it_is_not_let_go_while_something_is_due(world, account):
    """... unless the connection was paused meanwhile."""
    put(account)
    lease = claim(account)
    assert release(lease) is False
    renew(lease)
    world.execute("UPDATE deliveries SET state = 'applied'")
    put(account, wait=60)
    assert release(lease) is True
    with pytest.raises(LostLeaseError):
        release(lease)
    put(account)
    lease = claim(account)
    world.execute("UPDATE connections SET state = 'paused'")
    assert release(lease) is True


def test_no_wake_up_is_lost(world, account):
    """Whoever stores and rings while the drain lets go is served: by it, or by the message."""

    def drained():
        lease = claim(account)
        while lease is not None:
            world.execute("UPDATE deliveries SET state = 'applied' WHERE state = 'received'")
            if release(lease):
                lease = claim(account) if is_wanted(account) else None

    for _ in range(40):
        ringing = threading.Thread(target=lambda: (put(account), drained()))
        put(account)
        ringing.start()
        drained()
        ringing.join()
        assert world.rows("deliveries", "state = 'received'") == []


def test_who_lost_it_can_do_nothing(world, account):
    put(account)
    lease = claim(account, "first")
    assert agenda() == (False, False)
    assert take_back(world) == [(account, "first")]
    for act in (renew, release, leave):
        with pytest.raises(LostLeaseError):
            act(lease)
    after = claim(account)
    assert (after.fence, after.wary) == (3, True)
    leave(after)
    assert claim(account).wary is False


def test_who_leaves_says_how(world, account):
    put(account)
    lease = claim(account)
    leave(lease, rung=True, wary=True)
    assert wanted() == []  # not before a while
    lease = claim(account)
    assert lease.wary
    leave(lease)
    assert wanted() == [account]


def test_it_is_rung_for_with_growing_patience(world, account):
    assert wanted() == []
    put(account)
    assert agenda() == (False, True)
    assert wanted() == [account]
    assert wanted() == []
    assert agenda() == (False, False)
    for seconds, due in ((14, []), (16, [account])):
        world.execute(f"UPDATE inboxes SET rings = 1, rung_at = {ago(world, seconds)}")
        assert wanted() == due
    for seconds, due in ((29, []), (31, [account])):
        world.execute(f"UPDATE inboxes SET rings = 2, rung_at = {ago(world, seconds)}")
        assert wanted() == due
    with write() as connection:
        inbox_leases.unring(connection, [account])
    assert wanted() == [account]
    claim(account)
    assert wanted() == []
    world.execute("UPDATE inboxes SET lease_until = '2020-01-01 00:00:00.000000'")
    assert agenda() == (True, False)


def ago(world, seconds):
    if world.engine.dialect.name == "sqlite":
        return f"strftime('%Y-%m-%d %H:%M:%f', 'now', '-{seconds} seconds') || '000'"
    return f"now() - interval '{seconds} seconds'"


def test_looking_reads_no_closed_delivery(world, account):
    put(account)
    with write() as connection, explained(world) as lines:
        look(connection)
        inbox_leases.wanted(connection, 10)
        assert inbox_leases.is_wanted(connection, account)
        lease = inbox_leases.claim(connection, account, "w", 60)
        assert lease is not None
        inbox_leases.release(connection, account, lease.fence)
    assert len(lines) > 5
    assert scans(lines, "deliveries") == []
