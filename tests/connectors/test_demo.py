"""Demo: against the demo vendor itself, every list arrives equal to its truth."""

from typing import Any

import pytest

from connectors import Ask, Stream
from connectors.demo import connector
from sync.kit.vendor import Limit, demo_vendor
from sync.kit.vendor.demo import KEY
from sync.kit.vendor.exchange import Request
from tests.connectors.vendors import Door, walk

STREAMS = {stream.name: stream for stream in connector.streams_for({})}


class Authorized(Door):
    """A door with the demo's key."""

    def _answered(self, target: str, request: Request) -> Any:
        request.headers["authorization"] = f"Bearer {KEY}"
        return super()._answered(target, request)


@pytest.fixture(scope="module")
def door() -> Door:
    """A demo vendor of 2,000 records."""
    return Authorized(demo_vendor(scale=0.1, limit=Limit(rate=None)))


def rows(door: Door, stream: Stream, **ask: Any) -> dict[str, Any]:
    return {str(row["id"]): row for page in walk(door, stream, Ask(**ask)) for row in page}


@pytest.mark.parametrize("name", ["customers", "projects", "orders"])
def test_list_equals_the_truth(door: Door, name: str) -> None:
    """Payload by key."""
    assert rows(door, STREAMS[name]) == dict(door.vendor.truth(name))


def test_tasks_of_every_project_equal_the_truth(door: Door) -> None:
    """A partition each."""
    found: dict[str, Any] = {}
    for project in rows(door, STREAMS["projects"]):
        found |= rows(door, STREAMS["tasks"], parent={"id": int(project)})
    assert found == dict(door.vendor.truth("tasks"))


def test_deleted_customers_are_listed(door: Door) -> None:
    """With the time of their deletion, from the cursor on."""
    tombstones = STREAMS["customers"].tombstones
    assert tombstones
    door.vendor.create("customers", "cus_gone", {"name": "x"})
    door.vendor.delete("customers", "cus_gone")
    stream = Stream("gone", tombstones.path, tombstones.pull)
    at = rows(door, stream)["cus_gone"]["deleted_at"]
    assert rows(door, stream, since=at).keys() == {"cus_gone"}
