"""The demo as a process of its own."""

import signal
import subprocess
import sys
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[4]
RUN = [sys.executable, "-m", "sync.kit.vendor", "--scale", "0.01", "--control-token", "X", "--rate", "0"]


def test_it_says_where_it_listens_and_ends_on_sigterm():
    with subprocess.Popen(RUN, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout
        said, _, url = process.stdout.readline().strip().rpartition(" ")
        assert said == "listening on"
        stats = httpx.get(f"{url}/_control/stats", headers={"X-Control-Token": "X"}, verify=False).json()
        assert stats["requests"] == 0
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0


def test_it_imports_nothing_but_itself_and_the_standard_library():
    """An oracle that shared code with the engine would share its mistakes."""
    code = "import sys, sync.kit.vendor; print(*{n.split('.')[0] for n in sys.modules})"
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    strangers = set(done.stdout.split()) - sys.stdlib_module_names - {"__main__", "sync"}
    assert {name for name in strangers if not name.startswith("_sysconfigdata")} == set()


def test_of_tidelock_it_imports_only_its_own_folder():
    code = "import sys, sync.kit.vendor; print(*(n for n in sys.modules if n.split('.')[0] == 'sync'))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert all(name in {"sync", "sync.kit"} or name.startswith("sync.kit.vendor") for name in done.stdout.split())
