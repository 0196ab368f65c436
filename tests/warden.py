"""A program that runs a command for as long as a process lives: `warden.py PID FOLDER UID COMMAND...`

pytest's workers share one PostgreSQL, so no worker may be its parent; and whoever kills pytest with -9 should
find nothing left. The warden waits for the end of PID, ends the command with SIGINT and removes FOLDER.
"""

import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any


def main(pid: int, folder: Path, user: int, command: list[str]) -> None:
    try:
        with (folder / "log").open("ab") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **identity(user))
        await_end(pid)
        process.send_signal(signal.SIGINT)
        process.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def identity(user: int) -> dict[str, Any]:
    """Arguments of Popen that make the child that user's; none where it is ours anyway."""
    if user == os.geteuid():
        return {}
    return {"user": user, "group": pwd.getpwuid(user).pw_gid, "extra_groups": []}


def await_end(pid: int) -> None:
    """Return when the process has ended; Linux says so, elsewhere one has to look."""
    if hasattr(os, "pidfd_open"):
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            return
        select.select([descriptor], [], [])
        return
    while alive(pid):
        time.sleep(0.5)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


if __name__ == "__main__":
    if os.fork():  # who started us need not wait for us
        os._exit(0)
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
