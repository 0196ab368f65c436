"""The door to the database: its transactions, its clock, its errors."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import column, literal_column, select, text
from sqlalchemy.exc import DBAPIError

from sync.store.database import connect, now, read, write


@pytest.fixture
def engine(lab):
    with write(lab.engine) as connection:
        connection.execute(text("CREATE TABLE IF NOT EXISTS doors (name TEXT, late REAL)"))
        connection.execute(text("DELETE FROM doors"))
    return lab.engine


def names(engine):
    with read(engine) as connection:
        return list(connection.execute(text("SELECT name FROM doors ORDER BY name")).scalars())


def put(connection, name, late=0.0):
    connection.execute(text("INSERT INTO doors VALUES (:name, :late)"), {"name": name, "late": late})


def test_a_transaction_is_all_or_nothing(engine):
    with write(engine) as connection:
        put(connection, "kept")
    with pytest.raises(KeyError), write(engine) as connection:  # noqa: PT012 - the error is inside the transaction
        put(connection, "lost")
        raise KeyError
    assert names(engine) == ["kept"]


def test_a_savepoint_can_be_undone_alone(engine):
    with write(engine) as connection:
        put(connection, "before")
        with pytest.raises(KeyError), connection.begin_nested():  # noqa: PT012 - as above
            put(connection, "within")
            raise KeyError
        put(connection, "after")
    assert names(engine) == ["after", "before"]


def test_a_reader_sees_the_last_commit_while_another_writes(engine):
    """Nobody waits for anybody."""
    with write(engine) as connection:
        put(connection, "pending")
        assert names(engine) == []
    assert names(engine) == ["pending"]


def test_writers_wait_for_each_other(engine):
    """What is read in a writing transaction is still so when it commits: on SQLite it holds the lock from its
    beginning, on PostgreSQL the row's."""
    with write(engine) as connection:
        put(connection, "count", 0)
    lock = " FOR UPDATE" if engine.dialect.name == "postgresql" else ""

    def add(connection):
        count = connection.execute(text(f"SELECT late FROM doors{lock}")).scalar_one()
        yield
        connection.execute(text("UPDATE doors SET late = :count"), {"count": count + 1})

    def add_at_once():
        with write(engine) as connection:
            list(add(connection))

    other = threading.Thread(target=add_at_once)
    with write(engine) as connection:
        for _ in add(connection):
            other.start()
            other.join(0.3)
            assert other.is_alive()
    other.join()
    with read(engine) as connection:
        assert connection.execute(text("SELECT late FROM doors")).scalar_one() == 2


def test_now_is_the_databases_clock_in_utc(engine):
    """With microseconds and a zone, and it moves within a transaction."""
    with read(engine) as connection:
        first, later = (connection.execute(select(now())).scalar_one() for _ in range(2))
    assert first.tzinfo is not None
    assert abs(datetime.now(UTC) - first) < timedelta(minutes=1)
    assert first <= later


@pytest.mark.parametrize("seconds", [30, -30, 0.5, 86_400])
def test_now_with_an_offset(engine, seconds):
    with read(engine) as connection:
        base, moved = connection.execute(select(now(), now(seconds))).one()
    assert abs((moved - base).total_seconds() - seconds) < 0.1


def test_an_offset_may_come_from_a_column_and_nothing_counts_as_none(engine):
    with write(engine) as connection:
        put(connection, "late", 60)
        put(connection, "unknown", None)
    query: Any = select(column("name"), now(), now(literal_column("late"))).select_from(text("doors"))
    with read(engine) as connection:
        offsets = {name: round((moved - base).total_seconds()) for name, base, moved in connection.execute(query)}
    assert offsets == {"late": 60, "unknown": 0}


def test_an_error_shows_no_values(engine):
    """Records don't belong into logs and reasons."""
    with pytest.raises(DBAPIError) as caught, write(engine) as connection:
        connection.execute(text("INSERT INTO nowhere VALUES (:secret)"), {"secret": "geheim"})
    assert "geheim" not in str(caught.value)


def test_sqlite_is_set_up_for_many_processes(tmp_path):
    """A log instead of a locked file, foreign keys that hold, and patience."""
    engine = connect(f"sqlite:///{tmp_path / 'x.db'}")
    with read(engine) as connection:
        found = {
            name: connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "foreign_keys", "busy_timeout", "synchronous")
        }
    engine.dispose()
    assert found == {"journal_mode": "wal", "foreign_keys": 1, "busy_timeout": 30_000, "synchronous": 1}


def test_a_writer_on_sqlite_finds_the_short_gaps_of_another(tmp_path):
    """One that lets go for moments only, again and again, keeps nobody out."""
    url = f"sqlite:///{tmp_path / 'x.db'}"
    engine, other = connect(url), connect(url)
    with write(engine) as connection:
        connection.execute(text("CREATE TABLE doors (name TEXT)"))
    stopped = threading.Event()

    def hog():
        while not stopped.is_set():
            with write(other) as connection:
                connection.execute(text("INSERT INTO doors VALUES ('hog')"))
                stopped.wait(0.02)
            stopped.wait(0.002)

    thread = threading.Thread(target=hog)
    thread.start()
    try:
        for number in range(20):
            with write(engine) as connection:
                connection.execute(text("INSERT INTO doors VALUES (:name)"), {"name": str(number)})
        with read(engine) as connection:
            assert connection.execute(text("SELECT count(*) FROM doors WHERE name <> 'hog'")).scalar_one() == 20
            assert connection.execute(text("PRAGMA busy_timeout")).scalar_one() == 30_000
    finally:
        stopped.set()
        thread.join()
        engine.dispose()
        other.dispose()
