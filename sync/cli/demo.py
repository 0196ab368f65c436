"""The demo: a vendor on this machine, and the connection to it."""

import http.client
import json
import secrets
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sync.cli.exits import Failing
from sync.connecting import apply, checked
from sync.declared import Declared
from sync.store import connections, progress
from sync.store.database import write

NAME = "demo"
PATIENCE = 20.0  # seconds for the vendor to make its records and listen


@dataclass(frozen=True, slots=True, kw_only=True)
class Demo:
    """The demo vendor of a home folder. Its port is remembered, so that the connection stays the same."""

    port: int
    token: str

    @classmethod
    def at(cls, home: Path) -> Self:
        file = home / "demo.json"
        saved: dict[str, Any] = json.loads(file.read_text()) if file.is_file() else {}
        demo = cls(port=free_port(saved.get("port", 0)), token=saved.get("token") or secrets.token_hex(8))
        file.touch(mode=0o600)
        file.write_text(json.dumps({"port": demo.port, "token": demo.token}))
        return demo

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def processes(self) -> Mapping[str, str]:
        """The vendor as a line of a Procfile."""
        words = f"{sys.executable} -m sync.kit.vendor --port {self.port} --control-token {self.token}"
        return {"vendor": words}

    def connect(self) -> tuple[int, int]:
        """The connection to it, made or corrected, and due at once; its id, and that of its newest run till now."""
        self._wait()
        wanted = Declared(
            name=NAME, connector="demo", options={"url": self.url}, secrets={"secret_key": "demo-secret-key"},
            schedules={"": "every 1 minute"},
        )  # fmt: skip
        apply(checked(wanted))
        with write() as connection:
            account = connections.by_name(connection, NAME)
            connections.set_state(connection, account.id, "active", None)
            before = progress.newest(connection, account.id)
            connections.due_now(connection, account.id)
        return int(account.id), before

    def ask(self, path: str) -> Any:
        """The vendor's back door, which only whoever started it can open: it is no third party's API."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            line.request("GET", f"/_control/{path}", headers={"X-Control-Token": self.token})
            return json.loads(line.getresponse().read())
        finally:
            line.close()

    def _wait(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            try:
                self.ask("stats")
            except OSError:
                time.sleep(0.05)  # a server tells nobody when it is ready
            else:
                return
        raise Failing(f"the demo vendor does not listen at {self.url}: its log is logs/vendor.log in the home folder")


def free_port(preferred: int) -> int:
    """The preferred port where nobody listens on it, else any other."""
    for port in (preferred, 0):
        try:
            with socket.create_server(("127.0.0.1", port)) as found:
                chosen: int = found.getsockname()[1]
                return chosen
        except OSError:
            continue
    raise Failing("this machine has no free port on 127.0.0.1")
