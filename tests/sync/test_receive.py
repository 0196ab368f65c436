"""The drain: what was delivered is applied once, in whatever order and however often it came."""

import random
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from connectors import FetchBack, InHeader, Pull, SharedToken, Webhook
from sync import receive, refetch, registry, schedule
from sync.kit.vendor import Fault
from sync.settings import settings
from sync.store import deliveries, inbox_leases, schema
from sync.store.database import write
from sync.store.deliveries import Chosen
from tests.delivered import WEBHOOK, effects, inboxed
from tests.traps.rig import killed_at


@pytest.fixture(autouse=True)
def longest_waits(monkeypatch):
    """By chance a retry would be due at once, and made by the same drain."""
    monkeypatch.setattr("sync.parcel.random.uniform", lambda low, high: high)


@pytest.fixture
def inbox(world, monkeypatch, request):
    with inboxed(world, monkeypatch) as made:
        if getattr(request, "param", "") == "constrained":
            constrain(world)
        yield made


def constrain(world):
    """The database takes exception to a value that this code knows nothing of."""
    if world.engine.dialect.name == "postgresql":
        world.execute("ALTER TABLE acme_notes ADD CONSTRAINT c CHECK (CAST(payload AS text) NOT LIKE '%\"no\"%')")
    else:
        refuse = "SELECT RAISE(ABORT, 'constraint') WHERE NEW.payload LIKE '%\"no\"%'"
        world.execute(f"CREATE TRIGGER t BEFORE INSERT ON acme_notes BEGIN {refuse}; END")


def replay(*ids, whole=False):
    with write() as connection:
        return deliveries.replay(connection, Chosen(ids=ids), whole=whole)


def ignore(*ids):
    with write() as connection:
        return deliveries.ignore(connection, Chosen(ids=ids))


# order and repetition


def test_whatever_the_order_the_newest_state_stays(inbox):
    """Update 2, update 1, deletion, update 1 again: gone."""
    for body in (inbox.told(1, 2, text="2"), inbox.told(1, 1, text="1"), inbox.gone(1, 3), inbox.told(1, 1, text="1")):
        inbox.put(body)
        inbox.drain()
    assert set(inbox.states().values()) == {"applied"}
    assert inbox.held() == {}
    (row,) = inbox.world.rows("acme_notes")
    assert row["deleted_at"] is not None


def test_the_same_in_one_batch(inbox):
    for body in (inbox.told(1, 2, text="2"), inbox.told(1, 1, text="1"), inbox.gone(1, 3), inbox.told(1, 1, text="1")):
        inbox.put(body)
    for body in (inbox.told(2, 1, text="1"), inbox.gone(2, 2), inbox.told(2, 3, text="back")):
        inbox.put(body)
    inbox.drain()
    assert set(inbox.states().values()) == {"applied"}
    assert {key: row["text"] for key, row in inbox.held().items()} == {"2": "back"}
    assert inbox.inbox().lease_until is None


def test_what_comes_twice_is_written_once(inbox):
    first = inbox.put(inbox.told(1, 1, text="once"))
    inbox.drain()
    (before,) = inbox.world.rows("acme_notes")
    second = inbox.put(inbox.told(1, 1, text="once"))
    inbox.drain()
    assert inbox.world.rows("acme_notes") == [before]
    assert (inbox.one(first).counts, inbox.one(second).counts) == ({"inserted": 1}, {"unchanged": 1})


def test_many_events_of_one_record_cost_a_few_requests(inbox):
    (key,) = inbox.rig.make(1)
    for _ in range(500):
        inbox.put(inbox.hint(key))
    inbox.drain()
    assert inbox.asked(key) <= 3
    assert set(inbox.states().values()) == {"applied"}
    assert inbox.held() == inbox.rig.truth()


def test_records_are_asked_for_beside_each_other(inbox):
    """As many doors as the connection may have; all of them land."""
    keys = inbox.rig.make(40)
    for key in keys:
        inbox.put(inbox.hint(key))
    inbox.drain()
    assert [inbox.asked(key) for key in keys] == [1] * 40
    assert inbox.held() == inbox.rig.truth()


def test_an_event_that_only_hints_asks_for_the_present_state(inbox):
    """A record without a version in an event is a hint (law 4)."""
    key = inbox.vendor.create("plains", None, {"text": "now"})
    inbox.put(inbox.told(key, 0, stream="plains", text="then"))
    inbox.drain()
    assert inbox.asked(key, "plains") == 1
    assert inbox.held("plains")[str(key)]["text"] == "now"


