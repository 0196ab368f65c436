"""Schema: tables follow declarations, one process at a time, and added columns are filled from the payloads."""

import threading
from dataclasses import replace

import pytest
from sqlalchemy import inspect, text

from connectors import ContractError, epoch, integer, iso, json
from connectors import text as words
from sync.store import schema
from sync.store.database import connect, read
from tests.sync.store.conftest import THINGS, Lab, thing


def kinds(lab: Lab, stream):
    with read(lab.engine) as connection:
        return [(step.kind, step.text) for step in schema.plan(connection, [(lab.connector, stream)])]


def test_a_table_as_declared_needs_nothing(lab):
    assert kinds(lab, THINGS) == []


def test_a_missing_table_is_planned_and_made_with_its_index(lab):
    parts = replace(THINGS, name="parts", parent="things", path="/things/{id}/parts")
    name = f"{lab.connector}_parts"
    assert kinds(lab, parts) == [("create", f"create table {name}")]
    assert [step.kind for step in schema.apply(lab.engine, [(lab.connector, parts)])] == ["create"]
    with read(lab.engine) as connection:
        there = inspect(connection)
        assert there.get_pk_constraint(name)["constrained_columns"] == ["connection_id", "key"]
        assert [index["column_names"] for index in there.get_indexes(name)] == [["connection_id", "parent_key"]]
    assert kinds(lab, parts) == []


def test_an_added_column_is_filled_from_the_payloads_and_nothing_else_is_touched(lab, monkeypatch):
    monkeypatch.setattr(schema, "_BATCH", 7)
    lab.land(
        *(thing(f"k{n:02}", 1, note=f"n{n}", at=n, more={"x": [n]}) for n in range(20)), thing("wild", note=[1], at="x")
    )
    added = (words("note"), epoch("at"), json("more"))
    changed = {key: row.changed_at for key, row in lab.rows().items()}
    lab.but(columns=(*THINGS.columns, *added))
    rows = lab.rows()
    assert [rows[f"k{n:02}"].note for n in range(20)] == [f"n{n}" for n in range(20)]
    assert (rows["k07"].more, rows["k07"].at.timestamp()) == ({"x": [7]}, 7)
    assert (rows["wild"].note, rows["wild"].at) == ("[1]", None)
    assert {key: row.changed_at for key, row in rows.items()} == changed
    assert kinds(lab, lab.stream) == []


def test_filling_goes_on_where_it_stopped(lab, monkeypatch):
    monkeypatch.setattr(schema, "_BATCH", 5)
    monkeypatch.setattr(schema, "_ENSURED_AT_ONCE", 2)
    lab.land(*(thing(f"k{n:02}", note=str(n)) for n in range(20)))
    wider = replace(THINGS, columns=(*THINGS.columns, words("note")))
    assert schema.ensure(lab.engine, lab.connector, wider) is False
    lab.stream = wider
    assert [row.note is not None for row in lab.rows().values()].count(True) == 10
    assert [kind for kind, _ in kinds(lab, wider)] == ["fill"]
    assert schema.reproject(lab.engine, lab.connector, wider) is True
    assert {row.note for row in lab.rows().values()} == {str(n) for n in range(20)}
    assert schema.ensure(lab.engine, lab.connector, wider) is True


def test_a_row_written_while_columns_are_filled_keeps_what_was_written(lab, monkeypatch):
    lab.land(thing("a", 1, note="old"))
    wider = replace(THINGS, columns=(*THINGS.columns, words("note")))
    read_rows = schema._next_rows

    def read_then_changed(connection, stored, after):
        rows = read_rows(connection, stored, after)
        if rows:
            monkeypatch.setattr(schema, "_next_rows", read_rows)
            lab.stream = wider
            lab.land(thing("a", 2, note="new"))
        return rows

    monkeypatch.setattr(schema, "_next_rows", read_then_changed)
    schema.ensure(lab.engine, lab.connector, wider)
    assert lab.one().note == "new"


def test_a_column_no_longer_declared_stays_and_is_named(lab):
    narrower = replace(THINGS, columns=THINGS.columns[1:])
    (step,) = kinds(lab, narrower)
    assert step[0] == "notice"
    assert f"{lab.table.name}.name" in step[1]
    schema.apply(lab.engine, [(lab.connector, narrower)])
    lab.land(thing("a", name="n"))
    assert lab.one().name == "n"


def test_a_changed_type_is_a_notice_for_a_person(lab):
    (step,) = kinds(lab, replace(THINGS, columns=(integer("name"), *THINGS.columns[1:])))
    assert step[0] == "notice"
    assert "another name" in step[1]


def test_two_streams_cannot_share_a_table(lab):
    one, other = ("a_b", replace(THINGS, name="c")), ("a", replace(THINGS, name="b_c"))
    with read(lab.engine) as connection, pytest.raises(ContractError, match="share the table a_b_c"):
        schema.plan(connection, [one, other])


def test_a_name_that_postgresql_would_cut_is_refused(lab):
    with read(lab.engine) as connection, pytest.raises(ContractError, match="63"):
        schema.plan(connection, [(lab.connector, replace(THINGS, columns=(words("x" * 64),)))])


def test_many_processes_may_ensure_the_same_table_at_once(lab):
    stream = replace(THINGS, name="raced")
    failures = []

    def work():
        engine = connect(lab.engine.url.render_as_string(hide_password=False))
        try:
            schema.ensure(engine, lab.connector, stream)
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shows it
            failures.append(error)
        finally:
            engine.dispose()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert kinds(lab, stream) == []


@pytest.mark.servers
def test_a_busy_table_is_an_error_that_says_so(postgres_lab, monkeypatch):
    lab = postgres_lab
    wider = replace(THINGS, columns=(*THINGS.columns, words("note")))
    monkeypatch.setattr(schema, "_LOCK_TIMEOUT", "100ms")
    with lab.engine.connect() as reader, reader.begin():
        reader.execute(text(f"SELECT 1 FROM {lab.table.name}"))
        with pytest.raises(schema.SchemaError, match="in use"):
            schema.apply(lab.engine, [(lab.connector, wider)])
        with pytest.raises(schema.SchemaError, match="in use"):
            schema.ensure(lab.engine, lab.connector, wider)


def test_a_column_for_an_empty_table_needs_no_filling(lab):
    wider = replace(THINGS, columns=(*THINGS.columns, iso("later")))
    assert [kind for kind, _ in kinds(lab, wider)] == ["add"]
    assert schema.ensure(lab.engine, lab.connector, wider) is True
    assert kinds(lab, wider) == []
