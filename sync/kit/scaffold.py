"""The scaffold: a new connector and its test, to be filled in beside the vendor's documentation."""

from keyword import iskeyword
from pathlib import Path

from connectors import TidelockError
from sync.registry import names

MODULE = '''"""{title} API. https://developer.{name}.example/docs"""

from connectors import Bearer, Connector, Stream, Sweep, Timestamp, cursor, get_one, iso, text

# Fill it in from top to bottom, in the order of the vendor's documentation; docs/connectors.md has all the words.
connector = Connector(
    base_url="https://api.{name}.example",
    auth=Bearer("api_key"),  # or Header, Query, Basic, OAuth2; the name is what a person is asked for
    owner="{name}",  # the team that is told of failures
    limits={{"default": "5/second"}},
    streams=(
        Stream(
            "customers",
            "/v1/customers",
            # How the list goes on, and the parameter that asks for what changed.
            cursor("data", "next_cursor", size=("limit", 100), since="updated_since"),
            version=iso("updated_at"),  # rises with every edit; leave it out where nothing does
            cursor=Timestamp(field=iso("updated_at")),
            get=get_one(),
            deletes=(Sweep(every="1 day", confirm="get"),),
            columns=(text("name"), text("email"), iso("updated_at")),
        ),
    ),
)
'''

TEST = '''"""{title}: what the contract suite can't know of it."""

from pathlib import Path

import pytest

from connectors import Ask
from connectors.{name} import connector
from sync.kit.recording import load
from sync.kit.replay import Replay

RECORDED = load(Path(__file__).parent / "{name}").exchanges
STREAMS = connector.streams_for({{}})


@pytest.mark.parametrize("stream", STREAMS, ids=[stream.name for stream in STREAMS])
def test_first_page_has_records(stream):
    """What was recorded is found where the connector looks for it."""
    if not RECORDED:
        pytest.skip("nothing is recorded yet. Next: tidelock check CONNECTION --record")

    page = stream.pull(Replay(RECORDED, connector.rules), stream, Ask())

    assert list(page.rows)
'''


class ScaffoldError(TidelockError):
    """The connector can't be begun; the text says why."""


def write(name: str, folder: Path) -> tuple[Path, Path]:
    """Write `connectors/<name>.py` and `tests/connectors/test_<name>.py` below the project's folder.

    Gives both paths. Raises ScaffoldError for a name that can't be a module and a table's prefix, or is taken;
    nothing is overwritten.
    """
    if not (name.isidentifier() and name.isascii() and name.islower()) or name.startswith("_") or iskeyword(name):
        raise ScaffoldError(f"{name!r} can't be a connector's name: use lower-case letters, digits and underscores")
    if name in names():
        raise ScaffoldError(f"there is a connector {name!r} already; `tidelock connectors` lists them all")
    module, test = folder / "connectors" / f"{name}.py", folder / "tests" / "connectors" / f"test_{name}.py"
    for path in (module, test):
        if path.exists():
            raise ScaffoldError(f"{path} exists already: remove it, or choose another name")
    title = name.replace("_", " ").title()
    for path, text in ((module, MODULE), (test, TEST)):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.format(name=name, title=title), encoding="utf-8")
    return module, test
