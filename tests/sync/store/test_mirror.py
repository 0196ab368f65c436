"""The mirror: what a page does to the table, the same on both databases."""

import threading
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from connectors import Flag, Rows, integer, json
from connectors import text as words
from sync.store.database import connect, read, write
from sync.store.mirror import refused
from tests.sync.store.conftest import THINGS, Lab, moment, thing


def test_a_new_record_is_inserted_with_its_bytes_and_columns(lab):
    raw = (
        b'{ "id":"a", "updated_at":"2026-01-01T00:00:05Z","name":"Ada","size":3,"price":1.50,"paid":true,'
        b'"made":"2026-01-01T01:00:00+01:00","tags":[1, "x"],"address":{"city":"Oslo"}}'
    )
    assert lab.land(raw).inserted == ["a"]
    row = lab.one()
    assert lab.payload() == raw.decode()
    assert (row.name, row.size, row.price, row.paid, row.tags, row.address_city) == (
        "Ada",
        3,
        1.5,
        True,
        [1, "x"],
        "Oslo",
    )
    assert row.made.isoformat() == "2026-01-01T00:00:00+00:00"
    assert row.version == 1_767_225_605_000_000
    assert row.deleted_at is None


def test_rows_that_are_as_stored_are_not_written(lab):
    page = [thing(f"k{n}", name="n") for n in range(20)]
    lab.land(*page)
    before = lab.marks()
    tally = lab.land(*page)
    assert tally.counts() == {"unchanged": 20}
    assert lab.marks() == before


def test_only_the_changed_row_of_a_page_is_rewritten(lab):
    lab.land(*(thing(f"k{n}", 1) for n in range(20)))
    before = lab.marks()
    changed_at = lab.rows()["k7"].changed_at
    assert lab.land(*(thing(f"k{n}", 2 if n == 7 else 1) for n in range(20))).counts() == {
        "updated": 1,
        "unchanged": 19,
    }
    after = lab.marks()
    assert {key for key in after if after[key] != before[key]} <= {"k7"}
    assert lab.rows()["k7"].changed_at >= changed_at


def test_compare_leaves_the_rows_that_differ(lab):
    lab.land(*(thing(f"k{n}", 1) for n in range(5)))
    with read(lab.engine) as connection:
        page = lab.read(*(thing(f"k{n}", 2 if n == 3 else 1) for n in range(6)))
        batch = lab.mirror.compare(connection, lab.id, page)
    assert (batch.keys, batch.unchanged) == (["k3", "k5"], 4)


def test_an_older_version_changes_nothing(lab):
    lab.land(thing("a", 5, name="new"))
    assert lab.land(thing("a", 4, name="old")).counts() == {"stale": 1}
    assert lab.one().name == "new"


def test_without_a_look_before_the_guard_still_holds(lab):
    lab.land(thing("a", 5, name="new"), thing("b", 5))
    tally = lab.land(thing("a", 4, name="old"), thing("b", 5), thing("c", 1), first=True)
    assert tally.counts() == {"stale": 1, "unchanged": 1, "inserted": 1}
    assert lab.one().name == "new"


def test_equal_versions_go_to_the_answer_that_was_asked_for_after_the_stored_row_was_written(lab):
    lab.land(thing("a", 5, name="one"))
    while lab.now() <= lab.one().changed_at:
        pass
    assert lab.land(thing("a", 5, name="two"), asked_at=lab.now()).updated == ["a"]
    assert lab.one().name == "two"


def test_equal_versions_that_were_both_under_way_are_tied(lab):
    asked_at = lab.now()
    lab.land(thing("a", 5, name="one"), asked_at=asked_at)
    assert lab.land(thing("a", 5, name="two"), asked_at=asked_at).counts() == {"tied": 1}
    assert lab.land(thing("a", 5, name="two")).tied == ["a"]
    assert lab.one().name == "one"


