"""Connectors are found by listing, and loaded one by one; what is wrong with one is said in a sentence."""

import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

import connectors
from connectors import Connector
from sync import registry

GOOD = 'from connectors import Connector\nconnector = Connector(base_url="https://acme.test", streams=(), owner="us")\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A second folder of connectors."""
    monkeypatch.setattr(connectors, "__path__", [*connectors.__path__, str(tmp_path)])
    registry.load.cache_clear()
    yield tmp_path
    registry.load.cache_clear()
    for name in [name for name in sys.modules if name.startswith("connectors.acme")]:
        del sys.modules[name]


@pytest.fixture
def points(monkeypatch: pytest.MonkeyPatch) -> list[EntryPoint]:
    """The entry points that packages declare."""
    found: list[EntryPoint] = []
    monkeypatch.setattr(registry, "entry_points", lambda group: [one for one in found if one.group == group])
    return found


def added(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, registry.GROUP)


def test_listing_imports_no_vendor() -> None:
    """A worker carries only the vendors that it talks to."""
    code = (
        "import sys; from sync import registry; names = registry.names();"
        "print([f'connectors.{name}' in sys.modules for name in names], *names)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "True" not in said
    for name in ("demo", "files", "github", "stripe"):
        assert name in said


def test_names_leave_the_vocabulary_out(folder: Path) -> None:
    """Modules that begin with an underscore are no connectors; folders are."""
    (folder / "acme.py").write_text(GOOD)
    (folder / "_private.py").write_text("")
    (folder / "acme_two").mkdir()
    (folder / "acme_two" / "__init__.py").write_text(GOOD)
    assert {"acme", "acme_two"} <= set(registry.names())
    assert not [name for name in registry.names() if name.startswith("_")]
    assert isinstance(registry.load("acme_two"), Connector)


def test_connector_is_loaded_once(folder: Path) -> None:
    """Whoever asks gets the same."""
    (folder / "acme.py").write_text(GOOD)
    assert registry.load("acme") is registry.load("acme")


def test_unknown_name_is_told_its_neighbours() -> None:
    """And the command that lists them all."""
    with pytest.raises(
        registry.UnknownConnector, match=r"no connector 'strip'. Did you mean stripe\? `tidelock connectors`"
    ):
        registry.load("strip")
    with pytest.raises(registry.UnknownConnector, match=r"no connector 'xyzzy'. `tidelock"):
        registry.load("xyzzy")


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("\nboom()\n", r"acme\.py, line 2: NameError: name 'boom'"),
        ("def broken(:\n", r"acme\.py, line 1: .*"),
        ("import a_module_that_is_missing\n", r"acme\.py, line 1: ModuleNotFoundError: .*a_module_that_is_missing"),
        (
            "from connectors import Stream, whole\n\nStream('Bad Name', '/x', whole())\n",
            r"acme\.py, line 3: ContractError: stream 'Bad Name'",
        ),
        ("", r"acme\.py has no `connector = Connector\(...\)`"),
        ("connector = 5\n", r"acme\.py has no `connector = Connector\(...\)`"),
    ],
)
def test_broken_module_names_file_line_and_cause(folder: Path, source: str, sentence: str) -> None:
    """The line of the connector, not one of the vocabulary that noticed it."""
    (folder / "acme.py").write_text(source)
    with pytest.raises(registry.BrokenConnector, match=sentence):
        registry.load("acme")


def test_package_adds_a_connector(points: list[EntryPoint], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an entry point to a module, or to a name in it."""
    (tmp_path / "acme_tidelock.py").write_text(GOOD + "second = connector\n")
    monkeypatch.syspath_prepend(tmp_path)
    points += [added("acme_one", "acme_tidelock"), added("acme_two", "acme_tidelock:second")]
    registry.load.cache_clear()
    assert {"acme_one", "acme_two"} <= set(registry.names())
    assert registry.load("acme_one") is registry.load("acme_two")
    registry.load.cache_clear()


def test_package_cannot_shadow_a_bundled_connector(points: list[EntryPoint]) -> None:
    """Which of two would be meant? Only that name suffers, the others load."""
    points.append(added("stripe", "evil:connector"))
    registry.load.cache_clear()
    with pytest.raises(registry.BrokenConnector, match=r"two connectors are called 'stripe'.*Uninstall or rename"):
        registry.load("stripe")
    assert isinstance(registry.load("demo"), Connector)
    registry.load.cache_clear()


def test_bundled_are_ours_only(points: list[Any]) -> None:
    """What packages add is not covered by our own contract tests."""
    points.append(added("acme", "x"))
    assert "acme" in registry.names()
    assert "acme" not in registry.bundled()
