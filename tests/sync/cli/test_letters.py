"""What needs a person is listed with reason, path and owner, and each of the three answers is one command."""

import pytest


@pytest.fixture
def dead(cli_on_both):
    """A connection with a dead slice, and a rejected record that every pass shows again."""
    cli = cli_on_both
    cli.connect("--streams", "orders", "--owner", "crew")
    cli("run", "acme")
    cli.world.execute("UPDATE slices SET state = 'dead', reason = 'it broke'")
    cli.world.execute("UPDATE runs SET state = 'failed', reason = 'it broke'")
    cli.world.execute(
        "INSERT INTO rejects (connection_id, stream, partition, key, digest, payload, path, reason, state, seen, "
        "first_at, last_at) SELECT id, 'orders', '', '', 1, :payload, '$.id', 'it has no key', 'dead', 1, "
        "created_at, '2100-01-01 00:00:00.000000' FROM connections", payload=b'{"seq": 9}',
    )  # fmt: skip
    return cli


def test_errors_tell_what_why_and_whose(dead):
    said = dead("errors", "-o", "json")
    assert said.code == 1
    slice_, record = said.json
    assert (slice_["kind"], slice_["reason"], slice_["owner"]) == ("slice", "it broke", "crew")
    assert (record["id"], record["path"], record["payload"]) == ("r1", "$.id", '{"seq": 9}')


def test_the_status_says_by_its_exit_code_that_somebody_is_needed(dead):
    dead.world.execute("DELETE FROM slices")
    dead.world.execute("UPDATE runs SET state = 'done', reason = NULL")
    said = dead("status", "-o", "json")
    (orders,) = said.json
    assert (said.code, orders["dead"], orders["state"]) == (1, 1, "fresh")
    assert dead("drop", "r1").code == 0
    assert dead("status").code == 0


def test_a_replayed_slice_runs_to_its_end_and_a_hopeless_record_stays(dead):
    said = dead("replay", "--all", "-o", "json")
    assert said.code == 1
    assert said.json == {"slices": 1, "records": 0, "records_left": 1}
    assert [row["state"] for row in dead.world.rows("slices")] == ["done"]
    assert [row["state"] for row in dead.world.rows("runs")] == ["done"]
    assert [row["id"] for row in dead("errors", "-o", "json").json] == ["r1"]


def test_a_record_that_can_be_stored_by_now_is(dead):
    dead.world.execute("UPDATE rejects SET payload = :payload", payload=b'{"id": "ord_x", "seq": 99999}')
    assert dead("replay", "r1").code == 0
    assert len(dead.world.rows("demo_orders", "key = 'ord_x'")) == 1


def test_what_is_dropped_needs_nobody(dead):
    assert dead("drop", "--connection", "acme", "-o", "json").json == {"slices": 1, "records": 1}
    assert dead("errors").code == 0


def test_a_held_slice_wants_a_ceiling(dead):
    dead.world.execute("UPDATE slices SET state = 'held'")
    unit = str(dead.world.rows("slices")[0]["id"])
    assert dead("replay", unit).code == 2
    said = dead("approve", unit, "--ceiling", "30", "-o", "json")
    assert (said.code, said.json) == (0, {"slices": 1, "ceiling": 30})
    assert dead.world.rows("slices")[0]["approved"] == 30


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("replay",), "say which"),
        (("replay", "seven"), "'seven' is no number"),
        (("replay", "999"), "no dead slice 999"),
        (("drop", "r999"), "no rejected record r999"),
        (("drop", "--connection", "nobody"), "no connection 'nobody'"),
    ],
)
def test_a_wrong_number_is_told_and_nothing_is_done(cli, words, sentence):
    said = cli(*words)
    assert said.code == 2
    assert sentence in said.err
