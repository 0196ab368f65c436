"""The supervisor: first the release, then all together; restarts what ends; leaves nobody behind."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sync import supervisor
from sync.supervisor import LONGEST_PAUSE, ProcfileError, ReleaseError, Supervisor, parse, pause, printer

HOUSE = Path(__file__).parent.parent.parent
ENV = {"PATH": os.defpath}


class Clock:
    def __init__(self) -> None:
        self.time = 1000.0

    def __call__(self) -> float:
        return self.time


class House:
    """A supervisor with a clock of ours, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, Clock()
        self.said: list[tuple[str, str]] = []
        self.supervisor = self.of({})

    def of(self, processes: dict[str, str], **more) -> Supervisor:
        self.supervisor = Supervisor(
            processes=processes,
            env=ENV,
            folder=self.folder,
            say=lambda *line: self.said.append(line),
            now=self.clock,
            **more,
        )
        return self.supervisor

    def wait(self, condition: Callable[[], object]) -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, self.said
            self.supervisor.poll()
            time.sleep(0.01)

    def lines(self, name: str) -> list[str]:
        return [line for of, line in self.said if of == name]


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.supervisor.now = time.monotonic
    house.supervisor.grace = 5
    house.supervisor.stop()


# The Procfile


def test_our_procfile_is_read_in_its_order() -> None:
    found = parse((HOUSE / "Procfile").read_text())
    assert list(found) == ["release", "web", "worker", "express", "beat"]
    assert found["release"] == "alembic upgrade head"


def test_blank_lines_and_comments_are_left_out() -> None:
    assert parse("\n# who: me\nweb:  serve --port ${PORT:-1}  \n\n") == {"web": "serve --port ${PORT:-1}"}


@pytest.mark.parametrize(
    ("text", "number"),
    [("web serve", 1), ("web: a\n: b", 2), ("web: a\nweb: b", 2), ("web:", 1), ("w eb: a", 1)],
)
def test_a_line_that_names_nothing_is_an_error_that_names_the_line(text: str, number: int) -> None:
    with pytest.raises(ProcfileError, match=f"Procfile line {number} is not"):
        parse(text)


@pytest.mark.parametrize("command", ["a && b", "a; b", "a | b", "a > file", "a &", "(a)", "a $(b)", "a `b`"])
def test_more_than_one_simple_command_is_an_error(command: str) -> None:
    """Only the first would be run, and stopping would reach a shell instead of the program."""
    with pytest.raises(ProcfileError, match="Procfile line 1 is more than one simple command"):
        parse(f"web: {command}")


def test_quoted_characters_of_the_shell_are_plain_text() -> None:
    assert parse("web: echo 'a; b' \"c & d\"") == {"web": "echo 'a; b' \"c & d\""}


# Output and environment


def test_lines_come_with_the_name_of_their_process(house: House) -> None:
    house.of({"web": "echo hello ${WHO:-world}", "beat": "env GREETING=hi sh -c 'echo $GREETING'"}).start()
    house.wait(lambda: "hello world" in house.lines("web") and "hi" in house.lines("beat"))


def test_an_assignment_may_stand_before_the_command(house: House) -> None:
    house.of({"web": "WHO=me sh -c 'echo I am $WHO'"}).start()
    house.wait(lambda: "I am me" in house.lines("web"))


def test_programs_of_our_python_come_first(house: House) -> None:
    house.of({"web": "sh -c 'command -v python'"}).start()
    house.wait(lambda: str(Path(sys.executable).parent / "python") in house.lines("web"))


def test_with_logs_each_process_has_a_file(house: House, tmp_path: Path) -> None:
    house.of({"web": "sh -c 'echo out; echo err >&2'"}, logs=tmp_path / "logs").start()
    house.wait(lambda: "ended with 0" in str(house.said))
    assert (tmp_path / "logs" / "web.log").read_text().startswith("out\nerr\n")
    assert "web.log" in house.lines("web")[0]


