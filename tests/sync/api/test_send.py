"""Requests that change something: sent once, and honest about what became of them."""

import socket
import struct
from contextlib import suppress

import pytest
import responses

from connectors import ContractError, Outcome, Rule
from sync.door import OutcomeError
from sync.files import FilesApi
from sync.store import credentials
from sync.store.database import write
from tests.sync.api.conftest import CANARY
from tests.sync.api.talker import answer, drip, silence

URL = "https://api.example.com"


@pytest.fixture
def mocked():
    with responses.RequestsMock() as mock:
        yield mock


def refused(api, path="/things", method="POST", **body):
    with pytest.raises(OutcomeError) as caught:
        api.send(method, path, **(body or {"json": {"a": 1}}))
    return caught.value


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


# --- what is sent


def test_a_form_a_json_body_and_headers_arrive(talks, opens):
    server = talks(lambda *_: answer(b'{"id":"1"}', "201 Created"))
    api = opens(f"{server.url}/v1")
    reply = api.send("post", "/hooks", form={"events": ["a", "b"]}, headers={"Idempotency-Key": "k1"})
    api.send("PUT", "/hooks/1", json={"on": True}, params={"dry": True})
    api.send("DELETE", "/hooks/1")
    form, put, delete = server.heard
    assert (reply.status, reply["id"]) == (201, "1")
    assert (form.line.split()[:2], form.body) == (["POST", "/v1/hooks"], b"events%5B0%5D=a&events%5B1%5D=b")
    assert form.headers["idempotency-key"] == "k1"
    assert form.headers["authorization"] == f"Bearer {CANARY}"
    assert (put.target, put.body, put.headers["content-type"]) == (
        "/v1/hooks/1?dry=true", b'{"on":true}', "application/json",
    )  # fmt: skip
    assert (delete.line.split()[0], delete.body) == ("DELETE", b"")


def test_a_post_without_a_body_says_so(talks, opens):
    server = talks(lambda *_: answer())
    opens(server.url).send("POST", "/roll")
    assert server.heard[0].headers["content-length"] == "0"


@pytest.mark.parametrize("method", ["GET", "head"])
def test_reading_is_not_sent(opens, method):
    with pytest.raises(ContractError, match=r"api\.get"):
        opens(URL).send(method, "/things")


def test_nothing_is_changed_in_a_folder(tmp_path):
    with pytest.raises(ContractError, match="nothing is changed"):
        FilesApi(str(tmp_path), most=10).send("POST", "/x")


def test_an_answer_without_a_body_is_one(mocked, opens):
    mocked.delete(f"{URL}/things/1", status=204)
    assert opens(URL).send("DELETE", "/things/1").status == 204


# --- what became of it


@pytest.mark.parametrize(
    ("status", "headers", "outcome"),
    [
        (500, {}, Outcome.AMBIGUOUS), (502, {}, Outcome.AMBIGUOUS), (503, {}, Outcome.AMBIGUOUS),
        (504, {}, Outcome.AMBIGUOUS), (408, {}, Outcome.AMBIGUOUS), (425, {}, Outcome.AMBIGUOUS),
        (503, {"Retry-After": "5"}, Outcome.RETRY), (529, {}, Outcome.RETRY), (429, {}, Outcome.RATE_LIMITED),
        (400, {}, Outcome.FAIL_STREAM), (404, {}, Outcome.GONE), (409, {}, Outcome.CONFLICT),
        (303, {"Location": "/done"}, Outcome.FAIL_STREAM), (302, {"Location": "/b"}, Outcome.FAIL_STREAM),
    ],
)  # fmt: skip
def test_a_status_has_its_outcome(mocked, opens, status, headers, outcome):
    mocked.post(f"{URL}/things", json={}, status=status, headers=headers)
    error = refused(opens(URL))
    assert (error.outcome, error.status) == (outcome, status)
    assert len(mocked.calls) == 1


def test_what_is_read_with_post_is_repeated_still(mocked, opens):
    mocked.post(f"{URL}/graphql", json={}, status=500)
    with pytest.raises(OutcomeError) as caught:
        opens(URL).post("/graphql", {"query": "q"})
    assert caught.value.outcome is Outcome.RETRY


