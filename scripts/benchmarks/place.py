"""A place for one stack: a database, a Redis and a folder of its own, gone at the end."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import broker, cluster, processes
from benchmarks.stage import Stage


@dataclass(frozen=True, kw_only=True)
class Place:
    """`environ` is what the stack's processes run in; `servers` the options that name the servers' processes."""

    folder: Path
    environ: dict[str, str]
    servers: list[str]


def of_stage(stage: Stage) -> Place:
    """The stage of another bench, with its PostgreSQL."""
    servers = _servers(stage.broker, stage.server)
    return Place(folder=stage.folder, environ=stage.environ(stage.postgresql), servers=servers)


@contextmanager
def private(*, sqlite: bool) -> Iterator[Place]:
    """Servers of its own while the block runs; with SQLite a file."""
    with (
        TemporaryDirectory(prefix="bench-") as named,
        broker.private() as redis,
        nullcontext() if sqlite else cluster.private() as server,
    ):
        folder = Path(named)
        url = server.url.replace("postgresql:", "postgresql+psycopg:") if server else f"sqlite:///{folder / 'bench.db'}"
        environ = processes.environment(folder, database=url, redis=redis.url)
        yield Place(folder=folder, environ=environ, servers=_servers(redis, server))


def _servers(redis: broker.Broker, server: cluster.Cluster | None) -> list[str]:
    postmaster = ["--postmaster", str(server.postmaster)] if server and server.postmaster else []
    return ["--redis-pid", str(redis.pid), *postmaster]