def test_a_change_within_the_second_of_the_last_request_is_seen(inbox):
    """The vendor's clock stands, so versions can't tell which answer is newer: when it was asked for does."""
    key = inbox.vendor.create("plains", None, {"text": "0"})
    for number in range(1, 6):
        inbox.vendor.update("plains", key, {"text": str(number)})
        inbox.put(inbox.hint(key, stream="plains"))
        inbox.drain()
        assert inbox.held("plains")[str(key)]["text"] == str(number)
    inbox.vendor.delete("plains", key)
    inbox.put(inbox.hint(key, stream="plains"))
    inbox.drain()
    assert inbox.held("plains") == {}
    assert set(inbox.states().values()) == {"applied"}


def test_equal_versions_with_different_content_are_asked_for(inbox):
    """Neither wins by arrival."""
    (key,) = inbox.rig.make(1)
    told = inbox.told(key, 5, text="one")
    for text in ("one", "two"):
        inbox.put({**told, "row": {**told["row"], "text": text}})
    inbox.drain()
    assert inbox.asked(key) == 1
    assert set(inbox.states().values()) == {"applied"}


def test_where_nobody_can_be_asked_the_later_arrival_wins(inbox):
    """... among equals; a deletion is final."""
    told = inbox.told(1, 5, stream="memos", text="one")
    for text in ("one", "two"):
        inbox.put({**told, "row": {**told["row"], "text": text}})
        inbox.drain()
    assert inbox.held("memos")["1"]["text"] == "two"
    inbox.put(inbox.gone(1, 5, stream="memos"))
    inbox.drain()
    inbox.put(told)
    inbox.drain()
    assert inbox.held("memos") == {}
    assert set(inbox.states().values()) == {"applied"}


def test_a_record_that_is_gone_is_buried(inbox):
    (key,) = inbox.rig.make(1)
    inbox.put(inbox.hint(key))
    inbox.drain()
    inbox.vendor.delete("notes", key)
    inbox.put(inbox.hint(key))
    inbox.drain()
    assert inbox.held() == {}
    assert set(inbox.states().values()) == {"applied"}


def test_many_that_are_gone_at_once_have_lost_a_permission(inbox, monkeypatch):
    """Zero deletions, though the answers come one by one: the owner decides. What an event tells of one of them
    settles that one."""
    monkeypatch.setattr(refetch, "LULL", 60.0)
    monkeypatch.setattr(refetch, "GATHER", 0.0)
    keys = inbox.rig.make(20)
    for key in keys:
        inbox.put(inbox.hint(key))
    inbox.drain()
    inbox.vendor.withdraw("notes", "missing")
    again = [inbox.put(inbox.hint(key)) for key in keys]
    inbox.drain()
    assert len(inbox.held()) == 20
    assert {inbox.one(unit).state for unit in again} == {"dead"}
    assert "20 of 20 records are gone" in inbox.one(again[0]).reason
    waits = inbox.put(inbox.hint(keys[1]))
    told = inbox.put(inbox.gone(keys[0], 60))
    inbox.drain()
    assert len(inbox.held()) == 19
    assert inbox.one(again[0]).reason == f"overtaken by delivery {told}"
    assert inbox.one(waits).behind_id == again[1]
    inbox.vendor.withdraw("notes", "")
    replay(*again[1:])
    inbox.drain(2)
    assert set(inbox.states().values()) == {"applied", "ignored"}
    assert inbox.holdups() == []


@pytest.mark.parametrize("seed", [1, 2])
def test_doubled_shuffled_and_late_the_tables_equal_the_source(inbox, seed):
    """While pulls of the same streams run: fat events of one stream, hints of the other, edits of one second."""
    chance = random.Random(seed)
    bodies = [body for _ in range(120) for body in happened(inbox, chance)] * 2
    late = [body for body in bodies if chance.random() < 0.05]
    order = sorted(range(len(bodies)), key=lambda place: place % 240 + chance.uniform(-30, 30))
    for number, place in enumerate(order):
        inbox.put(bodies[place])
        if number % 50 == 0:
            inbox.drain()
        if number % 100 == 0:
            inbox.rig.sync(select=["notes", "plains"])
    for body in late:
        inbox.put(body)
    inbox.drain()
    assert set(inbox.states().values()) == {"applied"}
    assert inbox.held("notes") == inbox.rig.truth("notes")
    assert inbox.held("plains") == inbox.rig.truth("plains")
    assert inbox.holdups() == []


