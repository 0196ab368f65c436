"""Applying files: all are checked before any is applied, and again changes nothing."""

import pytest

GOOD = """
name: {name}
connector: demo
options: {{url: "{url}"}}
secrets: {{secret_key: {{env: DEMO_KEY}}}}
schedule: every 5 minutes
"""


@pytest.fixture
def folder(cli, tmp_path, monkeypatch):
    monkeypatch.setenv("DEMO_KEY", "geheim")
    made = tmp_path / "connections"
    made.mkdir()
    for name in ("one", "two"):
        (made / f"{name}.yaml").write_text(GOOD.format(name=name, url=cli.url))
    return made


def states(said):
    return {row["connection"]: row["state"] for row in said.json}


def test_applying_is_idempotent(cli, folder):
    assert states(cli("apply", "-o", "json")) == {"one": "created", "two": "created"}
    assert states(cli("apply", "-o", "json")) == {"one": "unchanged", "two": "unchanged"}


def test_a_dry_run_does_nothing(cli, folder):
    assert states(cli("apply", "--dry-run", "-o", "json")) == {"one": "created", "two": "created"}
    assert cli.world.rows("connections") == []


def test_one_changed_file_changes_one_connection(cli, folder):
    cli("apply")
    with (folder / "two.yaml").open("a") as file:
        file.write("owner: crew\n")
    assert states(cli("apply", "-o", "json")) == {"one": "unchanged", "two": "changed"}


def test_single_files_can_be_named(cli, folder):
    assert states(cli("apply", str(folder / "two.yaml"), "-o", "json")) == {"two": "created"}


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        ("colour: red\n", "colour"),
        ("streams: [invoices]\n", "no stream 'invoices'"),
        ("owner: [\n", "is not YAML"),
        ("name: again\n", "twice"),
    ],
)
def test_one_bad_file_stops_all_and_is_named(cli, folder, more, sentence):
    with (folder / "two.yaml").open("a") as file:
        file.write(more)
    for words in (("apply",), ("apply", "--dry-run"), ("validate",)):
        said = cli(*words)
        assert said.code == 2
        assert sentence in said.err + said.out
        assert "two.yaml" in said.err + said.out
        assert "geheim" not in said.err + said.out
    assert cli.world.rows("connections") == []


def test_two_files_of_one_name_are_told(cli, folder):
    (folder / "three.yaml").write_text(GOOD.format(name="one", url=cli.url))
    said = cli("apply")
    assert said.code == 2
    assert "both declare one" in said.err


def test_a_missing_variable_is_named(cli, folder, monkeypatch):
    monkeypatch.delenv("DEMO_KEY")
    said = cli("apply")
    assert said.code == 2
    assert "DEMO_KEY is not set" in said.err


def test_a_secret_may_stand_in_the_dotenv(cli, folder, tmp_path, monkeypatch):
    monkeypatch.delenv("DEMO_KEY")
    (tmp_path / ".env").write_text("DEMO_KEY=from the file\n")
    assert states(cli("apply", "-o", "json"))["one"] == "created"


def test_validate_needs_no_database(cli, folder, monkeypatch):
    monkeypatch.setattr("sync.cli.apply.require", None)
    assert cli("validate").code == 0