def test_printed_lines_are_aligned_and_colored_only_for_people(capsys) -> None:
    printer(color=False)("web", "up")
    printer(color=True)("web", "up")
    plain, colored = capsys.readouterr().out.splitlines()
    assert plain == "     web | up"
    assert colored.startswith("\x1b[")
    assert colored.endswith("| up")


# Release


def test_nothing_starts_before_the_release_has_ended(house: House, tmp_path: Path) -> None:
    house.of({"web": "cat migrated", "release": "sh -c 'sleep 0.2; echo schema > migrated'"}).start()
    house.wait(lambda: "schema" in house.lines("web"))
    assert "release" not in house.supervisor.children


def test_a_failed_release_starts_nothing_and_says_which_command(house: House) -> None:
    with pytest.raises(ReleaseError, match=r"`sh -c 'exit 3'` ended with 3, so nothing was started"):
        house.of({"release": "sh -c 'exit 3'", "web": "touch started"}).start()
    assert not (house.folder / "started").exists()


# Restarts


def test_pauses_double_up_to_the_longest() -> None:
    assert [pause(ends) for ends in (1, 2, 3, 4, 5, 6, 7, 5000)] == [1, 2, 4, 8, 16, 30, 30, LONGEST_PAUSE]


def test_what_ends_is_started_again_after_its_pause_and_said(house: House) -> None:
    house.of({"web": "sh -c 'echo x >> starts; exit 7'"}).start()
    house.wait(lambda: house.lines("web"))
    assert house.lines("web") == ["ended with 7; starting again in 1 s."]
    house.clock.time += 0.9
    house.supervisor.poll()
    assert house.supervisor.children["web"].process is None
    house.clock.time += 0.2
    house.wait(lambda: len(house.lines("web")) == 2)
    assert house.lines("web")[1] == "ended with 7; starting again in 2 s."
    assert (house.folder / "starts").read_text() == "x\nx\n"


def test_a_long_life_forgets_earlier_ends(house: House) -> None:
    supervisor = house.of({"web": "sleep 60"})
    supervisor.start()
    supervisor.children["web"].ends = 5
    house.clock.time += 61
    end(supervisor, "web", signal.SIGKILL)
    house.wait(lambda: house.lines("web"))
    assert house.lines("web") == ["was ended by SIGKILL; starting again in 1 s."]


def test_others_live_on_when_one_ends(house: House) -> None:
    supervisor = house.of({"web": "sleep 60", "beat": "sleep 60"})
    supervisor.start()
    web = supervisor.children["web"].process
    end(supervisor, "beat", signal.SIGKILL)
    house.wait(lambda: house.lines("beat"))
    assert supervisor.children["web"].process is web


def test_a_dead_leader_s_children_are_killed_before_it_starts_again(house: House) -> None:
    supervisor = house.of({"worker": "sh -c 'sleep 60 & echo $! > child; wait'"})
    supervisor.start()
    house.wait(lambda: text(house.folder / "child"))
    end(supervisor, "worker", signal.SIGKILL)
    house.wait(lambda: house.lines("worker"))
    house.wait(lambda: not alive(int(text(house.folder / "child"))))


# The end


def test_stop_lets_everybody_finish(house: House) -> None:
    program = 'trap "echo finished > done; exit 0" TERM; echo > ready; while :; do sleep 0.05; done'
    supervisor = house.of({"worker": f"sh -c '{program}'"}, grace=20)
    supervisor.start()
    house.wait((house.folder / "ready").exists)
    supervisor.stop()
    assert text(house.folder / "done") == "finished"


