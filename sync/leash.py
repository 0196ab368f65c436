"""A leash: the child ends when its parent does, even when that was killed with -9.

Linux tells a process of its parent's death if it asked before (`prctl`). Asking from a `preexec_fn` is
unsafe in a process with threads, so this file is also a program: it asks, then becomes the command. The
request survives exec. Elsewhere the command runs as it is, and what a killed parent leaves is found at the
next start.

Linux means the *thread* that started the child: start leashed children from a thread that lives on.
"""

import ctypes
import os
import signal
import sys
from collections.abc import Sequence

_PR_SET_PDEATHSIG = 1


def leashed(command: Sequence[str], ending: signal.Signals = signal.SIGTERM) -> list[str]:
    """The command that runs `command` on a leash to this process: same pid, same exit code.

    `ending` is what it gets at our end: SIGKILL for a program that may not manage to end by itself then.
    """
    if sys.platform != "linux":
        return list(command)
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(ending.value), *command]


def become(parent: int, ending: int, command: list[str]) -> None:
    """Become `command` on a leash to `parent`; exit 1 with a sentence where there is no such program."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, ending)
    if os.getppid() != parent:  # it died before we asked
        sys.exit(128 + ending)
    try:
        os.execvp(command[0], command)  # noqa: S606 - becoming the program is the point
    except OSError as error:
        sys.exit(f"{command[0]}: {error.strerror}")


if __name__ == "__main__":
    become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
