"""Every request that the vendor saw, for tests and people to look back on."""

import threading
from collections import Counter, deque
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any

from sync.kit.vendor.exchange import Answer, Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request and what it got. `status` 0: no answer was sent."""

    number: int
    time: float
    method: str
    path: str
    query: dict[str, str]
    account: str
    credential: str
    status: int
    rows: int
    keys: tuple[Any, ...]
    fault: str


class RequestLog:
    """The latest requests, numbered from 1 without gaps, and counts of all of them."""

    def __init__(self, keep: int = 50_000) -> None:
        self._lock = threading.Lock()
        self._entries: deque[Entry] = deque(maxlen=keep)
        self._number = 0
        self._statuses: Counter[int] = Counter()
        self._faults: Counter[str] = Counter()
        self._rows = 0

    def add(self, request: Request, answer: Answer, time: float) -> None:
        """Write one down, before its answer leaves."""
        status = 0 if answer.wire == "reset" else answer.status
        with self._lock:
            self._number += 1
            self._statuses[status] += 1
            self._rows += len(answer.keys)
            if answer.fault:
                self._faults[answer.fault] += 1
            self._entries.append(
                Entry(
                    number=self._number,
                    time=time,
                    method=request.method,
                    path=request.path,
                    query=request.query,
                    account=request.account,
                    credential=request.credential,
                    status=status,
                    rows=len(answer.keys),
                    keys=answer.keys,
                    fault=answer.fault,
                )
            )

    def since(self, number: int = 0) -> list[Entry]:
        """The entries after a number, oldest first."""
        with self._lock:
            skip = max(0, number - (self._number - len(self._entries)))
            return list(islice(self._entries, skip, None))

    def dump(self, number: int = 0) -> list[dict[str, Any]]:
        """The same, as JSON."""
        return [asdict(entry) for entry in self.since(number)]

    def stats(self) -> dict[str, Any]:
        """Counts since the start: requests, rows, by status, by fault."""
        with self._lock:
            return {
                "requests": self._number,
                "rows": self._rows,
                "statuses": {str(status): count for status, count in sorted(self._statuses.items())},
                "faults": dict(self._faults),
            }
