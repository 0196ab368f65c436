"""The two import contracts of ours find what they forbid and nothing else."""

import grimp
import pytest

from tests.contracts import Alone, Found, Strangers

ROOTS = {"root_packages": ["connectors", "sync"]}
STRANGERS = Strangers("vendors", ROOTS, {"container": "connectors"})
ALONE = Alone("vendor", ROOTS, {"module": "sync.kit.vendor"})


def graph(*imports: tuple[str, str]) -> grimp.ImportGraph:
    found = grimp.ImportGraph()
    modules = (
        "connectors",
        "connectors._reply",
        "connectors.stripe",
        "connectors.github",
        "connectors.github.issues",
    )
    for name in (*modules, "sync", "sync.api", "sync.kit", "sync.kit.vendor", "sync.kit.vendor.log"):
        found.add_module(name)
    for importer, imported in imports:
        found.add_import(importer=importer, imported=imported)
    return found


@pytest.mark.parametrize(
    ("contract", "importer", "imported"),
    [
        (STRANGERS, "connectors.stripe", "connectors.github"),
        (STRANGERS, "connectors.github.issues", "connectors.stripe"),
        (STRANGERS, "connectors._reply", "connectors.github.issues"),
        (ALONE, "sync.kit.vendor", "connectors._reply"),
        (ALONE, "sync.kit.vendor.log", "sync.api"),
    ],
)
def test_what_is_forbidden_is_found(contract: Found, importer: str, imported: str) -> None:
    check = contract.check(graph((importer, imported)), verbose=False)
    assert not check.kept
    assert check.metadata["found"] == [(importer, imported)]


@pytest.mark.parametrize(
    ("contract", "importer", "imported"),
    [
        (STRANGERS, "connectors.stripe", "connectors"),
        (STRANGERS, "connectors.stripe", "connectors._reply"),
        (STRANGERS, "connectors.github", "connectors.github.issues"),
        (STRANGERS, "sync.api", "connectors.github"),
        (ALONE, "sync.kit.vendor", "sync.kit.vendor.log"),
        (ALONE, "sync.api", "sync.kit.vendor"),
    ],
)
def test_what_is_allowed_is_kept(contract: Found, importer: str, imported: str) -> None:
    assert contract.check(graph((importer, imported)), verbose=False).kept


def test_a_vendor_that_is_not_there_yet_is_alone() -> None:
    assert ALONE.check(grimp.ImportGraph(), verbose=False).kept