def happened(inbox, chance):
    """Something happens to a record of each stream, and the vendor tells of it."""
    vendor, number = inbox.vendor, chance.randrange(12)
    vendor.clock.advance(chance.choice([0, 0.5, 1, 5]))
    for name in ("notes", "plains"):
        key = 1000 + number
        there = str(key) in vendor.truth(name)
        fields = {"text": str(chance.random())}
        if there and chance.random() < 0.15:
            vendor.delete(name, key)
            yield inbox.gone(key, 0, stream=name)
        else:
            (vendor.update if there else vendor.create)(name, key, fields)
            row = dict(vendor.truth(name)[str(key)])
            at = vendor.clock.now()
            told = {"type": "told", "stream": name, "at": at, "row": row}
            yield told if name == "notes" else inbox.hint(key, stream=name)


# several records, one delivery


def test_one_delivery_may_touch_several_records(inbox):
    """Some told, some asked for, some deleted."""
    asked, gone = inbox.rig.make(2)
    inbox.rig.sync()
    unit = inbox.put(
        {"type": "several", "events": [inbox.told(77, 1), inbox.hint(asked), inbox.gone(gone, 60), inbox.hint(asked)]}
    )
    inbox.vendor.update("notes", asked, {"text": "changed"})
    inbox.drain()
    held = inbox.held()
    assert (held[str(asked)]["text"], "77" in held, str(gone) in held) == ("changed", True, False)
    assert inbox.one(unit).state == "applied"
    assert inbox.one(unit).name == "several"


def test_what_was_done_is_not_done_again(inbox):
    """One record of three fails; the others are not asked for a second time."""
    one, bad, other = inbox.rig.make(3)
    inbox.vendor.faults.set([Fault(kind="status", path=f"/v1/notes/{bad}", times=1)])
    unit = inbox.put({"type": "several", "events": [inbox.hint(one), inbox.hint(bad), inbox.hint(other)]})
    inbox.drain()
    row = inbox.one(unit)
    assert (row.state, row.attempts, row.left) == ("deferred", 1, [["notes", str(bad)]])
    inbox.hasten()
    inbox.drain()
    assert [inbox.asked(key) for key in (one, bad, other)] == [1, 2, 1]
    assert inbox.one(unit).state == "applied"
    assert inbox.held() == inbox.rig.truth()


# poison


def test_a_poisoned_event_holds_back_only_its_own_record(inbox):
    """Visibly, until it is replayed."""
    bad, good = inbox.rig.make(2)
    inbox.vendor.faults.set([Fault(kind="forbidden", path=f"/v1/notes/{bad}")])
    poison = inbox.put(inbox.hint(bad))
    inbox.drain()
    assert inbox.one(poison).state == "dead"
    assert "can't be fetched" in inbox.one(poison).reason
    both = inbox.put({"type": "several", "events": [inbox.hint(bad), inbox.hint(good)]})
    other = inbox.put(inbox.hint(good))
    inbox.drain()
    row = inbox.one(both)
    assert (row.state, row.reason, row.left) == ("deferred", f"behind delivery {poison}", [["notes", str(bad)]])
    assert (row.behind_id, row.attempts) == (poison, 0)
    assert inbox.one(other).state == "applied"
    assert [*inbox.held()] == [str(good)]
    assert inbox.asked(bad) == 1

    inbox.vendor.faults.set([])
    assert replay(poison) == {inbox.account: 1}
    inbox.drain(2)
    assert set(inbox.states().values()) == {"applied"}
    assert inbox.holdups() == []
    assert inbox.held() == inbox.rig.truth()


def test_a_poisoned_event_in_the_same_batch(inbox):
    """The first of those that wanted the record has failed, the others wait behind it."""
    bad, good = inbox.rig.make(2)
    inbox.vendor.faults.set([Fault(kind="forbidden", path=f"/v1/notes/{bad}")])
    first, second, third = [inbox.put(inbox.hint(key)) for key in (bad, bad, good)]
    inbox.drain()
    assert [inbox.one(unit).state for unit in (first, second, third)] == ["dead", "deferred", "applied"]
    assert inbox.one(second).reason == f"behind delivery {first}"
    assert ignore(first) == 1
    assert inbox.holdups() == []
    inbox.vendor.faults.set([])
    inbox.drain()
    assert [inbox.one(unit).state for unit in (first, second)] == ["ignored", "applied"]


