"""What effects come to, and how it is written: told, fetched, buried."""

import threading
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from connectors import ContractError, Delete, Pull, Refetch, Stream, Upsert, get_one, integer, iso
from sync.effects import MOST, Records, Trust
from sync.store import schema
from sync.store.database import engine, now, read, write
from tests.sync.store.conftest import moment, pull, thing
from tests.traps.rig import UPDATED

THINGS = Stream("things", "/things", pull, version=UPDATED, get=get_one())
PLAIN = Stream("plain", "/plain", pull, get=get_one())
COUNTED = Stream("counted", "/counted", pull, version=integer("seq"), get=get_one())
TOLD = Stream("told", version=iso("updated_at"))
WILD: dict[str, Any] = {"none": None, "true": True, "text": "2026", "number": 5}  # where another type belongs
ACCOUNT: Any = SimpleNamespace(id=1, connector="lab")
ALL = (THINGS, PLAIN, COUNTED, TOLD)


@pytest.fixture
def records(world):
    return made(Trust.VERSIONS)


@pytest.fixture
def known(sqlite_world):
    """Where it doesn't depend on the database."""
    return made(Trust.VERSIONS)


def made(trust, *streams):
    for stream in ALL:
        schema.ensure(engine(), "lab", stream)
    return Records(ACCOUNT, {one.name: one for one in streams or ALL}, [one.name for one in ALL], trust)


def micros(seconds):
    return UPDATED.instant(moment(seconds))


def clock():
    with read() as connection:
        return connection.execute(select(now())).scalar_one()


def tell(records, *effects):
    """What these effects tell, written; the tally by stream."""
    meaning = records.meaning(effects)
    portions = records.told({record: [one] for record, one in meaning.changes.items() if one.tells})
    with write() as connection:
        return {one.stream.name: records.land(connection, one) for one in portions}


def fetch(records, stream, *rows, gone=(), as_of=0, asked_at=None):
    """What the vendor says now, written."""
    batches = [records.read(stream, row, as_of) for row in rows]
    later = clock() + timedelta(milliseconds=1)  # SQLite's clock stands still that long
    portion = records.fetched(stream, batches, dict.fromkeys(gone, as_of), asked_at or later)
    with write() as connection:
        return records.land(connection, portion)


def rows(world, stream="things"):
    return {row["key"]: row for row in world.rows(f"lab_{stream}")}


def alive(world, stream="things"):
    return sorted(key for key, row in rows(world, stream).items() if row["deleted_at"] is None)


# what they come to


def test_effects_are_gathered_by_record(known):
    meaning = known.meaning([
        Upsert("things", thing("a", 1), micros(1)), Refetch("plain", "b"), Delete("things", "a", micros(2)),
        Refetch("plain", "b"), Pull("things"), Pull("things"),
    ])  # fmt: skip
    assert sorted(meaning.changes) == [("plain", "b"), ("things", "a")]
    told = meaning.changes["things", "a"]
    assert (len(told.rows), told.gone, told.as_of, told.asks) == (1, micros(2), micros(2), False)
    assert meaning.changes["plain", "b"].asks
    assert meaning.pulls == {Pull("things")}


@pytest.mark.parametrize(
    ("trust", "stream", "asks"),
    [
        (Trust.VERSIONS, "things", False),
        (Trust.VERSIONS, "plain", True),
        (Trust.VERSIONS, "told", False),
        (Trust.EVENTS, "plain", False),
        (Trust.NOTHING, "things", True),
    ],
)
def test_a_record_in_an_event_is_the_truth_or_a_hint(sqlite_world, trust, stream, asks):
    """Law 4: without a version it is a hint where the vendor can be asked; a feed's copy is as of its event."""
    meaning = made(trust).meaning([Upsert(stream, thing("a", 1), micros(1))])
    change = meaning.changes[stream, "a"]
    assert (change.asks, change.tells) == (asks, not asks)


def test_streams_that_nobody_selected_are_counted(sqlite_world):
    meaning = made(Trust.VERSIONS, THINGS).meaning([Refetch("plain", "a"), Pull("told"), Refetch("things", "b")])
    assert (meaning.others, [*meaning.changes], meaning.pulls) == (2, [("things", "b")], set())


