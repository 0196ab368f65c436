"""What tests/servers.py promises to tests, and tests/ci.py to CI."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest
from redis import Redis
from sqlalchemy import create_engine, make_url, text

from sync.embedded import Embedded
from tests.ci import fail_if_skipped
from tests.servers import MissingServer, PostgreSQL, once_for_all_workers, postgres_programs, unprivileged

pytestmark = pytest.mark.servers
HOUSE = Path(__file__).parent.parent


def test_redis_is_empty_at_the_start_of_a_test(redis_server: Embedded, redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", "over")


@pytest.mark.parametrize("round_", [1, 2])
def test_each_test_has_an_empty_database_of_its_own(postgres_url: str, round_: int) -> None:
    engine = create_engine(postgres_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE only_here (id int)"))
    engine.dispose()


def test_a_database_can_be_a_copy_of_another(postgres_server: PostgreSQL) -> None:
    with postgres_server.fresh() as original:
        create(original, "CREATE TABLE copied (id int)")
        with postgres_server.fresh(template=str(make_url(original).database)) as copy:
            create(copy, "INSERT INTO copied VALUES (1)")


def test_a_database_is_gone_after_its_test_even_when_connected(postgres_server: PostgreSQL) -> None:
    with postgres_server.fresh() as url:
        engine = create_engine(url)
        connection = engine.connect()
        connection.execute(text("SELECT 1"))
    with pytest.raises(psycopg.OperationalError, match="does not exist"):
        psycopg.connect(url.replace("+psycopg", ""))
    connection.invalidate()
    connection.close()
    engine.dispose()


def test_servers_end_with_pytest_even_when_it_is_killed(tmp_path: Path) -> None:
    """A pytest of its own starts both, says where they are and is killed with -9."""
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["tests.servers"]\n')
    (tmp_path / "test_it.py").write_text(
        "import os, pathlib, signal\n"
        "def test_it(redis_server, postgres_server):\n"
        f"    pathlib.Path({str(tmp_path / 'where')!r}).write_text("
        "postgres_server.admin.query['host'] + '\\n' + str(redis_server.socket))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TEST_"))}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    subprocess.run(command, cwd=tmp_path, env={**clean, "PYTHONPATH": str(HOUSE)}, check=False)
    postgres, redis = map(Path, (tmp_path / "where").read_text().splitlines())
    deadline = time.monotonic() + 30
    while (postgres.exists() or redis.exists()) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not postgres.exists()
    assert not redis.exists()


def test_workers_share_one_start_and_one_reason(tmp_path_factory, monkeypatch, tmp_path) -> None:
    """What the first worker found out is not tried again by the others."""
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setattr(tmp_path_factory, "getbasetemp", lambda: tmp_path)
    starts = []

    def start() -> PostgreSQL:
        starts.append(1)
        raise MissingServer("no initdb here")

    for _ in range(2):
        with pytest.raises(MissingServer, match="no initdb here"):
            once_for_all_workers(tmp_path_factory, start)
    assert len(starts) == 1


def test_without_postgresql_the_reason_names_what_to_do(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tests.servers.shutil.which", lambda _: None)
    monkeypatch.setattr("tests.servers.find_spec", lambda _: None)
    monkeypatch.setattr("tests.servers.Path.glob", lambda *_: iter(()))
    with pytest.raises(MissingServer, match="TEST_POSTGRES_URL"):
        postgres_programs(tmp_path, unprivileged())


@pytest.mark.parametrize("skipped", ["pytest.skip('no such server')", "pytest.importorskip('no_such_module')"])
def test_a_skip_is_a_failure_in_ci_and_names_its_reason(tmp_path: Path, skipped: str) -> None:
    (tmp_path / "test_it.py").write_text(f"import pytest\ndef test_it():\n    {skipped}\n")
    done = ci(tmp_path)
    assert done.returncode == 1
    assert "nothing may be skipped" in done.stdout
    assert "no such server" in done.stdout or "no_such_module" in done.stdout


def test_a_skipped_module_is_a_failure_in_ci(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text("import pytest\npytest.skip('all of it', allow_module_level=True)\n")
    done = ci(tmp_path)
    assert done.returncode != 0
    assert "all of it" in done.stdout


def test_an_expected_failure_stays_one_in_ci() -> None:
    report = pytest.TestReport("test_it", ("", 0, ""), {}, "skipped", ("f", 1, "why"), "call", wasxfail="known")
    fail_if_skipped(report)
    assert report.skipped


def ci(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "tests.ci",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        folder,
        folder,
    ]
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    return subprocess.run(
        list(map(str, command)),
        cwd=folder,
        env={**clean, "PYTHONPATH": str(HOUSE)},
        capture_output=True,
        text=True,
        check=False,
    )


def create(url: str, statement: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()