def test_a_record_that_cant_be_stored_makes_its_delivery_dead(inbox):
    """With the path and the reason; what is newer overtakes it."""
    bad = inbox.told(1, 1)
    bad["row"]["updated_at"] = "yesterday"
    poison = inbox.put(bad)
    behind = inbox.put(inbox.told(1, 0, text="older"))
    inbox.drain()
    row = inbox.one(poison)
    assert (row.state, row.left) == ("dead", [["notes", "1"]])
    assert "(at $.updated_at)" in row.reason
    assert inbox.one(behind).reason == f"behind delivery {poison}"
    newer = inbox.put(inbox.told(1, 2, text="newer"))
    inbox.drain(2)
    row = inbox.one(poison)
    assert (row.state, row.reason) == ("ignored", f"overtaken by delivery {newer}")
    assert [inbox.one(unit).state for unit in (newer, behind)] == ["applied", "applied"]
    assert inbox.held()["1"]["text"] == "newer"
    assert inbox.holdups() == []


def test_overtaken_in_the_same_batch(inbox):
    bad = inbox.told(1, 1)
    bad["row"]["updated_at"] = 5.5
    poison, newer = inbox.put(bad), inbox.put(inbox.told(1, 2, text="newer"))
    inbox.drain()
    assert inbox.one(poison).reason == f"overtaken by delivery {newer}"
    assert inbox.one(newer).state == "applied"
    assert inbox.holdups() == []


def test_only_what_is_overtaken_goes(inbox):
    """Two records failed; a newer event settles one of them, the other stays a person's."""
    bad = [inbox.told(key, 1) for key in (1, 2)]
    for one in bad:
        one["row"]["updated_at"] = None
    poison = inbox.put({"type": "several", "events": bad})
    inbox.drain()
    inbox.put(inbox.told(1, 2))
    inbox.drain()
    row = inbox.one(poison)
    assert (row.state, row.left) == ("dead", [["notes", "2"]])
    assert inbox.holdups() == [("notes", "2", poison)]


def test_a_newer_event_does_not_overtake_a_record_that_must_be_asked_for(inbox):
    """Nobody knows how new that would have been."""
    (bad,) = inbox.rig.make(1)
    inbox.vendor.faults.set([Fault(kind="forbidden", path=f"/v1/notes/{bad}")])
    poison = inbox.put(inbox.hint(bad))
    inbox.drain()
    newer = inbox.put(inbox.told(bad, 60))
    inbox.drain()
    assert inbox.one(newer).behind_id == poison


def test_what_waits_for_nobody_any_more_looks_again(inbox):
    """Though it was never told: the delivery that it waits for was deleted."""
    (bad,) = inbox.rig.make(1)
    inbox.vendor.faults.set([Fault(kind="forbidden", path=f"/v1/notes/{bad}", times=1)])
    poison = inbox.put(inbox.hint(bad))
    inbox.drain()
    behind = inbox.put(inbox.hint(bad))
    inbox.drain()
    inbox.world.execute(f"DELETE FROM deliveries WHERE id = {poison}")
    assert inbox.one(behind).state == "deferred"
    inbox.hasten()
    inbox.drain()
    assert inbox.one(behind).state == "applied"


# what can't be read


BAD = [
    (b'{"type": "told"', "can't be read as JSON"),
    (b'"just text"', "an event is a JSON object (at $)"),
    (b'{"type": "hint", "id": "\xff"}', "not UTF-8 at byte 24"),
    (b'{"type": "hint", "id": "\x00"}', "can't be read as JSON"),
    (b'{"type": "hint", "id": "a\\u0000b"}', "can't be stored"),
    (b'{"type": "hint", "id": 1e999}', "can't be read as JSON"),
    (b'{"type": "hint", "id": ' + b"9" * 5000 + b"}", "can't be read as JSON"),
    (b'{"a":' * 5000 + b"1" + b"}" * 5000, "nested too deep"),
    (b'{"type": "hint", "id": "' + b"k" * 600 + b'"}', "can't be stored"),
    (b'{"type": "told", "row": {"id": 1}, "at": "noon"}', "is no moment"),
    (b'{"type": "hint", "stream": "nowhere", "id": 1}', "there is no stream 'nowhere'"),
    (b'{"type": "pull", "stream": "memos"}', "can't be pulled"),
    (b'{"type": "hint", "stream": "memos", "id": 1}', "how one record is fetched"),
    (b'{"type": "broken"}', "the connector can't read it: KeyError: 'plan' (at $)"),
    (b'{"type": "several", "events": {"a": 1}}', "the connector can't read it: TypeError"),
]


