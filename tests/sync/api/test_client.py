"""The HTTP door: signs, follows, classifies, counts, and never shows a secret."""

import traceback
from base64 import b64encode
from urllib.parse import quote_plus

import pytest
import responses

from connectors import Basic, Bearer, Body, Header, NoAuth, Outcome, Query, Rule, Wait
from sync.door import OutcomeError
from sync.store import credentials
from sync.store.database import write
from tests.sync.api.conftest import CANARY
from tests.sync.api.talker import DATE, DATED, answer, drip

URL = "https://api.example.com"


@pytest.fixture
def mocked(monkeypatch):
    with responses.RequestsMock() as mock:
        yield mock


def dated(**headers):
    return {"Date": DATE, **headers}


# --- asking


def test_a_path_is_asked_below_the_base_with_its_parameters(mocked, opens):
    mocked.get(f"{URL}/v2/things?a=1&b=2", json={"data": [1]}, headers=dated(ETag='"e1"'))
    api = opens(f"{URL}/v2")
    reply = api.get("/things?a=1", {"b": 2, "none": None})
    sent = mocked.calls[0].request
    assert list(reply.rows("data")) == [1]
    assert reply.url == f"{URL}/v2/things?a=1&b=2"
    assert reply.headers["etag"] == '"e1"'
    assert sent.headers["Accept-Encoding"] == "gzip"
    assert sent.headers["User-Agent"].startswith("Tidelock/")
    assert sent.headers["Authorization"] == f"Bearer {CANARY}"


def test_a_question_in_json_is_posted(mocked, opens):
    mocked.post(f"{URL}/graphql?v=1", json={"data": {}}, match=[responses.matchers.json_params_matcher({"query": "q"})])
    opens(URL).post("/graphql", {"query": "q"}, {"v": 1})
    assert mocked.calls[0].request.headers["Content-Type"] == "application/json"


def test_a_post_says_its_length(talks, opens):
    server = talks(lambda *_: answer())
    opens(server.url).post("/q", {"query": "ü"})
    assert server.heard[0].body == '{"query":"ü"}'.encode()
    assert "transfer-encoding" not in server.heard[0].headers


def test_the_connectors_headers_stand_above_ours(mocked, opens):
    mocked.get(URL + "/", json={})
    opens(URL, headers={"Accept": "application/vnd.acme", "Acme-Version": "3"}).get("/")
    assert mocked.calls[0].request.headers["Accept"] == "application/vnd.acme"
    assert mocked.calls[0].request.headers["Acme-Version"] == "3"


def test_a_next_page_may_be_an_absolute_url_on_the_same_host(mocked, opens):
    mocked.get(f"{URL}/v2/things?page=2", json=[])
    assert opens(f"{URL}/v2").get(f"{URL}/v2/things?page=2").url == f"{URL}/v2/things?page=2"


@pytest.mark.parametrize("url", ["https://evil.example/x", "http://api.example.com/x", "https://api.example.com:8443/"])
def test_the_credential_is_sent_to_no_other_host(mocked, opens, url):
    with pytest.raises(OutcomeError, match=r"https://api\.example\.com") as caught:
        opens(URL).get(url)
    assert caught.value.outcome is Outcome.FAIL_CONNECTION
    assert not mocked.calls


def test_requests_and_bytes_are_counted(talks, opens):
    server = talks(lambda *_: answer(b"[1,2]"))
    api = opens(server.url)
    api.get("/a")
    api.get("/b")
    assert (api.requests, api.bytes, api.waited) == (2, 10, 0)


# --- who we are


@pytest.mark.parametrize(
    ("auth", "header", "value"),
    [
        (Bearer("key"), "authorization", f"Bearer {CANARY}"),
        (Header("key", name="X-Token", prefix="Token "), "x-token", f"Token {CANARY}"),
        (Basic(), "authorization", f"Basic {b64encode(f'{CANARY}:{CANARY}'.encode()).decode()}"),
        (
            Basic("key", fixed_password=""),
            "authorization",
            f"Basic {b64encode(f'{CANARY}:'.encode()).decode()}",
        ),
        (NoAuth(), "authorization", None),
    ],
    ids=["bearer", "header", "basic", "basic-key", "none"],
)
def test_each_scheme_signs_its_way(talks, opens, auth, header, value):
    server = talks(lambda *_: answer())
    opens(server.url, auth=auth).get("/x")
    assert server.heard[0].headers.get(header) == value


