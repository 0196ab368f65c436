"""Checking and discovering look at every stream and store nothing."""


def test_check_asks_for_one_page_of_each_stream(cli_on_both):
    cli_on_both.connect("--no-check")
    said = cli_on_both("check", "acme", "-o", "json")
    assert said.code == 0
    assert {(row["stream"], row["state"]) for row in said.json} == {
        ("customers", "ok"), ("projects", "ok"), ("tasks", "ok"), ("orders", "ok"),
    }  # fmt: skip
    assert cli_on_both.world.rows("demo_customers") == []
    assert cli_on_both.world.rows("runs") == []


def test_a_refused_credential_is_exit_code_6_and_asks_nothing_more(cli, vendor):
    place = ("--connector", "demo", "--option", f"url={cli.url}", "--secret", "secret_key=bad")
    cli("connect", "acme", *place, "--no-check")
    said = cli("check", "acme", "-o", "json")
    assert said.code == 6
    assert [row["state"] for row in said.json] == ["failing", "waiting", "waiting", "waiting"]
    assert vendor.vendor.log.stats()["requests"] == 1


def test_a_system_that_cannot_be_reached_is_exit_code_7(cli):
    cli.connect("--no-check")
    cli.world.execute('UPDATE connections SET config = \'{"url": "http://127.0.0.1:9"}\'')
    said = cli("check", "acme")
    assert said.code == 7
    assert "127.0.0.1:9" in said.err


def test_check_makes_a_failing_connection_active_again(cli):
    cli.connect("--no-check")
    cli.world.execute("UPDATE connections SET state = 'failing', reason = 'was refused'")
    assert cli("errors").code == 1
    assert cli("check", "acme").code == 0
    assert cli("errors").code == 0


def test_check_leaves_a_paused_connection_paused(cli):
    cli.connect("--no-check")
    cli("pause", "acme")
    assert cli("check", "acme").code == 0
    assert cli.world.rows("connections")[0]["state"] == "paused"


def test_discover_tells_keys_cursors_and_samples(cli):
    cli.connect("--no-check")
    rows = {row["stream"]: row for row in cli("discover", "acme", "-o", "json").json}
    assert rows["customers"]["cursor"] == "timestamp updated_at"
    assert rows["tasks"]["parent"] == "projects"
    assert rows["customers"]["keys"][0].startswith("cus_")
    assert "email" in rows["customers"]["fields"]
    assert "tombstones" in rows["customers"]["deletes"]
