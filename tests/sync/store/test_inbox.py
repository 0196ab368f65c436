"""The inbox: batches of what is due, and what became of them."""

import re
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import event, insert, select, text

from models import Connection, Delivery, Holdup
from sync.store import deliveries, holdups, inbox
from sync.store.database import now, read, write
from sync.store.deliveries import Chosen
from sync.store.inbox import Settled
from tests.sync.store.test_plans import plan


@contextmanager
def explained(world):
    """The plans of the statements inside, line by line."""
    lines = []

    def explain(_conn, cursor, statement, parameters, _context, many):
        if statement.startswith(("SELECT", "UPDATE", "DELETE")):
            lines.extend(plan(world, cursor.connection.cursor(), statement, parameters[0] if many else parameters))

    event.listen(world.engine, "before_cursor_execute", explain)
    try:
        yield lines
    finally:
        event.remove(world.engine, "before_cursor_execute", explain)


def scans(lines, *tables):
    """The steps that read all of one of these tables, or all of an index of it that leaves nothing out."""
    names = "|".join(tables)
    sqlite = re.compile(rf"SCAN ({names})\b|SEARCH ({names}) USING INTEGER PRIMARY KEY \(rowid[<>]")
    postgres = re.compile(rf"(Seq|Index|Index Only|Bitmap Heap) Scan .*\bon ({names})\b")
    return [line for line in lines if sqlite.match(line) or (postgres.match(line) and "Cond:" not in line)]


@pytest.fixture
def account(world):
    return made(world, "a")


def made(world, name):
    with write() as connection:
        values = {"name": name, "connector": "demo", "config": {}, "created_at": now(), "updated_at": now()}
        return connection.execute(insert(Connection).values(values).returning(Connection.id)).scalar_one()


def put(account, many=1, *, wait=0.0, **values):
    """Deliveries that are due in `wait` seconds; their ids."""
    ids = []
    with write() as connection:
        for number in range(many):
            row = {"connection_id": account, "delivery": f"{number} {values} {wait}", "headers": "{}", "body": b"{}",
                   "received_at": now(), "due_at": now(wait), **values}  # fmt: skip
            ids.append(connection.execute(insert(Delivery).values(row).returning(Delivery.id)).scalar_one())
    return ids


def batch(account, **options):
    with write() as connection:
        return [row.id for row in inbox.batch(connection, account, **options)]


def settle(*settled):
    with write() as connection:
        return inbox.settle(connection, settled, "w")


def one(unit):
    with read() as connection:
        return deliveries.get(connection, unit)


def clock():
    with read() as connection:
        return connection.execute(select(now())).scalar_one()


# batches


def test_a_batch_is_what_is_due_of_one_connection(world, account):
    due = put(account, 3)
    put(account, wait=60)
    put(account, state="dead", delivery="dead")
    put(made(world, "b"))
    again = put(account, wait=-60, state="deferred")
    assert batch(account) == [*due, *again]
    assert batch(account, without=due[:1]) == [*due[1:], *again]
    assert batch(account, most=2) == sorted([again[0], due[0]])  # what is due the longest
    world.execute("UPDATE connections SET state = 'paused'")
    assert batch(account) == []


def test_a_batch_holds_a_few_megabytes(world, account, monkeypatch):
    """... or one delivery that is larger."""
    monkeypatch.setattr(inbox, "MOST_BYTES", 100)
    ids = put(account, 3, body=b"x" * 45)
    assert batch(account) == ids[:2]
    world.execute("DELETE FROM deliveries")
    large = put(account, 2, body=b"x" * 500)
    assert batch(account) == large[:1]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_somebody_changes_just_now_is_left(world, account):
    ids = put(account, 3)
    with write() as other:
        other.execute(text(f"SELECT 1 FROM deliveries WHERE id = {ids[1]} FOR UPDATE"))
        assert batch(account) == [ids[0], ids[2]]
    assert batch(account) == ids


# what became of them


def test_many_are_closed_in_one_statement(world, account):
    ids = put(account, 200)
    statements = []
    event.listen(world.engine, "before_cursor_execute", lambda *args: statements.append(args[2]))
    done = [Settled(id=unit, state="applied", counts={"inserted": unit}, name="n") for unit in ids]
    assert settle(*done) == 200
    assert len([one for one in statements if one.startswith("UPDATE")]) == 1
    row = one(ids[7])
    assert (row.state, row.counts, row.name, row.left) == ("applied", {"inserted": ids[7]}, "n", None)
    assert row.closed_at is not None
    assert settle(*done) == 0  # what is closed stays closed