def test_a_key_in_the_query_is_sent_and_kept_out_of_everything_that_is_stored(talks, opens):
    """Vendors echo the key in the link to the next page, and page tokens are stored."""
    secret = f"{CANARY}/+"
    spelled = quote_plus(secret)

    def say(heard, connection):
        body = f'{{"next": "{server.url}/x?page=2&key={spelled}"}}'.encode()
        return answer(body, Link=f'<{server.url}/x?page=2&key={spelled}>; rel="next"')

    server = talks(say)
    api = opens(server.url, auth=Query("key", name="key"), secrets={"key": secret})
    reply = api.get("/x", {"page": 1})
    assert server.heard[0].target == f"/x?page=1&key={spelled}"
    assert CANARY not in f"{reply!r} {reply['next']} {reply.link} {reply.url}"
    for url in (reply["next"], reply.link["next"]):
        api.get(url)
        assert server.heard[-1].target == f"/x?page=2&key={spelled}"


def test_a_secret_that_no_header_can_carry_is_named_and_not_shown(opens):
    with pytest.raises(OutcomeError, match="'key'") as caught:
        opens(URL, secrets={"key": f"{CANARY}\r\nX-Evil: 1"}).get("/x")
    assert caught.value.outcome is Outcome.FAIL_CONNECTION
    assert CANARY not in str(caught.value)


def test_a_missing_secret_is_named(opens):
    with pytest.raises(OutcomeError, match="'key'"):
        opens(URL, secrets={"other": "x"}).get("/x")


def test_a_refused_key_stops_the_connection_at_once(talks, opens):
    server = talks(lambda *_: answer(b'{"error":"bad key"}', "401 Unauthorized"))
    error = refusal(opens(server.url))
    assert error.outcome is Outcome.FAIL_CONNECTION
    assert len(server.heard) == 1


def test_a_key_that_was_replaced_meanwhile_is_used(talks, opens, means, keep):
    server = talks(
        lambda heard, _: answer() if heard.headers["authorization"] == "Bearer new-key" else answer(status="401 No")
    )
    credential = keep(key="old-key")
    api = opens(server.url, credential_id=credential)
    with write(means.engine) as connection:
        credentials.replace(connection, credential, {"key": "new-key"}, keys=means.vault)
    assert api.get("/x").status == 200
    assert len(server.heard) == 2


# --- moved


def test_redirects_on_the_same_host_are_followed_signed_anew(talks, opens):
    def say(heard, connection):
        number = int(heard.target.partition("?")[0].strip("/") or 0)
        return answer(b"[]") if number == 5 else answer(status="302 Found", Location=f"/{number + 1}")

    server = talks(say)
    assert opens(server.url).get("/0").url == f"{server.url}/5"
    assert {heard.headers["authorization"] for heard in server.heard} == {f"Bearer {CANARY}"}
    assert len(server.heard) == 6


def test_a_sixth_redirect_is_one_too_many(talks, opens):
    server = talks(lambda heard, _: answer(status="302 Found", Location=f"{heard.target}x"))
    error = refusal(opens(server.url))
    assert error.outcome is Outcome.FAIL_CONNECTION
    assert len(server.heard) == 6


@pytest.mark.parametrize(
    "to", ["https://evil.example/x", "http://127.0.0.1:1/x", "//evil.example/x", "ftp://x/", "file:///etc"]
)
def test_a_redirect_to_another_host_is_not_followed_and_both_are_named(talks, opens, to):
    server = talks(lambda *_: answer(status="307 Moved", Location=to))
    error = refusal(opens(server.url))
    assert error.outcome is Outcome.FAIL_CONNECTION
    assert to.split("/")[2].split(":")[0] in str(error)
    assert "127.0.0.1" in str(error)
    assert len(server.heard) == 1


@pytest.mark.parametrize(("status", "method"), [("303 See", "GET"), ("302 Found", "GET"), ("307 Moved", "POST")])
def test_a_redirected_post_keeps_its_body_only_where_the_status_says_so(talks, opens, status, method):
    server = talks(lambda heard, _: answer(status=status, Location="/b") if heard.target == "/a" else answer())
    opens(server.url).post("/a", {"q": 1})
    assert server.heard[1].line.split()[0] == method
    assert server.heard[1].body == (b'{"q":1}' if method == "POST" else b"")


def test_the_deadline_covers_all_redirects(talks, opens):
    def say(heard, connection):
        drip(connection, b"H", 0.2)
        return answer(status="302 Found", Location=f"{heard.target}x")[1:]

    server = talks(say)
    assert refusal(opens(server.url, request_seconds=0.5)).outcome is Outcome.RETRY
    assert len(server.heard) <= 3


