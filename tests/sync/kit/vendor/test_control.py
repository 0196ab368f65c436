"""The back door: another process can edit, break and look, unseen by what it tests."""

import pytest

from sync.kit.vendor import Auth, Fault, Limit

TOKEN = {"X-Control-Token": "control"}


@pytest.fixture
def vendor(notes):
    return notes(3, vendor={"auth": Auth(tokens=("k",))})


@pytest.fixture
def client(vendor, asker):
    return asker(vendor, Authorization="Bearer k", **TOKEN)


def test_the_control_token_is_needed(vendor, asker):
    client = asker(vendor)
    assert client.get("/_control/stats").status_code == 401
    assert client.get("/_control/stats", headers={"X-Control-Token": "wrong"}).status_code == 401


def test_rows_are_edited_and_the_truth_shown(client):
    assert client.post("/_control/create", json={"collection": "notes", "fields": {"text": "x"}}).json()["key"] == 4
    client.post("/_control/update", json={"collection": "notes", "key": 1, "fields": {"text": "y"}})
    client.post("/_control/delete", json={"collection": "notes", "keys": [2, 3]})
    truth = client.get("/_control/truth/notes").json()
    assert {key: row["text"] for key, row in truth["rows"].items()} == {"1": "y", "4": "x"}
    assert truth["deleted"] == ["2", "3"]


def test_an_edit_can_be_given_another_time(client, vendor):
    client.post("/_control/update", json={"collection": "notes", "key": 1, "at": "2026-03-01T00:30:00Z"})
    assert vendor.truth("notes")["1"]["updated_at"] == "2026-03-01T00:30:00.000000Z"


def test_control_is_not_logged_limited_or_faulted(client, vendor):
    vendor.faults.set([Fault(kind="status")])
    vendor.limiter.change(Limit(rate=1, window_s=3600))
    assert [client.get("/_control/stats").status_code for _ in range(5)] == [200] * 5
    assert vendor.log.since() == []


def test_faults_limits_and_latency_are_set(client, vendor):
    client.post("/_control/faults", json={"faults": [{"kind": "status", "status": 503, "nth": [2]}], "seed": 1})
    assert [client.get("/v1/notes").status_code for _ in range(3)] == [200, 503, 200]
    client.post("/_control/faults", json={})
    client.post("/_control/limits", json={"rate": 1, "window_s": 3600, "spelling": "body"})
    client.post("/_control/latency", json={"fixed_s": 0.001, "jitter_s": 0.001})
    assert [client.get("/v1/notes").json().get("error") for _ in range(2)] == [None, "ratelimited"]
    assert vendor.latency.fixed_s == 0.001


def test_the_clock_is_set(client):
    stopped = client.post("/_control/clock", json={"stop": "2026-05-05T05:05:05Z", "advance": 60}).json()
    assert stopped == {"date": "Tue, 05 May 2026 05:05:05 GMT", "now": 1_777_957_505_000_000}
    assert client.get("/v1/notes").headers["date"] == "Tue, 05 May 2026 05:05:05 GMT"


def test_a_shifted_clock_runs_wrong_but_runs(client):
    client.post("/_control/clock", json={"shift": 0})
    right = client.post("/_control/clock", json={}).json()["now"]
    wrong = client.post("/_control/clock", json={"shift": -600}).json()["now"]
    later = client.post("/_control/clock", json={}).json()["now"]
    assert right - 600_000_000 <= wrong < right
    assert later > wrong


def test_permissions_and_credentials_are_taken_and_given(client):
    client.post("/_control/withdraw", json={"collection": "notes"})
    assert client.get("/v1/notes").status_code == 403
    client.post("/_control/withdraw", json={"collection": "notes", "how": ""})
    client.post("/_control/revoke", json={"credential": "k"})
    assert client.get("/v1/notes").status_code == 401
    client.post("/_control/restore", json={"credential": "k"})
    assert client.get("/v1/notes").status_code == 200


def test_oauth_tokens_are_issued_ended_and_counted(client):
    pair = client.post("/_control/issue", json={}).json()
    assert pair["refresh_token"]
    client.post("/_control/revoke", json={"oauth": "revoke"})
    form = {"grant_type": "refresh_token", "refresh_token": pair["refresh_token"]}
    client.post("/oauth/token", data=form, auth=("demo-client", "demo-client-secret"))
    assert [grant["result"] for grant in client.get("/_control/grants").json()["grants"]] == ["invalid_grant"]


def test_the_log_can_be_read_on_from_a_number(client):
    for limit in (1, 2, 3):
        client.get("/v1/notes", params={"limit": limit})
    entries = client.get("/_control/log", params={"since": 1}).json()["entries"]
    assert [entry["number"] for entry in entries] == [2, 3]
    last = entries[-1]
    assert last["time"] == 1_772_326_800.0
    assert (last["method"], last["path"], last["query"]) == ("GET", "/v1/notes", {"limit": "3"})
    assert (last["credential"], last["status"], last["rows"], last["keys"]) == ("k", 200, 3, [1, 2, 3])
    assert client.get("/_control/stats").json()["requests"] == 3


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("create", {}),
        ("create", {"collection": "notes", "key": "text", "fields": {}}),
        ("update", {"collection": "notes", "key": 99}),
        ("update", {"collection": "other", "key": 1}),
        ("create", {"collection": "notes", "account": "7"}),
        ("faults", {"faults": [{"kind": "typo"}]}),
        ("limits", {"speed": 1}),
        ("clock", {"stop": "yesterday"}),
        ("withdraw", {"collection": "notes", "how": "typo"}),
    ],
)
def test_a_wrong_call_is_a_400_that_says_why(client, verb, body):
    reply = client.post(f"/_control/{verb}", json=body)
    assert reply.status_code == 400
    assert reply.json()["error"]["message"]


def test_an_unknown_verb_is_a_404_with_the_known_ones(client):
    assert "truth" in client.get("/_control/typo").json()["error"]["message"]
    assert "withdraw" in client.post("/_control/typo", json={}).json()["error"]["message"]