def test_what_cant_be_read_is_dead_and_stops_nothing_else(inbox):
    """Each says where, and why."""
    units = [inbox.put(body) for body, _ in BAD]
    good = inbox.put(inbox.told(1, 1))
    inbox.drain()
    rows = [inbox.one(unit) for unit in units]
    assert [row.state for row in rows] == ["dead"] * len(BAD)
    assert [row.reason for row, (_, why) in zip(rows, BAD, strict=True) if why not in row.reason] == []
    assert inbox.one(good).state == "applied"


@pytest.mark.parametrize("inbox", ["constrained"], indirect=True)
def test_what_the_database_refuses_makes_only_its_delivery_dead(inbox):
    """Told or fetched: its neighbours land."""
    fine, bad = inbox.vendor.create("notes", None, {"text": "fine"}), inbox.vendor.create("notes", None, {"text": "no"})
    told = [inbox.put(inbox.told(key, 1, text=text)) for key, text in ((70, "fine"), (71, "no"), (72, "fine"))]
    asked = [inbox.put(inbox.hint(key)) for key in (fine, bad)]
    inbox.drain()
    assert [inbox.one(unit).state for unit in (*told, *asked)] == ["applied", "dead", "applied", "applied", "dead"]
    assert "the database refuses it" in inbox.one(told[1]).reason
    assert "the database refuses it" in inbox.one(asked[1]).reason
    assert sorted(inbox.held()) == sorted(["70", "72", str(fine)])
    assert [key for _, key, _ in inbox.holdups()] == ["71", str(bad)]


def test_a_replay_under_better_code_applies_it(world, monkeypatch):
    deployed = [WEBHOOK]
    with inboxed(world, monkeypatch, webhook=lambda config: deployed[-1]) as inbox:
        unit = inbox.put({**inbox.told(1, 1), "type": "broken"})
        inbox.drain()
        assert inbox.one(unit).state == "dead"
        deployed.append(replace(WEBHOOK, effects=lambda event: effects({**event, "type": "told"})))
        assert replay(unit) == {inbox.account: 1}
        inbox.drain()
        assert (inbox.one(unit).state, inbox.one(unit).reason) == ("applied", None)
        assert "1" in inbox.held()


def test_a_connector_that_lost_its_webhook_says_so(world, monkeypatch):
    with inboxed(world, monkeypatch, webhook=None) as inbox:
        unit = inbox.put(inbox.told(1, 1))
        inbox.drain()
        assert "has no webhook" in inbox.one(unit).reason


def test_what_proves_nothing_is_only_a_hint(world, monkeypatch):
    """Nothing of a delivery that nobody signed is stored: neither a record nor a deletion."""
    with inboxed(world, monkeypatch, webhook=replace(WEBHOOK, verify=FetchBack())) as inbox:
        there, gone = inbox.rig.make(2)
        inbox.rig.sync()
        inbox.vendor.delete("notes", gone)
        units = [inbox.put(body) for body in (inbox.told(there, 99, text="a lie"), inbox.gone(there, 99),
                                              inbox.told(gone, 99), inbox.told(5, 1, stream="memos"))]  # fmt: skip
        inbox.drain()
        assert [inbox.one(unit).state for unit in units] == ["applied"] * 3 + ["dead"]
        assert inbox.held() == inbox.rig.truth()


def test_unknown_events_are_told_once_and_counted(inbox, capsys):
    known = [inbox.put({"type": "surprise"}) for _ in range(3)]
    dull = inbox.put({"type": "dull.thing"})
    inbox.drain()
    inbox.put({"type": "surprise"})
    inbox.drain()
    assert {inbox.one(unit).state for unit in (*known, dull)} == {"ignored"}
    assert inbox.one(known[0]).reason == "unknown event 'surprise'"
    assert "of no concern" in inbox.one(dull).reason
    with write() as connection:
        counted = connection.exec_driver_sql("SELECT kind, name, count FROM notices").all()
    assert [tuple(row) for row in counted] == [("unknown", "surprise", 4)]
    assert capsys.readouterr().out.count("unknown event") == 1