def test_the_connectors_rules_stand_first(mocked, opens):
    mocked.post(f"{URL}/things", json={}, status=500)
    rule = Rule(status=500, method="POST", then=Outcome.RETRY, why="its keys make it safe")
    assert refused(opens(URL, rules=(rule,))).outcome is Outcome.RETRY


def test_where_nobody_listens_nothing_was_sent(opens):
    error = refused(opens(f"http://127.0.0.1:{free_port()}"))
    assert error.outcome is Outcome.RETRY
    assert "refused" in str(error).lower()


def test_a_name_that_nobody_knows_was_sent_nothing(opens):
    assert refused(opens("http://no-such-host.invalid")).outcome is Outcome.RETRY


def test_where_no_tls_is_spoken_nothing_was_sent(talks, opens):
    """The door closes within the handshake, or it isn't one: both before the request."""
    cut = talks(lambda *_: None)
    assert refused(opens(cut.url.replace("http:", "https:"))).outcome is not Outcome.AMBIGUOUS
    assert not any("HTTP" in heard.line for heard in cut.heard)


def test_an_address_that_may_not_be_reached_stops_the_connection(opens):
    assert refused(opens("http://127.0.0.1:1", allow_private=())).outcome is Outcome.FAIL_CONNECTION


def reset(heard, connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


SAYS = {
    "silence": lambda *_: silence(),
    "hang-up": lambda *_: None,
    "reset": reset,
    "cut": lambda *_: b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n",
    "drip": lambda heard, connection: drip(connection, answer(b"x" * 500)),
    "garbage": lambda *_: b"\x00\xff\r\n\r\n",
    "large": lambda *_: b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n",
    "encoding": lambda *_: answer(b"x", Content_Encoding="br"),
}


@pytest.mark.parametrize("say", SAYS)
def test_once_it_was_sent_nobody_knows(talks, opens, say):
    """The vendor heard it, and its answer is no answer: it is not sent again, and not called a failure."""
    server = talks(SAYS[say])
    error = refused(opens(server.url, request_seconds=0.5))
    assert error.outcome is Outcome.AMBIGUOUS
    assert "isn't known" in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert [heard.body for heard in server.heard] == [b'{"a":1}']


def test_a_kept_connection_that_died_is_not_written_to_twice(talks, opens):
    """The vendor ended the kept connection before it heard the second change: that is sent on a new one, or not known
    to have arrived; never twice."""

    def say(heard, connection):
        connection.sendall(answer())
        return answer()[:0] if heard.connection > 1 else None

    server = talks(say)
    api = opens(server.url)
    api.send("POST", "/first", json={})
    with suppress(OutcomeError):
        api.send("POST", "/second", json={})
    assert [heard.target for heard in server.heard].count("/second") <= 1


# --- moved, refused


@pytest.mark.parametrize("status", ["307 Moved", "308 Moved"])
def test_a_change_goes_elsewhere_as_it_is(talks, opens, status):
    server = talks(lambda heard, _: answer(status=status, Location="/b") if heard.target == "/a" else answer())
    opens(server.url).send("PATCH", "/a", json={"q": 1})
    assert (server.heard[1].line.split()[:2], server.heard[1].body) == (["PATCH", "/b"], b'{"q":1}')


def test_a_change_is_not_taken_to_another_host(talks, opens):
    server = talks(lambda *_: answer(status="307 Moved", Location="https://evil.example/x"))
    assert refused(opens(server.url)).outcome is Outcome.FAIL_CONNECTION
    assert len(server.heard) == 1


def test_a_refused_credential_is_renewed_once(talks, opens, means, keep):
    server = talks(
        lambda heard, _: answer() if heard.headers["authorization"] == "Bearer new-key" else answer(status="401 No")
    )
    credential = keep(key="old-key")
    api = opens(server.url, credential_id=credential)
    with write(means.engine) as connection:
        credentials.replace(connection, credential, {"key": "new-key"}, keys=means.vault)
    assert api.send("POST", "/x", form={"a": 1}).status == 200
    assert [heard.body for heard in server.heard] == [b"a=1", b"a=1"]
