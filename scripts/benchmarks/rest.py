"""The whole stack at rest: a thousand scheduled connections, none of them due.

    python -m benchmarks.rest --folder PATH --connections 1000 --seconds 60 --redis-pid PID [--postmaster PID]

in the environment that `processes.environment` makes. It prints one JSON line: CPU seconds of each process.
"""

import argparse
import json
import os
import time
from pathlib import Path

from benchmarks import processes, tidelock
from benchmarks.procfs import cpu_seconds

SETTLING = 8.0  # seconds until what a start costs is over
NOWHERE = "http://127.0.0.1:9"


def main() -> None:
    parser = argparse.ArgumentParser(description="what an idle stack costs")
    parser.add_argument("--folder", required=True)
    parser.add_argument("--connections", type=int, required=True)
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--redis-pid", type=int, required=True)
    parser.add_argument("--postmaster", type=int, default=0)
    asked = parser.parse_args()
    tidelock.made_anew(NOWHERE, NOWHERE, asked.connections)
    with processes.running(dict(os.environ), Path(asked.folder)) as stack:
        stack.start("web", processes.WEB)
        stack.worker("worker", slots=2)
        stack.worker("express", "interactive,schedule")
        stack.beat()
        roots = {name: process.pid for name, process in stack.processes.items()} | {"redis": asked.redis_pid}
        roots |= {"database": asked.postmaster} if asked.postmaster else {}
        time.sleep(SETTLING)  # starting is not idling
        before = {name: cpu_seconds(pid) for name, pid in roots.items()}
        time.sleep(asked.seconds)  # the measured time has to pass
        used = {name: cpu_seconds(pid) - before[name] for name, pid in roots.items()}
        gone = [name for name, process in stack.processes.items() if process.poll() is not None]
    if gone:
        raise RuntimeError(f"{', '.join(gone)} ended by itself")
    print(json.dumps(used))


if __name__ == "__main__":
    main()
