"""The scripts that Redis runs, each in one step."""

from hashlib import sha1
from pathlib import Path
from typing import Any

from redis import Redis
from redis.exceptions import NoScriptError

_FOLDER = Path(__file__).parent


class Script:
    """A Lua file of this folder behind common.lua; sent once, then called by its digest."""

    def __init__(self, name: str) -> None:
        self._source = (_FOLDER / "common.lua").read_text() + (_FOLDER / f"{name}.lua").read_text()
        self._digest = sha1(self._source.encode(), usedforsecurity=False).hexdigest()

    def run(self, client: Redis, keys: list[str], arguments: list[str | float]) -> Any:
        values: list[Any] = [*keys, *arguments]
        try:
            return client.evalsha(self._digest, len(keys), *values)
        except NoScriptError:  # a server that restarted, or that has never run it
            return client.eval(self._source, len(keys), *values)


TAKE, LOWER, PENALISE, BLOCK = (Script(name) for name in ("take", "lower", "penalise", "block"))