def test_stop_kills_who_does_not_finish_in_the_grace_with_all_children(house: House) -> None:
    program = 'trap "" TERM; sleep 60 & echo $! > child; while :; do sleep 60; done'
    supervisor = house.of({"worker": f"sh -c '{program}'"}, grace=0.2)
    supervisor.start()
    house.wait(lambda: text(house.folder / "child"))
    process = supervisor.children["worker"].process
    supervisor.now = time.monotonic
    supervisor.stop()
    assert process is not None
    assert process.returncode == -signal.SIGKILL
    house.wait(lambda: not alive(int(text(house.folder / "child"))))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_with_everybody_on_a_signal(tmp_path: Path, number: int) -> None:
    process = elsewhere(tmp_path, {"web": "sleep 60", "beat": "sleep 61"})
    process.send_signal(number)
    assert process.wait(30) == 0
    assert not any(alive(pid) for pid in pids(tmp_path))


def test_a_signal_during_the_release_ends_it(tmp_path: Path) -> None:
    process = elsewhere(tmp_path, {"release": "sleep 60", "web": "touch started"}, ready=1)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert not (tmp_path / "started").exists()


def test_a_second_signal_ends_the_grace(tmp_path: Path) -> None:
    stubborn = "sh -c 'trap \"\" TERM; echo > stubborn; while :; do sleep 60; done'"
    process = elsewhere(tmp_path, {"web": stubborn}, ready=1)
    wait((tmp_path / "stubborn").exists)
    process.send_signal(signal.SIGINT)
    wait(lambda: text(tmp_path / "stopping"))
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has leashes")
def test_nobody_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    """Nor who would not end by itself, as Celery's workers when their broker died too."""
    stubborn = "sh -c 'trap \"\" TERM; echo > stubborn; while :; do sleep 1; done'"
    process = elsewhere(tmp_path, {"web": "sleep 60", "beat": stubborn})
    wait((tmp_path / "stubborn").exists)
    process.kill()
    process.wait()
    wait(lambda: not any(alive(pid) for pid in pids(tmp_path)))


SUPERVISOR = """
import pathlib, sys, threading, time
from sync.supervisor import Supervisor
processes, ready = eval(sys.argv[1]), int(sys.argv[2])
supervisor = Supervisor(processes=processes, env={"PATH": "/usr/bin:/bin"}, folder=pathlib.Path.cwd())

def report():
    while len([c for c in supervisor.children.values() if c.process]) < ready:
        time.sleep(0.01)
    pathlib.Path("pids").write_text(" ".join(str(c.process.pid) for c in supervisor.children.values()))
    supervisor.stopping.wait()
    pathlib.Path("stopping").write_text("yes")

threading.Thread(target=report, daemon=True).start()
supervisor.run()
"""


def elsewhere(folder: Path, processes: dict[str, str], ready: int = 2) -> subprocess.Popen[bytes]:
    """A process that runs a supervisor, returned when its children are there."""
    process = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, repr(processes), str(ready)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(HOUSE)},
    )
    wait(lambda: len(text(folder / "pids").split()) == ready)
    return process


def pids(folder: Path) -> list[int]:
    return [int(pid) for pid in text(folder / "pids").split()]


def wait(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def end(supervisor: Supervisor, name: str, number: int) -> None:
    process = supervisor.children[name].process
    assert process is not None
    process.send_signal(number)


def alive(pid: int) -> bool:
    """Whether it runs; a zombie whom nobody has collected yet does not."""
    if Path("/proc/self").exists():
        return text(Path(f"/proc/{pid}/stat")).rpartition(")")[2].lstrip()[:1] not in ("", "Z")
    found = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.lstrip()[:1] not in ("", "Z")


def text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def test_a_long_log_is_put_aside(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "LONGEST_LOG", 1000)
    logs = tmp_path / "logs"
    house.of({"web": "sh -c 'while :; do echo a line of the web process; done'"}, logs=logs).start()
    house.wait((logs / "web.log.1").exists)
    before = (logs / "web.log.1").read_bytes()
    assert len(before) > 1000
    assert before.startswith(b"a line of the web process")
    house.wait(lambda: (logs / "web.log.1").read_bytes() != before and (logs / "web.log").stat().st_size > 0)
