"""Connecting: who gives a wrong secret or address hears of it at once, and nothing of it is kept."""

import pytest

from sync.kit.vendor.demo import KEY


def test_a_connection_is_made_tried_and_shown(cli_on_both):
    said = cli_on_both.connect("--schedule", "every 5 minutes", "--owner", "crew", "-o", "json")
    assert (said.code, said.json["done"]) == (0, "created")
    rows = cli_on_both("status", "-o", "json").json
    assert [row["stream"] for row in rows] == ["customers", "projects", "tasks", "orders"]
    assert {row["owner"] for row in rows} == {"crew"}


def test_the_same_again_changes_nothing_and_another_option_is_changed(cli):
    cli.connect()
    assert cli.connect("-o", "json").json["done"] == "unchanged"
    again = cli.connect("--parallel", "2", "-o", "json").json
    assert (again["done"], again["changed"]) == ("changed", ["parallel"])


def test_a_wrong_secret_is_refused_and_the_connection_not_kept(cli):
    place = ("--connector", "demo", "--option", f"url={cli.url}")
    said = cli("connect", "acme", *place, "--secret", "secret_key=wrong-one")
    assert said.code == 6
    assert "refuse" in said.err
    assert "wrong-one" not in said.err
    assert cli.world.rows("connections") == []
    assert cli.world.rows("credentials") == []


def test_a_wrong_secret_of_a_connection_that_is_there_leaves_it_failing(cli):
    cli.connect()
    said = cli("connect", "acme", "--connector", "demo", "--option", f"url={cli.url}", "--secret", "secret_key=wrong")
    assert said.code == 6
    assert [row["state"] for row in cli.world.rows("connections")] == ["failing"]
    cli.connect("--no-check")
    assert cli("check", "acme").code == 0
    assert [row["state"] for row in cli.world.rows("connections")] == ["active"]


@pytest.mark.parametrize("url", ["http://127.0.0.1:9", "http://10.99.0.1/", "ftp://example.com", "nonsense"])
def test_a_wrong_address_is_told_and_not_kept(cli, url):
    said = cli("connect", "acme", "--connector", "demo", "--option", f"url={url}", "--secret", "secret_key=x")
    assert said.code in {2, 7}
    assert said.err.startswith("error: ")
    assert "Traceback" not in said.err
    assert cli.world.rows("connections") == []


def test_a_missing_secret_is_asked_for_without_showing_it(cli):
    said = cli("connect", "acme", "--connector", "demo", "--option", f"url={cli.url}", input=f"{KEY}\n")
    assert said.code == 0
    assert KEY not in said.out + said.err


def test_a_secret_may_come_from_the_environment(cli, monkeypatch):
    monkeypatch.setenv("DEMO_KEY", KEY)
    place = ("connect", "acme", "--connector", "demo", "--option", f"url={cli.url}")
    assert cli(*place, "--secret", "secret_key=env:DEMO_KEY").code == 0
    missing = cli(*place, "--secret", "secret_key=env:NOT_SET")
    assert missing.code == 2
    assert "NOT_SET is not set" in missing.err


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("--connector", "dem"), "no connector 'dem'. Did you mean demo"),
        (("--connector", "demo", "--option", "url"), "--option takes name=value"),
        (("--connector", "demo", "--option", "uri=x", "--option", "url=x"), "no option 'uri'"),
        (("--connector", "demo", "--option", "url=x", "--streams", "customer"), "no stream 'customer'"),
        (("--connector", "demo", "--option", "url=x", "--schedule", "sometimes"), "sometimes"),
        (("--connector", "demo", "--option", "url=x", "--jitter", "long"), "'long' is not a duration"),
    ],
)
def test_bad_input_is_a_sentence_and_exit_code_2(cli, words, sentence):
    said = cli("connect", "acme", "--secret", "secret_key=x", *words)
    assert said.code == 2
    assert sentence in said.err
    assert cli.world.rows("connections") == []


def test_a_secret_given_wrongly_is_not_quoted(cli):
    said = cli("connect", "acme", "--connector", "demo", "--secret", "geheim")
    assert said.code == 2
    assert "geheim" not in said.err


def test_a_name_is_lower_case(cli):
    assert cli.connect(name="Acme Inc").code == 2


def test_a_secret_is_asked_for_only_when_the_rest_is_right(cli):
    said = cli("connect", "acme", "--connector", "demo")
    assert said.code == 2
    assert "url is missing" in said.err
    assert "demo secret_key" not in said.err