def test_what_touches_no_selected_stream_is_ignored(world, monkeypatch):
    with inboxed(world, monkeypatch, connection={"streams": ["plains"]}) as inbox:
        unit = inbox.put(inbox.told(1, 1))
        inbox.drain()
        assert (inbox.one(unit).state, inbox.one(unit).reason) == ("ignored", "its stream is not selected")


# the vendor's moods


def test_a_quota_defers_and_uses_up_no_attempt(inbox):
    keys = inbox.rig.make(12)
    inbox.vendor.faults.set([Fault(kind="throttle", path="/v1/notes", seconds=300)])
    units = [inbox.put(inbox.hint(key)) for key in keys]
    told = inbox.put(inbox.told(999, 1))
    inbox.drain()
    rows = [inbox.one(unit) for unit in units]
    assert {(row.state, row.attempts) for row in rows} == {("deferred", 0)}
    assert all("refuses more requests" in row.reason for row in rows)
    assert all((row.due_at - row.received_at).total_seconds() > 250 for row in rows)
    assert sum(inbox.asked(key) for key in keys) <= 4
    assert inbox.one(told).state == "applied"
    assert inbox.holdups() == []
    inbox.vendor.faults.set([])
    inbox.vendor.clock.advance(300)
    inbox.world.execute("UPDATE credentials SET blocked = '{}'")
    inbox.hasten()
    inbox.drain()
    assert set(inbox.states().values()) == {"applied"}


def test_a_failure_is_tried_again_and_dead_in_the_end(inbox):
    (key,) = inbox.rig.make(1)
    inbox.vendor.faults.set([Fault(kind="status", path="/v1/notes")])
    unit = inbox.put(inbox.hint(key))
    for attempt in range(1, 13):
        inbox.drain()
        row = inbox.one(unit)
        assert (row.state, row.attempts) == ("deferred" if attempt < 12 else "dead", attempt)
        inbox.hasten()
    with write() as connection:
        steps = [row.after for row in deliveries.history(connection, unit)]
    assert steps == ["deferred"] * 11 + ["dead"]


def test_a_refused_credential_stops_the_connection(inbox):
    keys = inbox.rig.make(5)
    inbox.vendor.faults.set([Fault(kind="unauthorized", path="/v1/notes")])
    units = [inbox.put(inbox.hint(key)) for key in keys]
    inbox.drain()
    (account,) = inbox.world.rows("connections")
    assert account["state"] == "failing"
    assert {(inbox.one(unit).state, inbox.one(unit).attempts) for unit in units} == {("deferred", 0)}
    assert inbox.inbox().lease_until is None
    inbox.vendor.faults.set([])
    inbox.drain()
    assert inbox.held() == {}
    inbox.world.execute("UPDATE connections SET state = 'active'")
    inbox.drain()
    assert inbox.held() == inbox.rig.truth()


def test_nothing_of_a_paused_connection_is_drained(inbox):
    inbox.world.execute("UPDATE connections SET state = 'paused'")
    unit = inbox.put(inbox.told(1, 1))
    inbox.drain()
    schedule.tick()
    assert inbox.rang == []
    assert inbox.one(unit).state == "received"
    inbox.world.execute("UPDATE connections SET state = 'active'")
    schedule.tick()
    assert inbox.rang == [inbox.account]
    inbox.drain()
    assert inbox.one(unit).state == "applied"


# pulls


def test_an_event_may_cause_a_pull(inbox):
    """Once for however many ask, and soon."""
    inbox.rig.make(3)
    units = [inbox.put({"type": "pull"}) for _ in range(5)]
    inbox.drain()
    assert [(row["cause"], row["stream"], row["list"]) for row in inbox.world.rows("runs")] == [
        ("webhook", "notes", "rows")
    ]
    assert {inbox.one(unit).state for unit in units} == {"applied"}
    assert len(inbox.world.sent) == 1
    inbox.world.settle()
    assert inbox.held() == inbox.rig.truth()