@pytest.mark.parametrize(
    ("effect", "why"),
    [
        ("nonsense", "is no effect"),
        (Refetch("nowhere", "a"), "there is no stream 'nowhere'; there are counted, plain"),
        (Refetch("told", "a"), "how one record is fetched"),
        (Pull("told"), "can't be pulled"),
        (Refetch("things", ""), "is no key"),
        (Refetch("things", WILD["none"]), "is no key"),
        (Delete("things", "a\0", 1), "can't be stored"),
        (Delete("things", "k" * 513, 1), "can't be stored"),
        (Delete("things", "\ud800", 1), "can't be stored"),
        (Delete("things", "a", WILD["none"]), "is no moment"),
        (Delete("things", "a", WILD["true"]), "is no moment"),
        (Upsert("things", thing("a"), 2**63), "is no moment"),
        (Upsert("things", thing("a"), WILD["text"]), "is no moment"),
    ],
)
def test_effects_that_make_no_sense_are_mistakes(known, effect, why):
    with pytest.raises(ContractError, match=why):
        known.meaning([effect])


def test_an_event_without_end_is_a_mistake(known):
    with pytest.raises(ContractError, match=f"more than {MOST:,}"):
        known.meaning(Refetch("things", str(number)) for number in iter(int, 1))


def test_a_number_is_a_key(known):
    assert [*known.meaning([Refetch("things", WILD["number"])]).changes] == [("things", "5")]


def test_a_record_that_cant_be_stored_says_where(known):
    (unfit,) = known.meaning([Upsert("things", {"id": "a", "updated_at": "soon"}, 1)]).unfit
    assert (unfit.stream, unfit.rejection.key, unfit.rejection.path) == ("things", "a", "$.updated_at")


# what is told


def test_of_several_states_the_newest_is_written(world, records):
    tell(records, *(Upsert("things", thing("a", version), micros(version)) for version in (2, 3, 1)))
    assert rows(world)["a"]["version"] == micros(3)


def test_deletions_and_records_meet_in_any_order(world, records):
    tell(records, Delete("things", "a", micros(2)), Upsert("things", thing("a", 1), micros(1)))
    tell(records, Upsert("things", thing("b", 3), micros(3)), Delete("things", "b", micros(2)))
    tell(records, Delete("things", "c", micros(2)))
    tell(records, Upsert("things", thing("c", 1), micros(1)))
    assert alive(world) == ["b"]
    assert tell(records, Upsert("things", thing("c", 3), micros(3)))["things"].revived == ["c"]


def test_an_older_deletion_of_a_living_record_must_be_asked_about(world, records):
    """The vendor's event may only have whole seconds."""
    tell(records, Upsert("things", thing("a", 1.8), micros(1.8)))
    assert tell(records, Delete("things", "a", micros(1)))["things"].tied == ["a"]


def test_equal_versions_are_tied(world, records):
    """In one batch or in two; the same content is no tie."""
    both = [Upsert("things", thing("a", 1, text=text), micros(1)) for text in ("x", "y")]
    assert tell(records, *both)["things"].tied == ["a"]
    tell(records, Upsert("things", thing("b", 1), micros(1)))
    assert tell(records, Upsert("things", thing("b", 1), micros(1)))["things"].counts() == {"unchanged": 1}
    assert tell(records, Upsert("things", thing("b", 1, text="z"), micros(1)))["things"].tied == ["b"]
    assert tell(records, Delete("things", "b", micros(1)))["things"].tied == ["b"]
    assert tell(records, *both, Upsert("things", thing("a", 2), micros(2)))["things"].tied == []


def test_where_nobody_can_be_asked_the_later_one_wins(world, records):
    first, second = (Upsert("told", thing("a", 1, text=text), micros(1)) for text in ("x", "y"))
    tell(records, first)
    assert tell(records, second)["told"].updated == ["a"]
    assert tell(records, Delete("told", "a", micros(1)))["told"].deleted == ["a"]
    assert tell(records, first)["told"].counts() == {}
    assert alive(world, "told") == []


