"""How the web process ends, as the Procfile starts it: whatever was answered is stored."""

import http.client
import os
import signal
import sys
import threading
from itertools import count
from pathlib import Path

import pytest

from sync.store import inboxes
from sync.store.database import write
from sync.supervisor import parse
from sync.vault import vault
from tests.processes import ROOT, Process, free_port, until
from tests.sync.web.site import BODY, SECRET, signature

ABOUT = {"X-Hub-Signature-256": signature(BODY), "X-GitHub-Event": "issues"}


class Vendor(threading.Thread):
    """Delivers one after the other until nobody answers, and knows what was accepted."""

    numbers = count()

    def __init__(self, port):
        super().__init__()
        self.port = port
        self.accepted = []
        self.others = []

    def run(self):
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            while True:
                id = str(next(self.numbers))
                line.request("POST", "/webhooks/github", BODY, {**ABOUT, "X-GitHub-Delivery": id})
                answer = line.getresponse()
                answer.read()
                (self.accepted if answer.status == 202 else self.others).append((id, answer.status))
        except (OSError, http.client.HTTPException):
            pass
        finally:
            line.close()


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def web(world, tmp_path, port):
    vault.cache_clear()  # the process that is started reads the key of this home
    account = world.connect("github", {"owner": "acme"})
    with write() as connection:
        inboxes.set_secret(connection, account, "webhook_secret", SECRET)
    command = parse((ROOT / "Procfile").read_text())["web"]
    log = tmp_path / "web.log"
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    process = Process(["/bin/sh", "-c", f"exec env {command}"], {"PORT": str(port), "PATH": path}, log)
    try:
        until(lambda: alive(port), "the web process")
        yield process
    finally:
        process.kill()


def alive(port):
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        line.request("GET", "/livez")
        return line.getresponse().status == 200
    except OSError:
        return False
    finally:
        line.close()


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL])
def test_whatever_was_answered_is_stored(world, web, port, ending):
    vendors = [Vendor(port) for _ in range(8)]
    for vendor in vendors:
        vendor.start()
    until(lambda: sum(len(vendor.accepted) for vendor in vendors) > 200, "two hundred answers")
    os.kill(web.process.pid, ending)
    web.process.wait(timeout=30)
    for vendor in vendors:
        vendor.join()
    accepted = {id for vendor in vendors for id, _ in vendor.accepted}
    assert accepted <= {row["delivery"] for row in world.rows("deliveries")}
    assert {status for vendor in vendors for _, status in vendor.others} <= {503}
    assert web.process.returncode == -ending
    assert "Traceback" not in web.log.read_text()