def test_a_pull_that_began_before_the_event_does_not_count(inbox):
    """It may be past the place: another one follows it."""
    inbox.rig.open()
    unit = inbox.put({"type": "pull"})
    inbox.drain()
    assert inbox.one(unit).state == "deferred"
    assert "under way" in inbox.one(unit).reason
    inbox.world.settle()
    inbox.hasten()
    inbox.drain()
    assert inbox.one(unit).state == "applied"
    assert [row["cause"] for row in inbox.world.rows("runs", "stream = 'notes'")] == ["test", "webhook"]


# crashes, leases, the net


def test_a_worker_that_was_overtaken_writes_nothing(inbox, monkeypatch):
    """Its lease ran out while it asked the vendor: the next one does it all, once."""
    (key,) = inbox.rig.make(1)
    unit = inbox.put(inbox.hint(key))

    inbox.rig.after(1, inbox.kill, f"/v1/notes/{key}")
    inbox.drain()
    assert inbox.one(unit).state == "received"
    assert inbox.held() == {}
    inbox.drain()
    assert inbox.one(unit).state == "applied"
    assert inbox.held() == inbox.rig.truth()
    assert inbox.one(unit).attempts == 1  # counted before it was made, for its worker might have died of it


def test_who_ends_workers_is_dead_in_the_end(inbox):
    """Each attempt is counted before it is made."""
    killer, other = inbox.put(inbox.told(1, 1)), inbox.put(inbox.told(2, 1))
    inbox.world.execute(f"UPDATE deliveries SET attempts = 12 WHERE id = {killer}")
    inbox.world.execute("UPDATE inboxes SET worker = 'died', lease_until = NULL")
    inbox.drain()
    assert (inbox.one(killer).state, inbox.one(other).state) == ("dead", "applied")
    assert "12 workers" in inbox.one(killer).reason
    assert inbox.inbox().worker is None


def test_a_fault_of_ours_leaves_the_inbox_free(inbox, monkeypatch):
    unit = inbox.put(inbox.told(1, 1))
    with monkeypatch.context() as patched:
        patched.setattr(receive.Drain, "_fresh", lambda drain: 1 / 0)
        inbox.drain()
    row = inbox.inbox()
    assert (row.lease_until, row.rings) == (None, 1)
    schedule.tick()
    assert inbox.rang == []  # after a while
    inbox.world.execute("UPDATE inboxes SET rung_at = '2020-01-01 00:00:00.000000'")
    schedule.tick()
    assert inbox.rang == [inbox.account]
    inbox.drain()
    assert inbox.one(unit).state == "applied"


def test_when_the_time_is_up_it_goes_on_later(inbox, monkeypatch):
    monkeypatch.setenv("TIDELOCK_SLICE_SECONDS", "0.000001")
    settings.cache_clear()
    unit = inbox.put(inbox.told(1, 1))
    inbox.drain()
    assert inbox.rang == [inbox.account]
    assert (inbox.inbox().lease_until, inbox.inbox().rings) == (None, 1)
    assert inbox.one(unit).state == "received"


def test_the_tick_rings_for_what_nobody_was_told_of(inbox):
    """... once, until that message counts as lost."""
    inbox.put(inbox.told(1, 1))
    schedule.tick()
    schedule.tick()
    assert inbox.rang == [inbox.account]
    inbox.world.execute("UPDATE inboxes SET rung_at = '2020-01-01 00:00:00.000000'")
    schedule.tick()
    assert inbox.rang == [inbox.account] * 2
    inbox.drain()
    schedule.tick()
    assert inbox.rang == [inbox.account] * 2


def test_tables_that_are_not_there_are_made_by_the_tick(inbox):
    receive._there.clear()
    schema._ensured.clear()
    inbox.world.execute("DROP TABLE acme_notes")
    unit = inbox.put(inbox.told(1, 1))
    inbox.drain()
    assert (inbox.one(unit).state, inbox.inbox().lease_until) == ("received", None)
    schedule.tick()
    assert inbox.rang == [inbox.account]
    inbox.drain()
    assert inbox.one(unit).state == "applied"


def test_what_can_never_be_drained_stops_its_connection(inbox, monkeypatch):
    """Its owner sees it; the deliveries wait."""

    def broken(name):
        raise registry.BrokenConnector("the connector 'acme' can't be loaded")

    unit = inbox.put(inbox.told(1, 1))
    with monkeypatch.context() as patched:
        patched.setattr(receive, "load", broken)
        inbox.drain()
    (account,) = inbox.world.rows("connections")
    assert (account["state"], account["reason"]) == ("failing", "the connector 'acme' can't be loaded")
    assert (inbox.one(unit).state, inbox.inbox().lease_until) == ("received", None)


