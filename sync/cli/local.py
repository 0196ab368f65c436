"""What a running `tidelock up` on this machine tells the other commands: where its broker is, what it may reach."""

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from connectors import TidelockError
from sync.settings import assume, environment, settings

_FILE = "up.json"
PRIVATE = "TIDELOCK_ALLOW_PRIVATE"


class AlreadyUp(TidelockError):
    """One home folder serves one `tidelock up`."""


def announce(home: Path, variables: Mapping[str, str]) -> None:
    """Leave the variables of the service's processes where the commands find them; only their owner can read it."""
    file = home / _FILE
    file.touch(mode=0o600)
    file.write_bytes(msgspec.json.encode({"pid": os.getpid(), "variables": dict(variables)}))


def demand_alone(home: Path) -> None:
    """AlreadyUp where another `tidelock up` uses this home folder."""
    file = home / _FILE
    other = msgspec.json.decode(file.read_bytes())["pid"] if file.is_file() else 0
    if other and alive(other):
        raise AlreadyUp(f"`tidelock up` runs already (process {other}) in {home}: end it, or set TIDELOCK_HOME")


def withdraw(home: Path) -> None:
    """The service ends."""
    (home / _FILE).unlink(missing_ok=True)


def adopt() -> None:
    """Take over what the running service says, beneath what this process's own environment says."""
    file = settings().home / _FILE
    if not file.is_file():
        return
    told = msgspec.json.decode(file.read_bytes())
    if alive(told["pid"]):
        own = environment()
        assume({name: value for name, value in told["variables"].items() if name not in own or name == PRIVATE})


def alive(pid: int) -> bool:
    """Whether a process with this id runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
