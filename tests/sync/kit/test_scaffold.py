"""A new connector is born clean: it passes the linters, loads, and says what is to be done next."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sync.kit import scaffold

ROOT = Path(__file__).parents[3]


def run(folder: Path, *command: str) -> str:
    """What a module of our own Python says; a failure shows it."""
    environ = {**os.environ, "PYTHONPATH": str(folder), "CI": ""}
    done = subprocess.run(
        [sys.executable, "-m", *command], cwd=folder, env=environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture
def house(tmp_path: Path) -> Path:
    """A project like ours, with a new connector."""
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "tests" / "connectors").mkdir(parents=True)
    shutil.copytree(ROOT / "connectors", tmp_path / "connectors", ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("sync", "models"):
        (tmp_path / part).symlink_to(ROOT / part)
    scaffold.write("acme_crm", tmp_path)
    return tmp_path


def test_what_is_written_passes_the_linters(house: Path) -> None:
    """The author begins with a clean sheet."""
    written = ["connectors/acme_crm.py", "tests/connectors/test_acme_crm.py"]
    run(house, "ruff", "check", *written)
    run(house, "ruff", "format", "--check", *written)
    run(house, "mypy", "--follow-imports=silent", *written)


def test_what_is_written_is_covered_and_skips_honestly(house: Path) -> None:
    """Without a recording nothing is proved; each skip names the next step."""
    suite = 'from sync.kit.contract import *\n\nCONNECTORS = ("acme_crm",)\n'
    (house / "tests" / "connectors" / "test_contract.py").write_text(suite)
    (house / "tests" / "conftest.py").write_text('pytest_plugins = ["sync.kit.contract"]\n')
    said = run(house, "pytest", "-q", "-rs", "-p", "no:cacheprovider", "tests")
    assert "record" in said
    assert "2 passed" in said
    assert "failed" not in said


@pytest.mark.parametrize("name", ["Acme", "acme-crm", "1st", "", "_acme", "class", "äcme", "../evil"])
def test_name_that_cannot_be_a_module_is_refused(tmp_path: Path, name: str) -> None:
    """Before anything is written."""
    with pytest.raises(scaffold.ScaffoldError, match="can't be a connector's name"):
        scaffold.write(name, tmp_path)
    assert not list(tmp_path.iterdir())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """Neither a connector that is there, nor a file."""
    with pytest.raises(scaffold.ScaffoldError, match="there is a connector 'stripe' already"):
        scaffold.write("stripe", tmp_path)
    module, _ = scaffold.write("acme", tmp_path)
    module.write_text("mine")
    with pytest.raises(scaffold.ScaffoldError, match="exists already"):
        scaffold.write("acme", tmp_path)
    assert module.read_text() == "mine"
