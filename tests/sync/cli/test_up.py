"""One command starts everything and ends it again; what it synced is what the vendor has."""

import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import sync
from sync.cli.exits import Failing
from sync.cli.first import MOST_ENDS, keep
from sync.supervisor import Supervisor

ROOT = Path(sync.__file__).parents[1]
pytestmark = [pytest.mark.servers, pytest.mark.slow]


@pytest.fixture
def home(tmp_path):
    made = tmp_path / "home"
    yield made
    assert left(made) == []


def start(home, *words, **variables):
    """A command in a process of its own, with nothing of our environment but PATH."""
    env = {"PATH": os.environ["PATH"], "HOME": str(home), "TIDELOCK_HOME": str(home), **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "sync.cli", *words], cwd=ROOT, env=env, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def call(home, *words, **variables):
    process = start(home, *words, **variables)
    out, err = process.communicate(timeout=180)
    return process.returncode, out, err


def left(home):
    """The processes that work in this home folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            environ = (process / "environ").read_bytes()
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ")
        except OSError:  # it ended, or is another user's
            continue
        if str(home).encode() in environ or str(home).encode() in command:
            found.append(command.decode())
    return found


def test_the_first_sync_equals_the_vendor_and_the_second_changes_nothing(home):
    code, out, err = call(home, "up", "--demo", "--once", "-o", "json")
    assert code == 0, err
    told = json.loads(out)
    assert told["whole"]
    assert {row["stream"]: row["live"] for row in told["streams"]} == {
        "customers": 6000, "projects": 200, "tasks": 11800, "orders": 2000,
    }  # fmt: skip
    assert left(home) == []
    assert not (home / "up.json").exists()

    code, out, err = call(home, "up", "--demo", "--once", "-o", "json")
    assert code == 0, err
    told = json.loads(out)
    assert told["whole"]
    assert sum(row["counts"].get("inserted", 0) + row["counts"].get("updated", 0) for row in told["streams"]) == 0


def test_it_stays_up_for_the_other_commands_until_it_is_interrupted(home):
    process = start(home, "up", "--demo")
    lines, running = [], threading.Event()

    def read():
        for line in process.stderr:
            lines.append(line)
            if line.startswith("Running"):
                running.set()

    reader = threading.Thread(target=read)
    reader.start()
    try:
        assert running.wait(120), "".join(lines)
        for words in (("status",), ("check", "demo"), ("run", "demo", "--select", "orders"), ("doctor",)):
            code, out, err = call(home, *words)
            assert code == 0, (words, out, err)
        assert "runs already" in call(home, "up")[2]
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        reader.join()
        process.stdout.close()
        process.stderr.close()


def test_a_broker_of_ones_own_that_is_down_is_told_at_once(home):
    code, _, err = call(home, "up", "--demo", "--once", REDIS_URL="redis://:geheim@127.0.0.1:9/0")
    assert code == 5
    assert "REDIS_URL" in err
    assert "geheim" not in err


def test_a_process_that_ends_again_and_again_is_named_instead_of_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("sync.supervisor.pause", lambda ends: 0.0)
    supervisor = Supervisor(
        processes={"beat": "false"}, env={"PATH": os.environ["PATH"]}, logs=tmp_path, say=lambda name, line: None
    )
    supervisor.start()
    with pytest.raises(Failing, match=rf"beat ended {MOST_ENDS} times in a row, see logs/beat\.log"):
        keep_for_ever(supervisor)
    supervisor.stop()


def keep_for_ever(supervisor):
    while True:
        process = supervisor.children["beat"].process
        assert process is not None
        process.wait()
        keep(supervisor)
