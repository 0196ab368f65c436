"""Connection files: what is wrong is told with file, line and key; the published schema says the same."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

import sync
from sync import declared
from sync.declared import DeclarationError, read

GOOD = """
name: acme
connector: github
options: {owner: acme}
secrets:
  token: {env: ACME_TOKEN}
schedule: every 15 minutes
jitter: 30 seconds
owner: crew
streams:
  repositories:
  issues: {schedule: "0 3 * * *"}
objective: 1 hour
"""
PUBLISHED = Path(sync.__file__).parents[1] / "docs" / "connections.schema.json"


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv("ACME_TOKEN", "geheim")

    def write(text):
        path = tmp_path / "acme.yaml"
        path.write_text(text)
        return path

    return write


def test_a_file_becomes_a_declaration(file):
    found = read(file(GOOD))
    assert (found.name, found.connector, found.owner) == ("acme", "github", "crew")
    assert found.secrets == {"token": "geheim"}
    assert found.streams == ("repositories", "issues")
    assert found.schedules == {"": "every 15 minutes", "issues": "0 3 * * *"}
    assert (found.jitter, found.objective) == (30, 3600)


def test_no_secret_shows_in_a_declaration(file):
    assert "geheim" not in repr(read(file(GOOD)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("name: [acme", "line 1 is not YAML"),
        ("name: acme\n\tconnector: x", "line 2 is not YAML"),
        ("- acme", "must hold one connection"),
        ("", "must hold one connection"),
        ("name: acme", "missing required field `connector`"),
        (GOOD + "colour: red\n", "line 14: colour: .*unknown field"),
        (GOOD.replace("owner: crew", "owner: 7"), "line 9: owner: "),
        (GOOD.replace("name: acme", "name: Acme Inc"), "line 2: name: "),
        (GOOD + "name: again\n", "line 14: name is there twice"),
        (GOOD.replace("{env: ACME_TOKEN}", "geheim"), "line 5: secrets: a secret is a reference"),
        (GOOD.replace("{env: ACME_TOKEN}", "{env: NOT_SET}"), "line 6: the environment variable NOT_SET is not set"),
        (GOOD + "parallel: 0\n", "line 14: parallel: "),
        (GOOD.replace('schedule: "0 3', 'shedule: "0 3'), "shedule"),
        ("name: !!python/name:os.system x\nconnector: x", "line 1: "),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(file, text, sentence):
    path = file(text)
    with pytest.raises(DeclarationError, match=sentence) as caught:
        read(path)
    assert str(path) in str(caught.value)
    assert "geheim" not in str(caught.value)


def test_a_text_in_another_encoding_is_told(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("name: größe".encode("latin-1"))
    with pytest.raises(DeclarationError, match="not UTF-8"):
        read(path)


def test_a_file_that_is_not_there_is_told(tmp_path):
    with pytest.raises(DeclarationError, match="No such file"):
        read(tmp_path / "none.yaml")


def test_the_published_schema_is_that_of_the_code():
    assert json.loads(PUBLISHED.read_text()) == declared.schema()


def test_the_published_schema_takes_what_the_code_takes_and_refuses_what_it_refuses(file):
    check = jsonschema.Draft202012Validator(declared.schema())
    assert check.is_valid(yaml.safe_load(GOOD))
    for bad in ("colour: red\n", "parallel: 0\n", "secrets: {token: geheim}\n"):
        assert not check.is_valid({**yaml.safe_load(GOOD), **yaml.safe_load(bad)})


def test_files_are_found_in_order(tmp_path):
    for name in ("b.yml", "a.yaml", "notes.txt"):
        (tmp_path / name).write_text("")
    assert [path.name for path in declared.files(tmp_path)] == ["a.yaml", "b.yml"]
    assert declared.files(tmp_path / "none") == []
