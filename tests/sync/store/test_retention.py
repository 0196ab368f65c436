"""Retention: what was over long ago goes, a little at a time; what says where things stand does not."""

import pytest
from sqlalchemy import insert, select

from models import Attempt, Reject, Run, Slice
from sync import schedule
from sync.settings import settings
from sync.store import history, retention
from sync.store.database import now, read, write

URL = {"url": "http://127.0.0.1:9"}
DAY = 86_400.0


class Past:
    """A connection with a past: `run(age)` is a run of one slice that was over so many days ago."""

    def __init__(self, world):
        self.world = world
        self.account = world.connect("demo", URL)

    def run(self, age, *, state="done", slices=("done",), stream="customers", list_="rows", **values):
        own = {"connection_id": self.account, "stream": stream, "list": list_, "lane": "schedule", "counts": {}}
        over = {"opened_at": now(-age * DAY), "closed_at": now(-age * DAY) if state != "running" else None}
        with write() as connection:
            row = {**own, "state": state, "cause": "test", **over, **values}
            run = connection.execute(insert(Run).values(row).returning(Run.id)).scalar_one()
            for number, became in enumerate(slices):
                share = {**own, "run_id": run, "partition": str(number), "state": became, "ask": {}}
                unit = connection.execute(
                    insert(Slice).values(**share, due_at=now(-age * DAY)).returning(Slice.id)
                ).scalar_one()
                note = {"kind": "slice", "unit": unit, "before": "running", "after": became, "fence": 1}
                connection.execute(insert(Attempt).values(**note, at=now(-age * DAY)))
        return run

    def left(self, table="runs"):
        return {row["id"] for row in self.world.rows(table)}

    def units(self, run):
        return {row["id"] for row in self.world.rows("slices", f"run_id = {run}")}


@pytest.fixture
def past(world):
    return Past(world)


def test_what_was_over_before_that_many_days_goes_with_its_slices_and_attempts(past):
    old, young, last = past.run(31), past.run(29), past.run(1)
    assert retention.prune(30) == {"slices": 1, "runs": 1, "attempts": 1}
    assert past.left() == {young, last}
    assert past.left("slices") == past.units(young) | past.units(last)
    assert {row["unit"] for row in past.world.rows("attempts")} == past.left("slices")
    assert old not in past.left()


def test_the_last_run_of_every_list_stays(past):
    """However long ago: it says what became of the list."""
    lists = [("customers", "rows"), ("customers", "deletes"), ("orders", "rows"), ("", "feed")]
    past.run(101)
    kept = {past.run(100, stream=stream, list_=list_) for stream, list_ in lists}
    kept.add(past.run(99, state="failed", slices=("cancelled",)))
    retention.prune(30)
    assert past.left() == kept


def test_how_fresh_the_data_is_stays_known(past):
    """A list that has failed for longer than runs are kept is as old as its last success, which stays."""
    gone = past.run(41)
    success = past.run(40)
    bounded = past.run(39, since="2026-01-01T00:00:00+00:00")
    older, newest = past.run(38, state="failed"), past.run(1, state="failed")
    before = fresh_at(past)
    retention.prune(30)
    assert past.left() == {success, newest}
    assert not {gone, bounded, older} & past.left()
    assert fresh_at(past) == before


def fresh_at(past):
    with read() as connection:
        return history.lasts(connection)[past.account, "customers", "rows"].fresh_at


@pytest.mark.parametrize(
    ("run", "share"),
    [("failed", "dead"), ("held", "held"), ("running", "ready"), ("running", "deferred"), ("running", "running")],
)
def test_what_is_open_dead_or_held_stays_with_its_history(past, run, share):
    kept = past.run(90, state=run, slices=("done", share), exclusive=False)
    (unit,) = {row["id"] for row in past.world.rows("slices", f"state = '{share}'")}
    last = past.run(1)
    retention.prune(30)
    assert past.left() == {kept, last}
    assert len(past.units(kept)) == 2
    assert unit in {row["unit"] for row in past.world.rows("attempts")}


def test_what_was_held_and_is_settled_goes(past):
    """Its run says "held" for ever, but nobody is waited for."""
    past.run(90, state="held", slices=("cancelled",))
    last = past.run(1)
    retention.prune(30)
    assert past.left() == {last}


def test_rejected_records_stay_whatever_becomes_of_their_run(past):
    old = past.run(90)
    past.run(1)
    values = {"connection_id": past.account, "stream": "customers", "run_id": old, "digest": 1, "payload": b"{"}
    with write() as connection:
        connection.execute(insert(Reject).values(**values, reason="no", first_at=now(), last_at=now()))
    retention.prune(30)
    (reject,) = past.world.rows("rejects")
    assert (reject["state"], reject["run_id"]) == ("dead", None)


def test_a_transaction_deletes_few_rows_and_a_call_ends_when_its_patience_does(past, monkeypatch):
    monkeypatch.setattr(retention, "BATCH", 3)
    big = past.run(90, slices=["done"] * 7)
    last = past.run(1)
    assert retention.prune(30, patience=0) == {"slices": 3}
    assert len(past.units(big)) == 4
    assert retention.prune(30) == {"slices": 4, "runs": 1, "attempts": 7}
    assert past.left() == {last}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)  # SQLite has one writer at a time
def test_rows_that_another_one_deletes_are_left_to_it(past):
    """Two clocks at once don't wait for each other."""
    past.run(90)
    past.run(1)
    with write() as other:
        other.execute(select(Slice.id).with_for_update())
        assert retention.prune(30) == {"slices": 0}
    assert retention.prune(30) == {"slices": 1, "runs": 1, "attempts": 1}


def test_nothing_to_delete_writes_nothing(past):
    past.run(1)
    assert retention.prune(30) == {}


def test_the_clock_prunes_at_most_once_a_minute(past, monkeypatch):
    calls = []
    once_a_minute = {schedule.prune: 60.0}
    assert once_a_minute.items() <= schedule._SLOW.items()
    monkeypatch.setattr(schedule, "_SLOW", {lambda: calls.append(1): 60.0})
    clock = schedule.Scheduler.__new__(schedule.Scheduler)
    clock.done_at = dict.fromkeys(schedule._SLOW, -1e9)
    counts = []
    for moment in (0.0, 1.0, 59.0, 60.0, 61.0):
        clock._slowly(moment)
        counts.append(len(calls))
    assert counts == [1, 1, 1, 2, 2]


def test_the_clock_prunes_what_the_settings_say(past, monkeypatch):
    monkeypatch.setenv("TIDELOCK_KEEP_DAYS", "7")
    settings.cache_clear()
    past.run(8)
    last = past.run(6)
    schedule.prune()
    assert past.left() == {last}
