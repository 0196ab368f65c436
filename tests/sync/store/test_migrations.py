"""Migrations: what they make is what the models say, on both databases, and whoever forgot them is told."""

import subprocess
import sys

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, text

from alembic import command
from models import Base
from sync.store import migrations
from sync.store.database import connect, write


@pytest.fixture
def engine(database_url):
    made = connect(database_url)
    yield made
    made.dispose()


def test_migrations_make_exactly_the_tables_of_the_models(engine, database_url):
    migrations.upgrade(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_migrated_indexes_have_the_conditions_of_the_models(engine, database_url):
    migrations.upgrade(database_url)
    assert conditions(engine) == {
        index.name: str(index.dialect_options[engine.dialect.name]["where"])
        for table in Base.metadata.tables.values()
        for index in table.indexes
        if index.dialect_options[engine.dialect.name]["where"] is not None
    }


def test_migrated_tables_number_their_rows_as_those_of_the_models_do(tmp_path):
    """SQLite: whether the number of a deleted row is given again is written in the table."""
    migrated, declared = (connect(f"sqlite:///{tmp_path / name}.db") for name in ("migrated", "declared"))
    migrations.upgrade(str(migrated.url))
    with write(declared) as connection:
        Base.metadata.create_all(connection)
    assert numbered(migrated) == numbered(declared) == {
        "connections", "credentials", "deliveries", "runs", "slices",
    }  # fmt: skip


def numbered(engine):
    with engine.connect() as connection:
        found = connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE sql LIKE '%AUTOINCREMENT%'")
        names = set(found.scalars())
    engine.dispose()
    return names


def conditions(engine):
    """The WHERE of every partial index as it was given; PostgreSQL spells it anew, so only whether there is one."""
    declared = {index.name: index for table in Base.metadata.tables.values() for index in table.indexes}
    found = {}
    with engine.connect() as connection:
        for table in Base.metadata.tables:
            for index in inspect(connection).get_indexes(table):
                where = index.get("dialect_options", {}).get(f"{engine.dialect.name}_where")
                if where is not None:
                    own = declared[index["name"]].dialect_options[engine.dialect.name]["where"]
                    found[index["name"]] = str(own) if engine.dialect.name == "postgresql" else str(where)
    return found


def test_both_ways_and_again(engine, database_url):
    migrations.upgrade(database_url)
    command.downgrade(migrations._config(database_url), "base")
    assert set(inspect(engine).get_table_names()) == {"alembic_version"}
    migrations.upgrade(database_url)
    migrations.upgrade(database_url)
    migrations.require(engine)


def test_the_tables_of_streams_are_left_alone(engine, database_url):
    with write(engine) as connection:
        connection.execute(text("CREATE TABLE demo_customers (key TEXT)"))
    migrations.upgrade(database_url)
    assert "demo_customers" in inspect(engine).get_table_names()
    command.check(migrations._config(database_url))  # autogenerate would not drop it either


def test_two_at_once_both_end_well(engine, database_url):
    program = "import sys; from sync.store.migrations import upgrade; upgrade(sys.argv[1])"
    both = [
        subprocess.Popen([sys.executable, "-c", program, database_url], cwd=migrations.ROOT, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    assert [(process.communicate()[1], process.returncode) for process in both] == [(b"", 0), (b"", 0)]
    migrations.require(engine)


def test_an_empty_database_names_the_command(engine):
    with pytest.raises(migrations.NotMigratedError, match="run `tidelock init`"):
        migrations.require(engine)


def test_tables_without_a_version_are_somebody_elses(engine):
    with write(engine) as connection:
        connection.execute(text("CREATE TABLE connections (id INTEGER)"))
    with pytest.raises(migrations.NotMigratedError, match="DATABASE_URL"):
        migrations.require(engine)


def test_a_newer_database_asks_for_newer_code(engine, database_url):
    migrations.upgrade(database_url)
    with write(engine) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(migrations.NotMigratedError, match=r"9999.*update the code"):
        migrations.require(engine)


def test_an_unreachable_server_is_named_without_its_password():
    engine = connect("postgresql+psycopg://me:geheim@127.0.0.1:9/none")
    with pytest.raises(migrations.UnreachableError, match=r"127\.0\.0\.1:9/none") as caught:
        migrations.require(engine)
    assert "geheim" not in str(caught.value)


def test_a_server_below_the_floor_is_refused(engine, monkeypatch):
    with engine.connect() as connection:
        assert migrations.version(connection) >= migrations.FLOORS[engine.dialect.name]
        monkeypatch.setitem(migrations.FLOORS, engine.dialect.name, (99, 0))
        with pytest.raises(migrations.TooOldError, match=r"99\.0 or newer"):
            migrations.version(connection)


def test_a_failed_migration_leaves_nothing_behind(engine, database_url):
    with write(engine) as connection:
        connection.execute(text("CREATE TABLE slices (id INTEGER)"))  # in the way, half-way through
    with pytest.raises(Exception, match="slices"):
        migrations.upgrade(database_url)
    assert set(inspect(engine).get_table_names()) <= {"slices", "alembic_version"}
