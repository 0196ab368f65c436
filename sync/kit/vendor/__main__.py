"""Run the demo vendor: `python -m sync.kit.vendor --port 8099`."""

import argparse
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType

from sync.kit.vendor.demo import demo_vendor
from sync.kit.vendor.limits import Limit
from sync.kit.vendor.server import serve
from sync.kit.vendor.vendor import Latency, Vendor


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT, after one line that says where."""
    stopped = threading.Event()

    def stop(number: int, frame: FrameType | None) -> None:
        stopped.set()

    options = _parser().parse_args(arguments)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with serve(_vendor(options), options.port, options.host) as server:
        print(f"listening on {server.url}", flush=True)
        stopped.wait()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m sync.kit.vendor", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 = any free one (default)")
    parser.add_argument("--seed", type=int, default=1, help="other records for another seed")
    parser.add_argument("--scale", type=float, default=1.0, help="1 = 20,000 records")
    parser.add_argument("--latency-ms", type=float, default=2.0)
    parser.add_argument("--jitter-ms", type=float, default=0.0)
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second; 0 = no limit")
    parser.add_argument("--burst", type=int, default=20)
    parser.add_argument("--control-token", default="control")
    return parser


def _vendor(options: argparse.Namespace) -> Vendor:
    return demo_vendor(
        options.seed,
        options.scale,
        limit=Limit(rate=options.rate or None, burst=options.burst),
        latency=Latency(fixed_s=options.latency_ms / 1000, jitter_s=options.jitter_ms / 1000),
        control_token=options.control_token,
    )


if __name__ == "__main__":
    sys.exit(main())