def test_each_step_is_written_as_it_is(world, account):
    retried, waits, dead, kept, ignored = put(account, 5)
    settle(
        Settled(id=retried, state="deferred", wait=60, failures=1, reason="later", left=[("s", "k")], was="received"),
        Settled(id=waits, state="deferred", wait=60, reason="quota", left=[("s", "k")]),
        Settled(id=dead, state="dead", reason="bad\0 \ud800", left=None, was="received"),
        Settled(id=kept, state="received", left=[("s", "b"), ("s", "c")]),
        Settled(id=ignored, state="ignored", reason="unknown", name="x"),
    )
    row = one(retried)
    assert (row.state, row.attempts, row.left, row.reason) == ("deferred", 1, [["s", "k"]], "later")
    assert timedelta(seconds=50) < row.due_at - clock() < timedelta(seconds=70)
    assert (one(waits).attempts, one(waits).closed_at) == (0, None)
    assert (one(dead).reason, one(dead).left, one(dead).closed_at) == ("bad ?", None, None)
    assert (one(kept).left, one(kept).due_at) == ([["s", "b"], ["s", "c"]], one(kept).received_at)
    with read() as connection:
        assert [row.after for row in deliveries.history(connection, retried)] == ["deferred"]
        assert [row.worker for row in deliveries.history(connection, dead)] == ["w"]
        assert deliveries.history(connection, waits) == []


def hold(account, unit, key="k", as_of=None):
    with write() as connection:
        holdups.add(connection, account, {(unit, ("s", key)): as_of})


def test_what_waits_behind_another_is_told_when_that_is_past(world, account):
    failed, behind, late = put(account, 3)
    hold(account, failed)
    settle(Settled(id=behind, state="deferred", behind=failed, left=[("s", "k")]))
    assert one(behind).due_at - clock() > timedelta(minutes=50)
    with write() as connection:
        holdups.clear(connection, [failed])
        assert holdups.release(connection, [failed]) == 1
    assert (one(behind).behind_id, one(behind).due_at <= clock()) == (None, True)
    settle(Settled(id=late, state="deferred", behind=failed, left=[("s", "k")]))  # too late: that is past already
    assert one(late).due_at <= clock()


def test_only_what_is_alive_holds_up(world, account):
    """A person has closed it in the same moment."""
    closed, dead = put(account, 2)
    world.execute(f"UPDATE deliveries SET state = 'ignored' WHERE id = {closed}")
    world.execute(f"UPDATE deliveries SET state = 'dead' WHERE id = {dead}")
    hold(account, closed)
    hold(account, dead)
    hold(account, dead, as_of=5)
    with read() as connection:
        rows = connection.execute(select(Holdup.delivery_id, Holdup.as_of)).all()
        assert [tuple(row) for row in rows] == [(dead, 5)]
        assert len(holdups.of(connection, account, [("s", "k"), ("t", "k")], [])) == 1
        assert len(holdups.of(connection, account, [], [dead])) == 1
        assert holdups.of(connection, account, [("s", "x"), ("t", "k")], [closed]) == []


def test_what_is_overtaken_in_part_keeps_the_rest(world, account):
    part, all_of_it, whole_ = put(account, 3, state="dead")
    for unit, left in ((part, '[["s","a"],["s","b"]]'), (all_of_it, '[["s","a"]]')):
        world.execute(f"UPDATE deliveries SET \"left\" = '{left}' WHERE id = {unit}")
    past = {unit: [("s", "a")] for unit in (part, all_of_it, whole_)}
    with write() as connection:
        assert inbox.overtaken(connection, past, dict.fromkeys(past, 99)) == [all_of_it]
    assert (one(part).state, one(part).left) == ("dead", [["s", "b"]])
    assert (one(all_of_it).state, one(all_of_it).reason) == ("ignored", "overtaken by delivery 99")
    assert (one(whole_).state, one(whole_).left) == ("dead", None)


# what people do