def test_keys_ascend_over_records_and_deletions(world, records):
    """... so that two writers never wait in a circle."""
    tell(records, *(Upsert("things", thing(key, 1), micros(1)) for key in "bdf"))
    tally = tell(
        records,
        *(Upsert("things", thing(key, 2), micros(2)) for key in "gca"),
        *(Delete("things", key, micros(2)) for key in "fbdz"),
        Upsert("things", thing("d", 3), micros(3)),
    )["things"]
    assert (tally.inserted, tally.deleted, tally.unknown) == (["a", "c", "g"], ["b", "f"], ["z"])
    assert alive(world) == ["a", "c", "d", "g"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_deletions_among_records_never_wait_in_a_circle(world, records):
    """Beside a writer of the same keys who locks them one after the other."""
    keys = [f"k{number:03}" for number in range(120)]
    failures = []

    def working(effects):
        try:
            for version in range(1, 25):
                tell(records, *(one for place, key in enumerate(keys) for one in effects(place, key, version)))
        except DBAPIError as error:
            failures.append(error)

    def mixed(place, key, version):
        yield (
            Delete("things", key, micros(version))
            if place % 2
            else Upsert("things", thing(key, version), micros(version))
        )

    def records_only(place, key, version):
        yield Upsert("things", thing(key, version + 0.5), micros(version))

    threads = [threading.Thread(target=working, args=(effects,)) for effects in (mixed, records_only)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


# what was fetched


def test_what_was_asked_for_later_is_newer_whatever_the_clock_says(world, records):
    """Without a version of its own, and by a clock of whole seconds."""
    fetch(records, "plain", {"id": "a", "text": "1"}, as_of=micros(5))
    assert fetch(records, "plain", {"id": "a", "text": "2"}, as_of=micros(4)).updated == ["a"]
    assert rows(world, "plain")["a"]["version"] == micros(5)
    assert fetch(records, "plain", gone=["a"], as_of=micros(4)).deleted == ["a"]
    assert fetch(records, "plain", {"id": "a", "text": "3"}, as_of=micros(4)).revived == ["a"]


def test_what_somebody_wrote_meanwhile_must_be_asked_for_again(world, records):
    """The answer may be older than what is stored now."""
    asked_at = clock()
    fetch(records, "plain", {"id": "a", "text": "1"}, as_of=micros(5))
    assert fetch(records, "plain", {"id": "a", "text": "0"}, as_of=micros(4), asked_at=asked_at).tied == ["a"]
    assert fetch(records, "plain", gone=["a"], as_of=micros(4), asked_at=asked_at).tied == ["a"]
    portion = records.fetched("plain", [records.read("plain", {"id": "a", "text": "0"}, 0)], {}, asked_at)
    fetch(records, "plain", {"id": "a", "text": "2"}, as_of=micros(9))
    with write() as connection:
        assert records.land(connection, portion).tied == ["a"]


def test_a_version_decides_before_the_time_of_asking(world, records):
    """A cache may show an old state late."""
    tell(records, Upsert("things", thing("a", 5), micros(5)))
    tally = fetch(records, "things", thing("a", 4), as_of=micros(9))
    assert (tally.stale, tally.tied) == (1, [])
    assert rows(world)["a"]["version"] == micros(5)


def test_a_tombstone_is_as_new_as_the_look_that_found_nothing(world, records):
    tell(records, Upsert("things", thing("a", 5), micros(5)))
    assert fetch(records, "things", gone=["a", "b"], as_of=micros(3)).deleted == ["a"]
    assert {key: row["version"] for key, row in rows(world).items()} == {"a": micros(5), "b": micros(3)}


def test_a_numbered_record_keeps_its_number_when_it_goes(world, records):
    """A time is no number of its sequence: the record could never come back."""
    tell(records, Upsert("counted", {"id": "a", "seq": 7}, 7))
    assert fetch(records, "counted", gone=["a", "b"], as_of=micros(3)).deleted == ["a"]
    assert [row["version"] for row in rows(world, "counted").values()] == [7]
    assert tell(records, Upsert("counted", {"id": "a", "seq": 8}, 8))["counted"].revived == ["a"]


def test_the_guard_counts_what_we_hold(world, records):
    for number in range(10):
        tell(records, Upsert("things", thing(str(number), 1), micros(1)))
    assert records.missing("things", ["1", "2", "unknown"]) == (2, None)
    count, excess = records.missing("things", [str(number) for number in range(6)])
    assert (count, "6 of 10 records are gone" in (excess or "")) == (6, True)
    assert records.missing("things", ["1", "2"], before=4)[1] is not None
    assert records.missing("things", ["1", "2"], before=4, approved=6)[1] is None
    assert records.missing("things", []) == (0, None)


def test_a_row_that_is_kept_out_touches_nothing(sqlite_world):
    kept = replace(THINGS, keep=lambda record: record.get("text") != "private")
    records = Records(ACCOUNT, {"things": kept}, ["things"], Trust.VERSIONS)
    assert records.meaning([Upsert("things", thing("a", 1, text="private"), micros(1))]).changes == {}
