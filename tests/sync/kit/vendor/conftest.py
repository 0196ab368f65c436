from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import httpx
import pytest

from sync.kit.vendor import Clock, Collection, Vendor, VendorServer, moment, serve

START = moment(2026, 3, 1)
Ask = Callable[..., httpx.Response]


@pytest.fixture
def clock() -> Clock:
    """Stands still at START."""
    return Clock(at=START)


@pytest.fixture
def served() -> Iterator[Callable[[Vendor], VendorServer]]:
    """Serves any number of vendors until the test ends."""
    with ExitStack() as stack:
        yield lambda vendor: stack.enter_context(serve(vendor))


@pytest.fixture
def asker(served) -> Iterator[Callable[..., httpx.Client]]:
    """A client of a vendor, served for it."""
    with ExitStack() as stack:

        def client(vendor: Vendor, **headers: str) -> httpx.Client:
            url = served(vendor).url
            return stack.enter_context(httpx.Client(base_url=url, headers=headers, verify=False, timeout=5))

        yield client


@pytest.fixture
def notes(clock) -> Callable[..., Vendor]:
    """A vendor with one collection, `notes`, of so many rows, one made each second."""

    def make(count: int = 0, *, tied: bool = False, vendor: dict[str, Any] | None = None, **dialect: Any) -> Vendor:
        made = Vendor([Collection(name="notes", **dialect)], clock=clock, **(vendor or {}))
        for number in range(count):
            at = START + (0 if tied else number * 1_000_000)
            made.create("notes", None, {"text": f"note {number}"}, at=at)
        clock.stop(START + 3600 * 1_000_000)
        return made

    return make
