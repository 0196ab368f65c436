"""The numbers of rows: what is bound to one must never mean another row."""

import pytest

from models import Base

URL = {"url": "http://127.0.0.1:9"}


def numbers(world, account):
    run = max(world.open(account, select=["customers"]))
    (slice_,) = world.rows("slices", f"run_id = {run}")
    (connection,) = world.rows("connections")
    return {"connections": account, "credentials": connection["credential_id"], "runs": run, "slices": slice_["id"]}


def test_the_number_of_a_deleted_row_is_never_given_again(world):
    """A worker that still holds slice 7 of a connection that was removed must not find another one's slice 7."""
    before = numbers(world, world.connect("demo", URL, {"secret_key": "x"}))
    world.execute("DELETE FROM connections")
    world.execute("DELETE FROM credentials")
    after = numbers(world, world.connect("demo", URL, {"secret_key": "x"}))
    assert {table: after[table] > number for table, number in before.items()} == dict.fromkeys(before, True)


KEYS = [
    (table, column)
    for table in Base.metadata.sorted_tables
    for column in sorted((key.parent for key in table.foreign_keys), key=str)
]


@pytest.mark.parametrize(("table", "column"), KEYS, ids=[str(column) for _, column in KEYS])
def test_rows_that_refer_to_a_deleted_one_are_found_by_an_index(table, column):
    """Else deleting one row reads a whole table."""
    leading = [next(iter(index.columns)) for index in table.indexes if not _partial(index)]
    assert column in [*leading, next(iter(table.primary_key.columns))]


def _partial(index):
    return index.dialect_options["sqlite"]["where"] is not None