# --- how old


def test_the_time_is_the_vendors_and_never_later_than_what_it_shows(talks, opens):
    """The vendor's clock stands in 2026, whatever ours says; the time since the request was sent is taken off."""

    def say(heard, connection):
        drip(connection, b"H", 0.2)
        return answer()[1:]

    server = talks(say)
    api = opens(server.url)
    reply = api.get("/x")
    assert DATED - 5 < reply.as_of / 1e6 <= DATED - 0.2
    assert reply.extra == {}
    assert (api.asked_at, api.as_of) == (reply.as_of, reply.as_of)
    second = api.get("/x")
    assert (api.asked_at, api.as_of) == (reply.as_of, second.as_of)


@pytest.mark.parametrize("date", ["", "yesterday"])
def test_without_a_readable_date_our_clock_stands_in_and_says_so(talks, opens, date):
    server = talks(lambda *_: answer(Date=date))
    assert opens(server.url).get("/x").extra == {"clock": "ours"}


# --- unchanged


def test_only_the_first_get_is_conditional_and_its_etag_is_kept(talks, opens):
    server = talks(lambda heard, _: answer(status="304 Not Modified", ETag='"e2"', Content_Length=""))
    api = opens(server.url)
    api.etag = '"e1"'
    reply = api.get("/a")
    assert (reply.status, reply.body, api.unchanged, api.seen_etag) == (304, b"", True, '"e2"')
    assert list(reply.rows("data")) == []
    api.get("/b")
    assert [heard.headers.get("if-none-match") for heard in server.heard] == ['"e1"', None]


def test_without_an_etag_nothing_is_conditional(talks, opens):
    server = talks(lambda heard, _: answer(ETag=f'"{heard.target}"'))
    api = opens(server.url)
    api.get("/1")
    api.get("/2")
    assert api.seen_etag == '"/1"'
    assert not api.unchanged
    assert "if-none-match" not in server.heard[0].headers


# --- outcomes


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (400, Outcome.FAIL_STREAM), (402, Outcome.FAIL_CONNECTION), (403, Outcome.FAIL_STREAM), (404, Outcome.GONE),
        (409, Outcome.CONFLICT), (410, Outcome.GONE), (429, Outcome.RATE_LIMITED), (500, Outcome.RETRY),
        (503, Outcome.RETRY), (300, Outcome.FAIL_STREAM),
    ],
)  # fmt: skip
def test_a_status_has_its_outcome(mocked, opens, status, outcome):
    mocked.get(f"{URL}/x", json={"error": "no"}, status=status)
    error = refusal(opens(URL))
    assert (error.outcome, error.status, error.url) == (outcome, status, f"{URL}/x")
    assert error.excerpt == '{"error": "no"}'


def test_the_connectors_rules_stand_first(mocked, opens):
    rules = (Rule(status=200, body=Body("ok", False), then=Outcome.RESET_CURSOR, why="the token expired"),)
    mocked.get(f"{URL}/x", json={"ok": False})
    error = refusal(opens(URL, rules=rules))
    assert (error.outcome, error.why) == (Outcome.RESET_CURSOR, "the token expired")


def test_an_excerpt_is_short(mocked, opens):
    mocked.get(f"{URL}/x", body="word " * 10_000, status=500)
    assert len(refusal(opens(URL)).excerpt) == 500


@pytest.mark.parametrize(
    ("headers", "wait"),
    [
        ({"Retry-After": "7"}, 7),
        ({"Retry-After": "0"}, 1),
        ({"Retry-After": "Sun, 22 Nov 2026 10:00:30 GMT"}, 30),
        ({"Retry-After": "9999999"}, 86_400),
        ({"Retry-After": "soon"}, 60),
        ({}, 60),
    ],
)
def test_a_vendor_says_how_long_to_wait_by_its_own_clock(mocked, opens, headers, wait):
    mocked.get(f"{URL}/x", status=429, headers=dated(**headers))
    error = refusal(opens(URL))
    assert (error.outcome, error.wait) == (Outcome.RATE_LIMITED, wait)


def test_a_rule_says_where_the_wait_stands_and_which_limit_is_spent(mocked, opens):
    rule = Rule(status=403, then=Outcome.RATE_LIMITED, scope="search", wait=Wait(header="X-Reset", format="epoch_s"))
    mocked.get(f"{URL}/x", status=403, headers=dated(**{"X-Reset": str(DATED + 90)}))
    error = refusal(opens(URL, rules=(rule,)))
    assert (error.outcome, error.wait, error.scope) == (Outcome.RATE_LIMITED, 90, "search")