def test_the_same_meaning_in_other_bytes_is_no_change(lab):
    lab.land(b'{"id":"a","updated_at":"2026-01-01T00:00:05Z","name":"n","x":{"p":1,"q":[1,2]}}')
    before = lab.marks()
    while lab.now() <= lab.one().changed_at:
        pass
    other = b'{"x":{"q":[1, 2], "p":1}, "name":"n", "updated_at":"2026-01-01T00:00:05Z", "id":"a"}'
    assert lab.land(other, asked_at=lab.now()).counts() == {"unchanged": 1}
    assert lab.marks() == before


def test_a_flag_makes_a_tombstone_that_keeps_the_payload_and_lives_again_with_a_newer_version(lab):
    lab.land(thing("a", 1, name="n"))
    assert lab.land(thing("a", 2, name="n", deleted=True)).deleted == ["a"]
    row = lab.one()
    assert row.deleted_at is not None
    assert row.payload["deleted"] is True
    assert lab.land(thing("a", 2, name="n", deleted=True)).counts() == {"unchanged": 1}
    assert lab.land(thing("a", 1, name="n")).counts() == {"stale": 1}
    assert lab.land(thing("a", 3, name="n")).revived == ["a"]
    assert lab.one().deleted_at is None


def test_a_record_that_arrives_deleted_is_a_tombstone_of_something_unknown(lab):
    assert lab.land(thing("a", 1, deleted=True)).counts() == {"unknown": 1}
    assert lab.one().deleted_at is not None


def test_a_tombstone_that_changes_stays_one(lab):
    lab.land(thing("a", 1, deleted=True))
    assert lab.land(thing("a", 2, deleted=True, name="n")).updated == ["a"]
    assert lab.one().deleted_at is not None


def test_a_flag_is_meant_by_value_and_type(lab):
    lab.but(deletes=(Flag("state", "gone"), Flag("n", 1)))
    lab.land(thing("a", state="gone"), thing("b", state="here"), thing("c", n=True), thing("d", n=1))
    assert {key for key, row in lab.rows().items() if row.deleted_at} == {"a", "d"}


def test_without_a_version_the_moment_of_the_request_is_it_and_equal_content_is_left_alone(lab):
    lab.but(version=None, cursor=None)
    lab.land({"id": "a", "n": 1}, as_of=10)
    before = lab.marks()
    assert lab.land({"id": "a", "n": 1}, as_of=20).counts() == {"unchanged": 1}
    assert lab.land({"id": "a", "n": 1}, as_of=20, first=True).counts() == {"unchanged": 1}
    assert lab.marks() == before
    assert lab.land({"id": "a", "n": 2}, as_of=30).updated == ["a"]
    assert lab.land({"id": "a", "n": 3}, as_of=25).counts() == {"stale": 1}
    assert lab.one().version == 30


def test_one_bad_row_among_a_hundred_stops_no_other(lab):
    page = [thing(f"k{n:02}") for n in range(100)]
    page[41] = {"id": 1.5, "updated_at": moment(0)}
    tally = lab.land(*page)
    assert (len(tally.inserted), [reject.path for reject in tally.rejects]) == (99, ["$.id"])
    assert len(lab.rows()) == 99


def test_a_row_without_a_readable_version_is_rejected_and_its_neighbours_land(lab):
    lab.but(cursor=None)
    tally = lab.land(thing("a"), {"id": "b", "updated_at": "soon"}, {"id": "c"}, thing("d"))
    assert [(r.key, r.path) for r in tally.rejects] == [("b", "$.updated_at"), ("c", "$.updated_at")]
    assert set(lab.rows()) == {"a", "d"}
    assert tally.counts() == {"inserted": 2, "rejected": 2}


def test_values_that_a_column_cannot_hold_become_null_and_the_record_lands(lab):
    wild = thing(
        "a", name={"x": 1}, size=2**70, price="cheap", paid="perhaps", made="yesterday", tags=None, address="none"
    )
    tally = lab.land(wild, thing("b", name="fine", size=1))
    assert len(tally.inserted) == 2
    row = lab.one()
    assert (row.size, row.price, row.paid, row.made, row.tags, row.address_city) == (None,) * 6
    assert row.name == '{"x":1}'
    assert lab.one("b").name == "fine"
    assert {misfit.field.name for misfit in tally.misfits} == {"size", "price", "paid", "made"}
    assert lab.one().payload == wild


