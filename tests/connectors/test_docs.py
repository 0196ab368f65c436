"""docs/connectors.md and docs/webhooks.md: the example runs, and no word of the vocabulary is missing in them."""

import re
from pathlib import Path

import connectors
from connectors import Ask, Connector, Outcome, Stream
from sync.kit.contract import RULES
from sync.kit.vendor import Limit, demo_vendor
from sync.kit.vendor.demo import KEY
from tests.connectors.test_demo import Authorized
from tests.connectors.vendors import walk

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "connectors.md").read_text()
BOTH = PAGE + (DOCS / "webhooks.md").read_text()


def example() -> Connector:
    """The connector that the page builds."""
    block = re.search(r"<!-- example -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    assert block
    module: dict[str, Connector] = {}
    exec(block[1], module)
    return module["connector"]


def test_example_reads_the_demo_vendor() -> None:
    """Every record of its streams, as the vendor has it."""
    door = Authorized(demo_vendor(scale=0.05, limit=Limit(rate=None)))
    assert KEY in PAGE
    customers, projects, tasks = example().streams_for({})

    def rows(stream: Stream, ask: Ask) -> list[dict[str, object]]:
        return [row for page in walk(door, stream, ask) for row in page]

    assert {row["id"]: row for row in rows(customers, Ask())} == door.vendor.truth("customers")
    found = rows(projects, Ask())
    assert len(found) == len(door.vendor.truth("projects"))
    below = {str(row["id"]) for one in found for row in rows(tasks, Ask(parent={"id": one["id"]}))}
    assert below == set(door.vendor.truth("tasks"))


def test_every_word_is_taught() -> None:
    """What is public is on one of the pages."""
    missing = [name for name in connectors.__all__ if not re.search(rf"\b{name}\b", BOTH)]
    assert not missing
    assert not [outcome.name for outcome in Outcome if f"`{outcome.name}`" not in PAGE]


def test_exempted_rules_are_known() -> None:
    """The page's own example of an exemption."""
    for rule in re.findall(r'exempt=\{"(\w+)"', PAGE):
        assert rule in RULES
