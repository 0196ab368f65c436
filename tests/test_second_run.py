"""A second run with nothing changed costs next to nothing: no row is rewritten, hardly anything is asked."""

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from sync.kit.vendor import Vendor, serve
from sync.kit.vendor.demo import demo_vendor
from sync.store.database import read
from tests.mirrored import stored, truth
from tests.processes import until
from tests.world import World

STREAMS = ("customers", "projects", "tasks", "orders")
TABLES = tuple(f"demo_{stream}" for stream in STREAMS)


@pytest.fixture
def vendor() -> Vendor:
    return demo_vendor(seed=5, scale=0.1)


@pytest.fixture
def account(world: World, vendor: Vendor) -> Iterator[int]:
    """A connection whose first sync is done; the vendor's log is empty again."""
    with serve(vendor) as server:
        account = world.connect("demo", {"url": server.url}, {"secret_key": "demo-secret-key"})
        assert {run["state"] for run in world.sync(account)} == {"done"}
        assert all(stored(world, "demo", stream) == truth(vendor, stream) for stream in STREAMS)
        yield account


def asked(vendor: Vendor, since: int) -> Counter[str]:
    """How often each list was asked for."""
    return Counter(entry.path for entry in vendor.log.since()[since:])


def writes(world: World) -> Callable[[], dict[str, int]]:
    """The database's own count of the rows of mirror tables that were written since now."""
    return written_postgresql(world) if world.engine.dialect.name == "postgresql" else written_sqlite(world)


def written_sqlite(world: World) -> Callable[[], dict[str, int]]:
    """Triggers count."""
    world.execute("CREATE TABLE touched (name TEXT)")
    for table in TABLES:
        for event in ("INSERT", "UPDATE", "DELETE"):
            action = f"BEGIN INSERT INTO touched VALUES ('{table}'); END"
            world.execute(f"CREATE TRIGGER {table}_{event} AFTER {event} ON {table} {action}")

    def count() -> dict[str, int]:
        with read() as connection:
            return dict(connection.execute(text("SELECT name, count(*) FROM touched GROUP BY 1")).all())

    return count


def written_postgresql(world: World) -> Callable[[], dict[str, int]]:
    """The statistics count what was tried, also in transactions that were undone; ctid and xmin show each row."""
    begin, versions = statistics(world), row_versions()

    def count() -> dict[str, int]:
        now, found = statistics(world), row_versions()
        moved = {table: len(found[table].items() ^ versions[table].items()) for table in TABLES}
        return {table: many for table in TABLES if (many := now[table] - begin[table] + moved[table])}

    return count


def statistics(world: World) -> dict[str, int]:
    """Rows inserted, updated and deleted. A backend reports at the latest when it ends, so ours end first."""
    world.engine.dispose()
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    until(lambda: not scalar(others), "the backends to end")
    query = "SELECT relname, n_tup_ins + n_tup_upd + n_tup_del FROM pg_stat_user_tables"
    with read() as connection:
        return dict(connection.execute(text(query)).all())


def scalar(query: str) -> int:
    with read() as connection:
        return int(connection.execute(text(query)).scalar_one())


def row_versions() -> dict[str, dict[str, str]]:
    with read() as connection:
        return {
            table: dict(connection.execute(text(f"SELECT key, ctid::text || '/' || xmin::text FROM {table}")).all())
            for table in TABLES
        }


@pytest.mark.servers
def test_nothing_changed(world, vendor, account):
    """No row is rewritten, and each list is asked once or twice; partitions whose parent stands still, never."""
    written, before = writes(world), len(vendor.log.since())
    runs = world.sync(account)
    assert {run["state"] for run in runs} == {"done"}
    assert written() == {}
    lists = asked(vendor, before)
    assert set(lists) == {"/v1/customers", "/v1/customers/deleted", "/v1/projects", "/v1/orders"}
    assert set(lists.values()) <= {1, 2}


@pytest.mark.servers
def test_one_partition_moved(world, vendor, account):
    """What changed is written, once, and of all partitions only the moved one is asked."""
    key, task = next(iter(truth(vendor, "tasks").items()))
    vendor.update("tasks", int(key), {"title": "changed"})
    written, before = writes(world), len(vendor.log.since())
    world.sync(account)
    found = written()
    assert set(found) == {"demo_projects", "demo_tasks"}
    lists = asked(vendor, before)
    partitions = {path: many for path, many in lists.items() if path.endswith("/tasks")}
    assert list(partitions) == [f"/v1/projects/{task['project_id']}/tasks"]
    assert set(lists.values()) <= {1, 2}
    assert stored(world, "demo", "tasks") == truth(vendor, "tasks")


@pytest.mark.servers
def test_a_full_pass_over_the_unchanged(world, account):
    """Reading everything again rewrites nothing."""
    written = writes(world)
    runs = world.sync(account, full=True)
    assert {run["state"] for run in runs} == {"done"}
    assert written() == {}