def test_nul_is_left_out_of_columns_and_kept_in_the_payload(lab):
    raw = b'{"id":"a","updated_at":"2026-01-01T00:00:00Z","name":"A\\u0000B"}'
    lab.land(raw)
    assert lab.one().name == "AB"
    assert lab.payload() == raw.decode()


def test_a_row_with_nul_can_tie(lab):
    lab.land(b'{"id":"a","updated_at":"2026-01-01T00:00:00Z","name":"A\\u0000"}')
    tie = b'{"id":"a","updated_at":"2026-01-01T00:00:00Z","name":"B\\u0000"}'
    while lab.now() <= lab.one().changed_at:
        pass
    assert lab.land(tie, asked_at=lab.now()).updated == ["a"]


def test_json_columns_keep_numbers_as_they_came(lab):
    lab.but(columns=(json("v"), words("v", "w")))
    lab.land(b'{"id":"a","updated_at":"2026-01-01T00:00:00Z","v":1.50}')
    with read(lab.engine) as connection:
        kept = connection.execute(text(f"SELECT CAST(v AS TEXT), w FROM {lab.table.name}")).one()
    assert tuple(kept) == ("1.50", "1.50")


def test_a_parent_key_is_stored_and_kept_by_a_write_that_doesnt_know_it(lab):
    lab.but(name="parts", parent="things", path="/things/{id}/parts")
    lab.land(thing("a", 1), parent="p1")
    lab.land(thing("a", 2))
    assert (lab.one().parent_key, lab.one().version) == ("p1", 1_767_225_602_000_000)


def test_connections_share_a_table_and_nothing_else(lab):
    lab.land(thing("a", 1, name="mine"))
    mine, lab.id = lab.id, lab.id + 100_000
    assert lab.land(thing("a", 0, name="theirs")).inserted == ["a"]
    lab.id = mine
    assert lab.one().name == "mine"


def test_column_names_of_any_kind_work(lab):
    lab.but(columns=(words("weird name %s (x)"), integer("select"), words("x.y", "asked_at")))
    lab.land({**thing("a"), "weird name %s (x)": "w", "select": 3, "x": {"y": "z"}})
    row = lab.one()._mapping
    assert (row["weird name %s (x)"], row["select"], row["asked_at"]) == ("w", 3, "z")


def test_an_empty_batch_asks_the_database_nothing(lab):
    batch = lab.read(thing("a")).only([])
    with read(lab.engine) as connection:
        connection.close()
        assert lab.mirror.write(connection, lab.id, batch).counts() == {}


def test_what_the_database_refuses_is_bisected_out(lab):
    """Nobody knows what a server will refuse: here a trigger does."""
    with write(lab.engine) as connection:
        if lab.engine.dialect.name == "sqlite":
            connection.execute(text(
                f"CREATE TRIGGER no BEFORE INSERT ON {lab.table.name} WHEN new.key = 'k3' "
                "BEGIN SELECT RAISE(ABORT, 'not this one'); END"))  # fmt: skip
        else:
            connection.execute(text(f"ALTER TABLE {lab.table.name} ADD CHECK (key <> 'k3')"))
    page = [thing(f"k{n}") for n in range(10)]
    with pytest.raises(DBAPIError) as caught:
        lab.land(*page)
    assert refused(caught.value)
    tally = lab.land(*page, careful=True)
    assert ([reject.key for reject in tally.rejects], len(tally.inserted), len(lab.rows())) == (["k3"], 9, 9)


def test_a_cancelled_statement_is_not_taken_for_a_bad_record(postgres_lab):
    lab = postgres_lab
    lab.land(thing("a", 1))
    with write(lab.engine) as other:
        other.execute(text(f"SELECT 1 FROM {lab.table.name} FOR UPDATE"))
        with lab.engine.connect() as connection, connection.begin():
            connection.execute(text("SET LOCAL lock_timeout = '50ms'"))
            with pytest.raises(DBAPIError) as caught:
                lab.mirror.write(connection, lab.id, lab.read(thing("a", 2)), careful=True)
    assert not refused(caught.value)


