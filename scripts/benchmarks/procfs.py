"""CPU and memory of process trees, read from Linux's /proc. Nothing here needs a package."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

TICKS = os.sysconf("SC_CLK_TCK")
POLL_SECONDS = 0.1


def tree(root: int) -> Iterator[int]:
    """The process `root` and all that live below it."""
    yield root
    try:
        threads = list(Path(f"/proc/{root}/task").iterdir())
        children = [pid for thread in threads for pid in (thread / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return
    for pid in children:
        yield from tree(int(pid))


def cpu_seconds(root: int) -> float:
    """CPU that the tree below `root` has used so far, ended and waited-for children included."""
    return sum(_cpu(pid) for pid in tree(root))


def own_cpu_seconds(pid: int) -> float:
    """CPU of the main thread of a process alone, to the nanosecond."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS


def _rss_kib(pid: int) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    _, found, rest = status.partition("VmRSS:")
    return int(rest.split()[0]) if found else 0


class PeakMemory:
    """Watches a tree while the block runs: `largest` process and `together`, in KiB of resident memory.

    Pages shared by forked processes count once for each of them in `together`. Without `itself`, only what lives below
    the root counts: the processes of a worker's pool.
    """

    def __init__(self, root: int, *, itself: bool = True) -> None:
        self.root = root
        self.itself = itself
        self.largest = 0
        self.together = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.is_set():
            sizes = [_rss_kib(pid) for pid in tree(self.root) if self.itself or pid != self.root]
            self.largest = max([self.largest, *sizes])
            self.together = max(self.together, sum(sizes))
            self._ended.wait(POLL_SECONDS)
