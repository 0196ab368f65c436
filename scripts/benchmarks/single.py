"""The bench's source with single records beside its lists: GET /records/rec_00000012.

    python -m benchmarks.single --records 200000

Whoever asks again gets a newer version, as if the record had been edited meanwhile; the lists stay as they are. It
prints one JSON line {"url": ...} when it serves, and ends on SIGTERM or SIGINT.
"""

import argparse
import asyncio
import json
import signal
from itertools import count

from benchmarks.records import record, timestamp, updated_at
from benchmarks.source import Clock, Connection, Mode, Pages

BASE = "/records/rec_"
EDIT = 10_000_000_000  # microseconds by which the first edit is newer than the list


class Singles(Pages):
    """Pages, and records one by one."""

    def __init__(self, mode: Mode) -> None:
        self.edits = count(1)
        super().__init__(mode)

    def body(self, target: str) -> bytes:
        """As Pages; a single record is made for each who asks."""
        if not target.startswith(BASE):
            return super().body(target)
        index = int(target.removeprefix(BASE))
        before = timestamp(updated_at(index, changed=False))
        after = timestamp(updated_at(index, changed=False) + EDIT + next(self.edits))
        return record(index).replace(f'"updated_at":"{before}"'.encode(), f'"updated_at":"{after}"'.encode())


async def serve(mode: Mode) -> None:
    """Serve until SIGTERM or SIGINT."""
    loop = asyncio.get_running_loop()
    pages, clock, ended = Singles(mode), Clock(), asyncio.Event()
    server = await loop.create_server(lambda: Connection(pages, clock, loop), "127.0.0.1", 0)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    print(json.dumps({"url": f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"}), flush=True)
    await ended.wait()
    server.close()


def main() -> None:
    parser = argparse.ArgumentParser(description="serve the bench's records, one by one too")
    parser.add_argument("--records", type=int, default=200_000)
    asyncio.run(serve(Mode(records=parser.parse_args().records)))


if __name__ == "__main__":
    main()
