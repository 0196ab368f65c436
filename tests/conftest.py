"""What every test may ask for."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.world import World, installed

pytest_plugins = ["tests.servers", "sync.kit.contract"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that take long go first, in whatever order: at the end no process waits for another's last one."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database of each kind, empty but for the engine's tables where a whole installation is wanted."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'test.db'}"
    return str(request.getfixturevalue("tables_url" if "world" in request.fixturenames else "postgres_url"))


@pytest.fixture
def world(database_url: str, redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A whole installation in this process, on each kind of database."""
    with installed(database_url, tmp_path / "home", redis_url, monkeypatch) as made:
        yield made


@pytest.fixture
def sqlite_world(redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A whole installation in this process, on SQLite alone: for what doesn't depend on the database."""
    with installed(f"sqlite:///{tmp_path / 'test.db'}", tmp_path / "home", redis_url, monkeypatch) as made:
        yield made