def test_a_retry_may_state_its_time(mocked, opens):
    mocked.get(f"{URL}/x", status=503, headers={"Retry-After": "20"})
    mocked.get(f"{URL}/y", status=503)
    assert refusal(opens(URL)).wait == 20
    assert refusal(opens(URL), "/y").wait is None


def test_what_the_vendor_refused_is_remembered_when_the_next_door_opens(mocked, opens, keep):
    """Redis may be emptied and the worker may die: the time is in the database."""
    mocked.get(f"{URL}/x", status=429, headers={"Retry-After": "500"})
    credential = keep(key=CANARY)
    refusal(opens(URL, credential_id=credential))
    error = refusal(opens(URL, credential_id=credential), "/other")
    assert error.outcome is Outcome.RATE_LIMITED
    assert 490 < error.wait <= 500
    assert len(mocked.calls) == 1


def test_a_spent_limit_stops_only_the_streams_that_count_against_it(mocked, opens, keep):
    limits = {"default": (), "search": ()}
    rule = Rule(status=429, then=Outcome.RATE_LIMITED, scope="search", wait=Wait())
    mocked.get(f"{URL}/x", status=429, headers={"Retry-After": "500"})
    mocked.get(f"{URL}/y", json=[])
    credential = keep(key=CANARY)
    refusal(opens(URL, credential_id=credential, limits=limits, limit="search", rules=(rule,)))
    assert opens(URL, credential_id=credential, limits=limits).get("/y").status == 200
    assert refusal(opens(URL, credential_id=credential, limits=limits, limit="search"), "/y").scope == "search"


# --- secrets


AUTHS = {
    "bearer": Bearer("key"),
    "query": Query("key", name="token_of_ours"),
    "basic": Basic("key", "key2"),
}
SAYS = {
    "echo": lambda heard, _: answer(f"{heard.line} {heard.headers}".encode(), "500 Sorry"),
    "echo-401": lambda heard, _: answer(f"{heard.line} {heard.headers}".encode(), "401 No"),
    "echo-429": lambda heard, _: answer(f"{heard.line} {heard.headers}".encode(), "429 Slow"),
    "token": lambda *_: answer(b'{"access_token": "other-canary-secret"}', "400 Bad"),
    "redirect": lambda heard, _: answer(
        f"{heard.headers}".encode(), "302 Found", Location=f"https://evil.example{heard.target}"
    ),
    "loop": lambda heard, _: answer(status="302 Found", Location=heard.target),
    "cut": lambda *_: b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
    "cut-off": lambda *_: b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\nConnection: close\r\n\r\n",
    "hang-up": lambda *_: None,
    "garbage": lambda *_: b"\x00\xff\r\n\r\n",
    "bad-headers": lambda *_: b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\nno colon\r\n\r\n",
    "large": lambda *_: b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n",
    "encoding": lambda *_: answer(b"x", Content_Encoding="br"),
}


@pytest.mark.parametrize("say", SAYS)
@pytest.mark.parametrize("auth", AUTHS)
def test_no_failure_shows_a_secret(talks, opens, caplog, auth, say):
    """Not in its text, its fields, its traceback, what hangs on it, or any log."""
    caplog.set_level("DEBUG")
    secrets = {"key": CANARY, "key2": f"{CANARY}&2"}
    server = talks(SAYS[say])
    api = opens(server.url, auth=AUTHS[auth], secrets=secrets, request_seconds=0.5)
    shown = everything(refusal(api, f"/x?access_token={CANARY}&page=2"))
    pair = b64encode(f"{CANARY}:{CANARY}&2".encode()).decode()
    for secret in (CANARY, pair, "other-canary-secret"):
        assert secret not in shown
        assert secret not in caplog.text
        assert secret not in repr(api)


def refusal(api, path="/x"):
    with pytest.raises(OutcomeError) as caught:
        api.get(path)
    return caught.value


def everything(error):
    """All that a log could show of an error and of those that hang on it."""
    shown, waiting = [], [error]
    while waiting:
        one = waiting.pop()
        if one is not None:
            shown += [str(one), repr(one), repr(one.args), *map(str, vars(one).values())]
            shown += traceback.format_exception(one)
            waiting += [one.__cause__, one.__context__]
    return "\n".join(shown)
