"""The receivers of the webhook bench: our web process as the Procfile starts it, the peer's, and what they are sent."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import hooked, inbox, measure, processes
from benchmarks.processes import Stack
from sync.supervisor import parse

PEER = "uvicorn benchmarks.peer_webhook:app --host 127.0.0.1 --port ${PORT} --no-access-log"


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """A web process that takes deliveries."""

    url: str
    pid: int


def started(stack: Stack, name: str, more: Mapping[str, str] | None = None, *, peer: bool = False) -> Receiver:
    """Start it, and wait until it listens. `more` is environment of its own."""
    port = _free_port()
    command = PEER if peer else parse((processes.ROOT / "Procfile").read_text())["web"]
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {"PORT": str(port), "PATH": path, **(more or {})}
    process = stack.start(
        name, ["env", *(f"{key}={value}" for key, value in variables.items()), "sh", "-c", f"exec {command}"]
    )
    processes.until(lambda: process.poll() is not None or _listens(port), f"{name} to listen")
    if process.poll() is not None:
        raise RuntimeError(f"{name} did not start:\n{stack.log(name)[-3000:]}")
    return Receiver(url=f"http://127.0.0.1:{port}/webhooks/{hooked.NAME}", pid=process.pid)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def sending(receiver: Receiver, name: str, **asked: Any) -> subprocess.Popen[bytes]:
    """The sender at work, with its options; `name` begins the deliveries' ids."""
    options = [part for key, value in asked.items() for part in (f"--{key}", str(value))]
    command = measure.module("sender", "--url", receiver.url, "--secret", inbox.SECRET, "--name", name, *options)
    return subprocess.Popen(command, stdout=subprocess.PIPE, env=measure.environment())


def told(sender: subprocess.Popen[bytes]) -> dict[str, Any]:
    """What it says at its end. RuntimeError where a delivery was refused or lost: nothing is measured by those."""
    out, _ = sender.communicate()
    if sender.returncode:
        raise RuntimeError(f"the sender ended with {sender.returncode}")
    said: dict[str, Any] = json.loads(out)
    if said["refused"] or said["lost"] or not said["answered"]:
        raise RuntimeError(
            f"of the deliveries {said['answered']} were answered, refused {said['refused']}, lost {said['lost']}"
        )
    return said


def sent(receiver: Receiver, name: str, **asked: Any) -> dict[str, Any]:
    """Send, and wait for the end of it."""
    return told(sending(receiver, name, **asked))
