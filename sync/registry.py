"""Connectors by name: the modules of the `connectors` folder, and what installed packages add to them.

Listing imports no vendor, loading imports one: a worker carries only the vendors that it talks to.
"""

import pkgutil
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points

import connectors
from connectors import Connector, TidelockError

GROUP = "tidelock.connectors"


class UnknownConnector(TidelockError):
    """No connector has this name; the text names those that are near."""


class BrokenConnector(TidelockError):
    """There is such a connector, and it can't be used; the text names the file and the cause."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where a connector is written: `attribute` of `module`, as `origin` gives it."""

    module: str
    attribute: str
    origin: str


def names() -> tuple[str, ...]:
    """The names of all connectors, sorted; none of them is imported."""
    return tuple(sorted(_sources()))


def bundled() -> tuple[str, ...]:
    """The names of the connectors in our own folder."""
    modules = pkgutil.iter_modules(connectors.__path__)
    return tuple(sorted(module.name for module in modules if not module.name.startswith("_")))


@cache
def load(name: str) -> Connector:
    """The connector of this name. Raises UnknownConnector, or BrokenConnector with the file and the cause."""
    match _sources().get(name, ()):
        case ():
            raise UnknownConnector(_unknown(name))
        case (source,):
            return _connector(name, source)
        case several:
            origins = " and ".join(source.origin for source in several)
            raise BrokenConnector(f"two connectors are called {name!r}: {origins} give it. Uninstall or rename one")


def _sources() -> Mapping[str, tuple[Source, ...]]:
    """Every name with whoever gives it; more than one is a conflict, which only that name's users feel."""
    found: dict[str, tuple[Source, ...]] = {
        name: (Source(f"connectors.{name}", "connector", "the folder connectors"),) for name in bundled()
    }
    for point in entry_points(group=GROUP):
        found[point.name] = (*found.get(point.name, ()), _added(point))
    return found


def _added(point: EntryPoint) -> Source:
    package = f"the package {point.dist.name}" if point.dist else f"the entry point {point.value}"
    return Source(point.module, point.attr or "connector", package)


def _unknown(name: str) -> str:
    near = get_close_matches(name, names())
    meant = f" Did you mean {' or '.join(near)}?" if near else ""
    return f"there is no connector {name!r}.{meant} `tidelock connectors` lists them all"


def _connector(name: str, source: Source) -> Connector:
    try:
        module = import_module(source.module)
    except Exception as error:  # a module of others may raise anything
        raise BrokenConnector(f"the connector {name!r} can't be loaded: {_cause(error)}") from error
    found = getattr(module, source.attribute, None)
    if not isinstance(found, Connector):
        where = module.__file__ or source.module
        raise BrokenConnector(f"{where} has no `{source.attribute} = Connector(...)`, so it is no connector")
    return found


def _cause(error: BaseException) -> str:
    """'connectors/acme.py, line 7: NameError: ...': the last line of a connector that was reached."""
    said = f"{type(error).__name__}: {error}"
    if isinstance(error, SyntaxError):
        return f"{error.filename}, line {error.lineno}: {error.msg}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if not _is_ours(frame.filename)]
    return f"{frames[-1].filename}, line {frames[-1].lineno}: {said}" if frames else said


def _is_ours(filename: str) -> bool:
    """The vocabulary, what generated it, this module and the import machinery: they only noticed."""
    vocabulary = any(filename.startswith(f"{folder}/_") for folder in connectors.__path__)
    return vocabulary or filename.startswith("<") or filename == __file__ or "/importlib/" in filename