def test_killed_anywhere_everything_is_applied_once(inbox):
    """Before any statement and any commit: who comes next finds records and deliveries of one mind."""
    changing, going, bad = inbox.rig.make(3)
    inbox.rig.sync()
    bodies = [
        {"type": "several", "events": [inbox.told(70, 1), inbox.hint(changing)]}, inbox.gone(going, 60),
        {"type": "broken"}, {"type": "pull"}, {"type": "surprise"}, inbox.hint(bad),
    ]  # fmt: skip
    inbox.vendor.update("notes", changing, {"text": "changed"})
    inbox.vendor.faults.set([Fault(kind="forbidden", path=f"/v1/notes/{bad}")])
    step = 1
    while True:
        units = [inbox.put(body) for body in bodies]
        inbox.world.execute("UPDATE runs SET state = 'done', open = 0")
        with killed_at(inbox.world, step) as steps:
            inbox.drain()
        if steps[0] < step:
            break
        inbox.world.execute(
            "UPDATE inboxes SET lease_until = '2020-01-01 00:00:00.000000' WHERE lease_until IS NOT NULL"
        )
        schedule.take_back_inboxes()
        inbox.drain(2)
        states = [inbox.one(unit).state for unit in units]
        assert states[:5] == ["applied", "applied", "dead", "applied", "ignored"], step
        assert states[5] in ("dead", "deferred")
        assert inbox.inbox().lease_until is None
        step += 3
    assert step > 10
    held = inbox.held()
    assert (held[str(changing)]["text"], "70" in held, str(going) in held) == ("changed", True, False)
    assert len(inbox.holdups()) == 1


def test_two_connections_are_drained_beside_each_other(world, monkeypatch):
    """Each in its own order, into the same tables."""
    with inboxed(world, monkeypatch) as one:
        other = one.beside()
        for number in range(60):
            for inbox in (one, other):
                inbox.put(inbox.told(number % 7, number, text=str(number)))
                inbox.put(inbox.gone(number % 7 + 1, number))
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(receive.drain, [one.account, other.account]))
        assert set(one.states().values()) == {"applied"}
        kept = [{key: row["text"] for key, row in inbox.held().items()} for inbox in (one, other)]
        assert kept[0] == kept[1] != {}


def test_a_delivery_without_content_is_an_event_without_fields(world, monkeypatch):
    """Some vendors say all in the headers."""
    webhook = Webhook(
        verify=SharedToken(token=InHeader("x-token")), effects=lambda event: [Pull("notes")],
        name=InHeader("X-Goog-Resource-State"), events=("exists",),
    )  # fmt: skip
    with inboxed(world, monkeypatch, webhook=webhook) as inbox:
        unit = inbox.put(b"", **{"x-goog-resource-state": "exists"})
        inbox.drain()
        assert (inbox.one(unit).state, inbox.one(unit).name) == ("applied", "exists")
        assert len(inbox.world.rows("runs")) == 1


def test_one_delivery_may_carry_several_events(world, monkeypatch):
    """Each is understood by itself: applied, ignored, unknown."""
    with inboxed(world, monkeypatch, webhook=replace(WEBHOOK, each="events")) as inbox:
        unit = inbox.put({"events": [inbox.told(1, 1), {"type": "dull.x"}, {"type": "surprise"}, inbox.told(2, 1)]})
        bad = inbox.put({"events": [inbox.told(3, 1), {"type": "broken"}]})
        none = inbox.put({"happened": []})
        empty = inbox.put({"events": []})
        inbox.drain()
        assert (inbox.one(unit).state, inbox.one(unit).counts) == ("applied", {"inserted": 2, "unknown": 1})
        assert "(at $.events[1])" in inbox.one(bad).reason
        assert inbox.one(none).reason == "here stands no list of events (at $.events)"
        assert inbox.one(empty).state == "ignored"
        assert [*inbox.held()] == ["1", "2"]


def test_someone_else_holds_the_inbox(inbox):
    unit = inbox.put(inbox.told(1, 1))
    with write() as connection:
        assert inbox_leases.claim(connection, inbox.account, "other", 60)
    inbox.drain()
    assert (inbox.one(unit).state, inbox.inbox().worker) == ("received", "other")