def test_people_find_deliveries_again(world, account):
    """The newest first, page by page; by connection, state, name, time and number."""
    other = made(world, "b")
    mine = [*put(account, 3, name="big"), *put(account, 2, name="small", state="dead")]
    put(other, 2, name="big")
    world.execute(f"UPDATE deliveries SET received_at = '2020-01-01 00:00:00.000000' WHERE id = {mine[0]}")
    with read() as connection:

        def ids(*, before=None, most=50, **chosen):
            rows = deliveries.listed(connection, Chosen(**chosen), before=before, most=most)
            return [row.id for row in rows]

        assert ids(accounts=[account]) == mine[::-1]
        assert ids(accounts=[account], most=2) == mine[:2:-1]
        assert ids(accounts=[account], before=mine[3], most=2) == [mine[2], mine[1]]
        assert ids(states=["dead"]) == mine[:2:-1]
        assert ids(names=["big"], accounts=[account]) == mine[2::-1]
        assert ids(accounts=[account], until=clock() - timedelta(days=1)) == mine[:1]
        assert ids(accounts=[account], since=clock() - timedelta(days=1)) == mine[:0:-1]
        assert ids(ids=mine[1:3]) == [mine[2], mine[1]]
        assert ids(delivery=one(mine[0]).delivery, accounts=[account]) == [mine[0]]
        assert ids(ids=[]) == []
        assert deliveries.count(connection, Chosen(accounts=[account], states=["received"])) == 3
        assert deliveries.counts(connection, Chosen()) == {
            (account, "received"): 3, (account, "dead"): 2, (other, "received"): 2,
        }  # fmt: skip
        (row, *_) = deliveries.listed(connection, Chosen(accounts=[account]))
        assert (row.size, hasattr(row, "body")) == (2, False)


def test_a_replay_begins_anew(world, account):
    """With all attempts, and what is left of it, or the whole; not where the content was dropped for its age."""
    part, whole_, dropped = put(account, 3, state="dead", attempts=12, reason="bad", behind_id=5)
    world.execute("""UPDATE deliveries SET "left" = '[["s","a"]]'""")
    world.execute(f"UPDATE deliveries SET headers = '', body = '' WHERE id = {dropped}")
    with write() as connection:
        chosen = Chosen(accounts=[account], states=["dead"])
        assert deliveries.replayable(connection, chosen) == 2
        assert deliveries.replay(connection, Chosen(ids=[part])) == {account: 1}
        assert deliveries.replay(connection, chosen, whole=True) == {account: 1}
    row = one(part)
    assert (row.state, row.attempts, row.reason, row.behind_id, row.left) == ("received", 0, None, None, [["s", "a"]])
    assert (one(whole_).left, one(dropped).state) == (None, "dead")
    with read() as connection:
        (step,) = deliveries.history(connection, part)
    assert (step.before, step.after, step.reason) == ("dead", "received", "replayed by a person")


def test_what_a_person_ignores_holds_up_nobody(world, account):
    dead, applied = put(account, 2, state="dead")
    world.execute(f"UPDATE deliveries SET state = 'applied' WHERE id = {applied}")
    (behind,) = put(account, state="deferred", behind_id=dead, wait=3600)
    hold(account, dead)
    with write() as connection:
        assert deliveries.ignore(connection, Chosen(ids=[dead, applied]), "not wanted") == 1
    assert (one(dead).state, one(dead).reason) == ("ignored", "not wanted")
    assert one(applied).state == "applied"
    assert one(behind).due_at <= clock()
    with read() as connection:
        assert connection.execute(select(Holdup)).all() == []


def test_no_statement_of_a_drain_reads_all_deliveries(world, account):
    ids = put(account, 5)
    hold(account, ids[0])
    with write() as connection, explained(world) as lines:
        rows = inbox.batch(connection, account)
        holdups.of(connection, account, [("s", "k")], ids)
        inbox.settle(connection, [Settled(id=row.id, state="deferred", behind=ids[0]) for row in rows[1:]])
        inbox.overtaken(connection, {ids[0]: [("s", "k")]}, {ids[0]: ids[1]})
        holdups.clear(connection, ids)
        holdups.release(connection, ids)
    assert len(lines) > 8
    assert scans(lines, "deliveries", "holdups", "attempts") == []
