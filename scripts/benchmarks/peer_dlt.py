"""The peer dlt: its rest_api source, merge (delete-insert) by id into PostgreSQL, no nested tables.

    python -m benchmarks.peer_dlt --source URL --postgres URL --folder PATH [--reset]

dlt lives in a virtual environment of its own, made on first use by `python_with_dlt`; what runs there imports
nothing of ours. It prints one JSON line: the seconds and CPU of `pipeline.run` alone, records, peak memory.
"""

import argparse
import importlib
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

PINNED = "dlt[postgres]==1.31.0"
DATASET = "bench_dlt"
TABLE = f"{DATASET}.records"


class PeerNotAvailable(Exception):
    """The peer can't run here; the message says why. A bench prints it and goes on."""


def python_with_dlt(folder: Path) -> Path:
    """The Python of the environment `folder`/dlt, made if it isn't there.

    Raises PeerNotAvailable where it can't be made.
    """
    home = folder / "dlt"
    python, stamp = home / "bin" / "python", home / "installed"
    if stamp.exists() and stamp.read_text() == PINNED:
        return python
    for command in (
        [sys.executable, "-m", "venv", "--clear", str(home)],
        [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", PINNED],
    ):
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise PeerNotAvailable(
                f"peer not available: {PINNED} can't be installed: {(made.stderr or made.stdout).strip()[-400:]}"
            )
    stamp.write_text(PINNED)
    return python


def configuration(source: str) -> dict[str, Any]:
    """The rest_api source: one resource, cursor pages of 100, merged by id."""
    paginator = {"type": "cursor", "cursor_path": "next_cursor", "cursor_param": "cursor"}
    endpoint = {"path": "records", "params": {"limit": 100}, "data_selector": "data", "paginator": paginator}
    resources = [
        {
            "name": "records",
            "endpoint": endpoint,
            "primary_key": "id",
            "write_disposition": {"disposition": "merge", "strategy": "delete-insert"},
            "max_table_nesting": 0,
        }
    ]
    return {"client": {"base_url": f"{source}/"}, "resources": resources}


def sync(source: str, postgres: str, folder: str, *, reset: bool) -> dict[str, float]:
    """One load through dlt, counted and timed. Runs in the environment that has dlt."""
    os.environ.update({"RUNTIME__DLTHUB_TELEMETRY": "false", "DLT_DATA_DIR": folder})
    # Imported by name: only the peer's own environment has it.
    dlt, rest_api = importlib.import_module("dlt"), importlib.import_module("dlt.sources.rest_api")
    pipeline = dlt.pipeline(
        pipeline_name="bench",
        pipelines_dir=folder,
        dataset_name=DATASET,
        destination=dlt.destinations.postgres(postgres.replace("postgresql+psycopg:", "postgresql:")),
        dev_mode=False,
    )
    if reset:
        forget(pipeline)
    cpu, wall = time.process_time(), time.perf_counter()
    pipeline.run(rest_api.rest_api_source(configuration(source)))
    seconds, cpu_seconds = time.perf_counter() - wall, time.process_time() - cpu
    records = pipeline.last_trace.last_normalize_info.row_counts["records"]
    return {
        "records": records,
        "seconds": seconds,
        "cpu_seconds": cpu_seconds,
        "peak_rss_kib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def forget(pipeline: Any) -> None:
    """Drop the dataset and all local state, as before a first load."""
    pipeline.drop()
    with pipeline.sql_client() as client:
        client.execute_sql(f"DROP SCHEMA IF EXISTS {DATASET} CASCADE")
        client.execute_sql(f"DROP SCHEMA IF EXISTS {DATASET}_staging CASCADE")


def main() -> None:
    parser = argparse.ArgumentParser(description="dlt as a peer")
    parser.add_argument("--source", required=True)
    parser.add_argument("--postgres", required=True)
    parser.add_argument("--folder", required=True, help="where dlt keeps its state and files")
    parser.add_argument("--reset", action="store_true")
    asked = parser.parse_args()
    print(json.dumps(sync(asked.source, asked.postgres, asked.folder, reset=asked.reset)))


if __name__ == "__main__":
    main()