def test_two_writers_of_the_same_keys_in_opposite_orders_never_deadlock(lab):
    keys = [f"k{n:03}" for n in range(200)]
    failures = []

    def work(order, base):
        try:
            for round_ in range(10):
                lab.land(*(thing(key, base + 2 * round_, name=str(base)) for key in order))
        except DBAPIError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(keys, 1)), threading.Thread(target=work, args=(keys[::-1], 2))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert {row.name for row in lab.rows().values()} == {"2"}


def test_plans_made_on_the_empty_table_stay_lookups_by_key(postgres_lab):
    """A prepared statement may keep its plan: one made while the table was empty must not be a scan for good."""
    lab = postgres_lab.but(name="parts", parent="things", path="/things/{id}/parts")  # with a second index
    engine = connect(lab.engine.url.render_as_string(hide_password=False))
    with engine.connect() as connection:
        connection.execute(text("SET plan_cache_mode = force_generic_plan"))
        connection.commit()
        page = lab.read(*(thing(f"k{n}") for n in range(100)))
        changed = replace(lab.read(*(thing(f"k{n}", 5) for n in range(100))), compared=True)
        for _ in range(12):
            with connection.begin() as trial:
                lab.mirror.compare(connection, lab.id, page)
                lab.mirror.write(connection, lab.id, changed)
                trial.rollback()
        for start in range(0, 50_000, 500):
            with connection.begin():
                rows = lab.read(*(thing(f"k{n}") for n in range(start, start + 500)))
                lab.mirror.write(connection, lab.id, rows, None, "p")
        before = _rows_read(connection, lab)
        with connection.begin():
            assert lab.mirror.compare(connection, lab.id, page).unchanged == 100
            assert len(lab.mirror.write(connection, lab.id, changed).updated) == 100
        assert _rows_read(connection, lab) - before <= 500
    engine.dispose()


def _rows_read(connection, lab):
    """Rows of the table that scans of any kind have read."""
    with connection.begin():
        connection.execute(text("SELECT pg_stat_force_next_flush()"))
    query = "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_user_tables WHERE relname = :name"
    with connection.begin():
        return connection.execute(text(query), {"name": lab.table.name}).scalar_one()


@pytest.fixture
def twins(store_sqlite, store_postgres):
    return Lab(store_sqlite), Lab(store_postgres)


_records = st.tuples(st.sampled_from("abc"), st.integers(0, 5), st.booleans())  # key, version, other bytes


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pages=st.lists(st.tuples(st.lists(_records, max_size=6), st.booleans()), max_size=6))
@pytest.mark.servers
def test_any_history_ends_at_the_newest_version_of_each_key_on_both_databases(twins, pages):
    """Content follows from key and version here, as a sound vendor's does; order, bytes and repeats are free."""
    newest: dict[str, int] = {}
    for rows, _ in pages:
        for key, version, *_ in rows:
            newest[key] = max(version, newest.get(key, -1))
    found = []
    for lab in twins:
        lab.id += 1
        for rows, first in pages:
            lab.land(*(_sound(*row) for row in rows), first=first)
        found.append({key: (row.version, row.name, row.deleted_at is not None) for key, row in lab.rows().items()})
    assert found[0] == found[1]
    assert {key: name for key, (_, name, _) in found[0].items()} == {key: f"{key}{v}" for key, v in newest.items()}


def _sound(key: str, version: int, spaced: bool) -> bytes:
    gone = "true" if version % 3 == 2 else "false"
    space = " " if spaced else ""
    return (
        f'{{{space}"id":"{key}","updated_at":"{moment(version)}",{space}"name":"{key}{version}","deleted":{gone}}}'
    ).encode()


def test_the_mirror_is_built_anew_when_its_declaration_changes(lab):
    before = lab.mirror
    assert lab.mirror is before
    lab.stream = replace(THINGS, columns=())
    assert lab.mirror is not before
    assert Rows.of([]).raws == []
