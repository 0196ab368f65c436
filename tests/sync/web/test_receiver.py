"""The receiver: what is answered with 2xx is stored; what is refused leaves a counter and nothing else."""

import asyncio
import json
import re
import socket
import threading
import time
from dataclasses import replace
from datetime import timedelta

import pytest

from connectors import (
    Capture,
    Challenge,
    Echo,
    FetchBack,
    Hmac,
    InBody,
    InHeader,
    InQuery,
    Ping,
    Prefix,
    SharedToken,
    Window,
)
from sync.settings import settings
from sync.store import inboxes
from sync.store.database import connect, write
from sync.web import app, protocol
from sync.web.writer import Writer
from tests.processes import until
from tests.sync.web.site import (
    BODY,
    SECRET,
    answer,
    closed,
    connected,
    cut_off,
    digest,
    headers,
    request,
    serving,
    signature,
    told,
    webhook,
)

STAMPED = Hmac(
    signature=InHeader("X-Signature"),
    form=Prefix("sha256="),
    signed="{timestamp}.{body}",
    window=Window(at=InHeader("X-Time")),
)


@pytest.fixture
def acme(sqlite_world, monkeypatch):
    """A server with one connection, whose deliveries are signed."""
    connected(sqlite_world, monkeypatch, webhook())
    with serving(sqlite_world, monkeypatch) as site:
        yield site


# what is taken


def test_what_is_answered_is_stored_as_it_came(world, monkeypatch):
    """Byte for byte, whatever the bytes are, on each kind of database."""
    account = connected(world, monkeypatch, webhook())
    bodies = [BODY, b"", b"\x00\xff\xfe not utf-8 \x00", '{"text": "ä\\u0000"}'.encode(), b"x" * 100_000]
    with serving(world, monkeypatch) as site:
        for number, body in enumerate(bodies):
            status, said, _ = site.ask("POST", "/webhooks/acme", body, headers(body, id=str(number)))
            assert (status, said) == (202, b'{"status":"accepted"}')
            assert bytes(site.stored()[number]["body"]) == body
        until(lambda: set(site.rung) == {account}, "the bell")
    rows = site.stored()
    assert [row["delivery"] for row in rows] == ["0", "1", "2", "3", "4"]
    assert {(row["connection_id"], row["state"], row["attempts"]) for row in rows} == {(account, "received", 0)}
    assert len({row["correlation"] for row in rows}) == len(bodies)
    assert all(row["received_at"] == row["due_at"] for row in rows)


def test_a_repetition_is_answered_the_same_and_not_stored_again(acme):
    assert [acme.ask("POST", "/webhooks/acme", BODY, headers())[:2] for _ in range(3)] == [
        (202, b'{"status":"accepted"}')
    ] * 3
    assert len(acme.stored()) == 1


def test_twenty_copies_at_once_are_one_row(world, monkeypatch):
    connected(world, monkeypatch, webhook())
    statuses = []
    with serving(world, monkeypatch) as site:
        threads = [threading.Thread(target=lambda: statuses.append(site.post())) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert statuses == [202] * 20
        assert len(site.stored()) == 1


def test_headers_are_kept_without_those_that_open_a_door(acme):
    sent = headers(
        Cookie="a=b", Authorization="Bearer x", Proxy_Authorization="y", X_Api_Key="k", X_Old_Signature="s", X_Trace="t"
    )
    assert acme.post(sent=sent) == 202
    kept = json.loads(acme.stored()[0]["headers"])
    assert kept["x-event"] == "changed"
    assert kept["x-trace"] == "t"
    assert not {"cookie", "authorization", "proxy-authorization", "x-api-key", "x-signature", "x-old-signature"} & {
        *kept
    }
    assert SECRET not in str(kept)


def test_a_shared_token_is_not_kept_and_a_name_is_whatever_it_is_called(sqlite_world, monkeypatch):
    hook = webhook(SharedToken(token=InHeader("X-Pass")), name=InHeader("X-Token-Event"))
    connected(sqlite_world, monkeypatch, hook)
    with serving(sqlite_world, monkeypatch) as site:
        assert site.post(sent={"X-Pass": SECRET, "X-Token-Event": "renewed"}) == 202
        assert site.post(sent={"X-Pass": "wrong"}) == 401
    kept = json.loads(site.stored()[0]["headers"])
    assert kept["x-token-event"] == "renewed"
    assert "x-pass" not in kept


@pytest.mark.parametrize(
    ("delivery", "body", "sent", "known_as"),
    [
        (InHeader("X-Delivery"), BODY, {"X-Delivery": "abc"}, "abc"),
        (InHeader("X-Delivery"), BODY, {}, digest(BODY)),
        (InHeader("X-Delivery"), BODY, {"X-Delivery": "x" * 256}, digest(b"x" * 256)),
        ((), BODY, {"X-Delivery": "abc"}, digest(BODY)),
        (InBody("event.id"), b'{"event": {"id": "evt_1"}}', {}, "evt_1"),
        (InBody("id"), b'{"id": "a\\u0000b"}', {}, digest(b"a\0b")),
        (InBody("id"), b'{"id": ["no", "text"]}', {}, digest(b'{"id": ["no", "text"]}')),
        ((InHeader("X-Channel"), InBody("id")), b'{"id": 7}', {"X-Channel": "a/b"}, "a%2Fb/7"),
        ((InHeader("X-Channel"), InBody("id")), b'{"id": 7}', {}, digest(b'{"id": 7}')),
    ],
)
def test_what_a_delivery_is_known_by(sqlite_world, monkeypatch, delivery, body, sent, known_as):
    connected(sqlite_world, monkeypatch, webhook(delivery=delivery))
    with serving(sqlite_world, monkeypatch) as site:
        assert site.post(body, {"X-Signature": signature(body), **sent}) == 202
    assert site.stored()[0]["delivery"] == known_as


def test_a_vendor_that_signs_our_address_signs_the_public_one(sqlite_world, monkeypatch):
    hook = webhook(Hmac(signature=InHeader("X-Signature"), signed="{url}{body}"))
    connected(sqlite_world, monkeypatch, hook)
    path = "/webhooks/acme?a=1&b=%C3%A4"

    def sent(origin):
        return {"X-Signature": signature(f"{origin}{path}".encode() + BODY).removeprefix("sha256=")}

    with serving(sqlite_world, monkeypatch) as site:
        asked = sent(f"http://127.0.0.1:{site.port}")
        assert site.ask("POST", path, BODY, asked)[0] == 202
    monkeypatch.setenv("TIDELOCK_PUBLIC_URL", "https://sync.example.com/")
    settings.cache_clear()
    with serving(sqlite_world, monkeypatch) as site:
        assert site.ask("POST", path, BODY, sent("https://sync.example.com"))[0] == 202
        assert site.ask("POST", path, BODY, asked)[0] == 401


# signatures


@pytest.mark.parametrize(
    "proofs",
    [
        [signature(b"other"), signature(BODY, "other"), "sha256=" + "00" * 32],
        [None, "", "sha256=", "sha256=zz", "sha1=00", signature(BODY)[:-1], f"{signature(BODY)}, {signature(BODY)}"],
        ["ä" * 10_000, "sha256=" + "ä" * 64, "sha256=" + "0" * 60_000],
    ],
    ids=["wrong", "malformed", "wild"],
)
def test_what_is_not_believed_leaves_a_counter(acme, proofs):
    """... and a sample of the reason, which quotes nothing."""
    for proof in proofs:
        sent = {"X-Delivery": "1"} if proof is None else {"X-Signature": proof.encode()}
        status, said, _ = acme.ask("POST", "/webhooks/acme", BODY, sent)
        assert (proof, status, told(said)) == (proof, 401, {"title": "Unauthorized", "status": 401})
    until(lambda: sum(row["times"] for row in acme.notices()) == len(proofs), "the notices")
    assert {row["kind"] for row in acme.notices()} == {"refused"}
    assert not re.search(r"zz|00|ä", str([(row["name"], row["sample"]) for row in acme.notices()]))
    assert acme.stored() == []


def test_a_doubled_signature_is_none(acme):
    raw = request().replace(b"\r\n\r\n", f"\r\nX-Signature: {signature(BODY)}\r\n\r\n".encode(), 1)
    with acme.raw() as line:
        line.sendall(raw)
        assert answer(line)[0] == 401


def test_a_stale_one_is_refused(sqlite_world, monkeypatch):
    connected(sqlite_world, monkeypatch, webhook(STAMPED))
    with serving(sqlite_world, monkeypatch) as site:
        for age, status in ((10, 202), (1000, 401)):
            at = str(int(time.time()) - age)
            sent = {"X-Time": at, "X-Signature": signature(f"{at}.".encode() + BODY), "X-Delivery": at}
            assert site.post(sent=sent) == status
    assert len(site.stored()) == 1


def test_refusals_are_counted_and_not_written_one_by_one(acme):
    for _ in range(30):
        assert acme.post(sent={"X-Signature": signature(b"other")}) == 401
    until(lambda: sum(row["times"] for row in acme.notices()) == 30, "thirty refusals")
    (notice,) = acme.notices()
    assert notice["first_at"] <= notice["last_at"]


def test_the_end_stores_what_was_counted(sqlite_world, monkeypatch):
    monkeypatch.setattr("sync.web.writer.FLUSH", 3600)
    connected(sqlite_world, monkeypatch, webhook())
    with serving(sqlite_world, monkeypatch) as site:
        for _ in range(5):
            assert site.post(sent={}) == 401
    assert sum(row["times"] for row in site.notices()) == 5


def test_a_secret_that_is_not_set_believes_nothing(sqlite_world, monkeypatch):
    connected(sqlite_world, monkeypatch, webhook(), secret="")
    with serving(sqlite_world, monkeypatch) as site:
        unset = site.ask("POST", "/webhooks/acme", BODY, headers(secret=""))[:2]
        until(site.notices, "a notice")
        assert site.notices()[0]["name"] == "the secret webhook_secret is not set"
        with write() as connection:
            inboxes.set_secret(connection, 1, "webhook_secret", "other")
        site.reception.doorstep.forget("acme")
        assert site.ask("POST", "/webhooks/acme", BODY, headers())[:2] == unset
    assert unset[0] == 401


def test_while_a_secret_changes_both_are_valid(acme):
    def changed(value, keep):
        with write() as connection:
            inboxes.set_secret(connection, 1, "webhook_secret", value, keep)
        acme.reception.doorstep.forget("acme")

    changed("newer", timedelta(hours=1))
    assert [acme.post(sent=headers(secret=one, id=one)) for one in (SECRET, "newer", "other")] == [202, 202, 401]
    changed("newest", None)
    assert [acme.post(sent=headers(secret=one, id=one)) for one in ("newer", "newest")] == [401, 202]


def test_who_signs_nothing_is_let_in_with_a_token_or_by_choice(sqlite_world, monkeypatch):
    connected(sqlite_world, monkeypatch, webhook(FetchBack(token=InQuery("key"))))
    connected(sqlite_world, monkeypatch, webhook(FetchBack()), name="open", secret="")
    with serving(sqlite_world, monkeypatch) as site:
        assert site.ask("POST", f"/webhooks/acme?key={SECRET}", BODY)[0] == 202
        assert site.ask("POST", "/webhooks/acme?key=x&key=", BODY)[0] == 401
        assert site.ask("POST", "/webhooks/acme", BODY)[0] == 401
        assert site.ask("POST", "/webhooks/open", BODY)[0] == 202
    assert SECRET not in str(site.stored())


# connections


def test_nobody_learns_which_connections_there_are(sqlite_world, monkeypatch):
    """Unknown, paused, without a webhook: the same in every byte."""
    connected(sqlite_world, monkeypatch, webhook(), name="paused", state="paused")
    connected(sqlite_world, monkeypatch, None, name="without")
    with serving(sqlite_world, monkeypatch) as site:
        found = [
            site.ask(method, f"/webhooks/{name}", BODY, headers())
            for name in ("unknown", "paused", "without", "", "a/b", "x" * 3000)
            for method in ("POST", "GET", "PUT")
        ]
    assert {(status, body) for status, body, _ in found} == {(404, b'{"title":"Not Found","status":404}')}
    assert {tuple(sorted({*sent} - {"date"})) for *_, sent in found} == {
        ("connection", "content-length", "content-type", "server")
    }
    assert site.notices() == []


def test_what_is_failing_still_receives(sqlite_world, monkeypatch):
    connected(sqlite_world, monkeypatch, webhook(), state="failing", reason="the token was refused")
    with serving(sqlite_world, monkeypatch) as site:
        assert site.post() == 202


def test_other_methods_are_none(acme):
    for method in ("PUT", "DELETE", "PATCH", "GET", "OPTIONS"):
        status, _, sent = acme.ask(method, "/webhooks/acme")
        assert (status, sent["allow"]) == (405, "POST")
    assert acme.ask("HEAD", "/webhooks/acme")[0] == 405


# bodies


def test_the_content_type_is_the_vendors_affair(acme):
    """What it signed it meant; and what nobody signed is refused, whatever it calls itself."""
    for kind in ("text/html", "application/x-www-form-urlencoded", "multipart/form-data", "", "\xff"):
        assert acme.post(sent={**headers(id=kind), "Content-Type": kind}) == 202
        assert acme.post(sent={"Content-Type": kind}) == 401


def test_a_compressed_body_is_refused_before_it_is_read(acme):
    for encoding in ("gzip", "br", "deflate", "GZIP", "identity, gzip", "nonsense"):
        assert acme.post(sent=headers(Content_Encoding=encoding)) == 415
    assert acme.post(sent=headers(Content_Encoding="identity")) == 202


@pytest.fixture
def small(sqlite_world, monkeypatch):
    connected(sqlite_world, monkeypatch, webhook(max_body=1000))
    with serving(sqlite_world, monkeypatch) as site:
        yield site


def test_a_body_that_is_too_big_is_refused_by_its_length(small):
    fits, big = b"x" * 1000, b"x" * 1001
    assert small.post(fits, headers(fits)) == 202
    assert small.post(big, headers(big)) == 413
    with small.raw() as line:  # before a byte of it is sent
        line.sendall(request(big)[: -len(big)])
        assert answer(line)[0] == 413


CHUNKED = b"POST /webhooks/acme HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_body_without_a_length_is_counted_while_it_comes(small):
    """And whoever sends more hears why."""
    for size in (1001, 300_000, 8 * 1024 * 1024):
        with small.raw() as line:
            line.sendall(CHUNKED + b"%x\r\n" % size + b"x" * size + b"\r\n0\r\n\r\n")
            assert answer(line)[0] == 413
    assert small.stored() == []


def test_whoever_never_ends_is_cut_off(small):
    """Refused, and then not read for ever."""
    assert cut_off(small, CHUNKED, b"10000\r\n" + b"x" * 65536 + b"\r\n")
    assert small.post(b"y", headers(b"y")) == 202


def test_who_waits_to_be_asked_for_a_body_that_is_too_big_is_told(small):
    raw = request(b"x" * 2000).replace(b"\r\n", b"\r\nExpect: 100-continue\r\n", 1)
    with small.raw() as line:
        line.sendall(raw[:-2000])
        assert answer(line)[0] == 413


def test_a_body_that_breaks_off_was_not_delivered(acme):
    """Even if what came of it is signed."""
    whole = request(b"x" * 100_000)
    for raw in (whole[:-10], request(BODY).replace(b"Content-Length: 9", b"Content-Length: 10")):
        with acme.raw() as line:
            line.sendall(raw)
            line.shutdown(socket.SHUT_WR)
            assert answer(line) == (0, b"")
    assert acme.post(sent=headers(id="2")) == 202
    assert [row["delivery"] for row in acme.stored()] == ["2"]


def test_a_length_that_is_none_is_refused(acme):
    for length in ("-1", "1, 2", "99999999999999999999999", "x", ""):
        with acme.raw() as line:
            line.sendall(f"POST /webhooks/acme HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\r\n".encode())
            assert answer(line)[0] in (400, 413)
    assert acme.stored() == []


def test_a_slow_body_is_not_waited_for(sqlite_world, monkeypatch):
    """In the time of all of it, not of each piece."""
    connected(sqlite_world, monkeypatch, webhook())

    monkeypatch.setattr("sync.web.answers.LINGER", 0.3)

    def hasty(made):
        made.receiver._patience = 0.3

    with serving(sqlite_world, monkeypatch, hasty) as site, site.raw() as line:
        raw = request(b"x" * 50)
        line.sendall(raw[:-50])
        try:
            while True:  # a byte now and then
                line.settimeout(0.05)
                line.sendall(b"x")
                try:
                    status, _ = answer(line)
                    break
                except TimeoutError:
                    continue
        finally:
            line.settimeout(20)
        assert status == 408
        assert closed(line)
        assert site.post() == 202
    assert len(site.stored()) == 1


def test_bodies_that_are_not_whole_yet_share_a_limit(sqlite_world, monkeypatch):
    connected(sqlite_world, monkeypatch, webhook())
    monkeypatch.setattr("sync.web.receiver.MOST_PARTIAL", 1_000_000)
    with serving(sqlite_world, monkeypatch) as site, site.raw() as first, site.raw() as second:
        big = b"x" * 900_000
        for line in (first, second):
            line.sendall(request(big, id=str(id(line)))[:-100])
            if line is first:
                until(lambda: site.reception.receiver._partial > 800_000, "the first body")
        assert answer(second)[0] == 503
        assert site.post() == 202
        first.sendall(big[-100:])
        assert answer(first)[0] == 202
        until(lambda: site.reception.receiver._partial == 0, "nothing partial")


BOMBS = (
    b"[" * 200_000,
    b'{"id":' * 100_000,
    b'{"id": 1' + b"0" * 400_000 + b"}",
    b'{"id": 1e999999999}',
    b'{"id": "' + b"\\ud800" * 1000 + b'"}',
    b'{"id": NaN}',
)


def test_a_bomb_is_a_body_like_any_other(sqlite_world, monkeypatch):
    """Nothing in the receiver depends on what JSON may do: signed it is stored, unsigned it is refused."""
    asking = (Echo("id", when=("type", "hello")), Ping(InBody("id"), "ping"))
    connected(sqlite_world, monkeypatch, webhook(delivery=InBody("id"), handshakes=asking))
    with serving(sqlite_world, monkeypatch) as site:
        for bomb in BOMBS:
            assert site.post(bomb, headers(bomb)) == 202
            assert site.post(bomb, {}) == 401
    assert tuple(bytes(row["body"]) for row in site.stored()) == BOMBS


def test_a_timestamp_in_a_bomb_is_a_refusal(sqlite_world, monkeypatch):
    in_body = Hmac(signature=InHeader("X-Signature"), signed="{timestamp}{body}", window=Window(at=InBody("a.b")))
    connected(sqlite_world, monkeypatch, webhook(in_body))
    with serving(sqlite_world, monkeypatch) as site:
        for bomb in (b'{"a":' * 100_000, b'{"a": {"b": ' + b"9" * 400_000 + b"}}"):
            assert site.post(bomb, {"X-Signature": "00" * 32}) == 401


# connections of the network


def test_connections_that_say_nothing_keep_nobody_out(sqlite_world, monkeypatch):
    """64 of them, half of which began a request; they are closed, and nobody waits for that."""
    connected(sqlite_world, monkeypatch, webhook())
    monkeypatch.setattr(protocol, "PATIENCE", 2.0)
    with serving(sqlite_world, monkeypatch) as site:
        silent = [site.raw() for _ in range(64)]
        for line in silent[::2]:
            line.sendall(b"POST /webhooks/acme HTTP/1.1\r\nHost: x\r\nX-Sig")
        assert [site.post(sent=headers(id=str(number))) for number in range(10)] == [202] * 10
        assert all(closed(line) for line in silent)
        for line in silent:
            line.close()


def test_a_head_without_end_is_cut_off(acme):
    assert cut_off(acme, b"POST /webhooks/acme HTTP/1.1\r\nHost: x\r\n", b"X-Filler: " + b"y" * 60_000 + b"\r\n")
    assert cut_off(acme, b"POST /webhooks/", b"y" * 60_000)
    assert acme.post() == 202


def test_a_connection_goes_on_after_a_refusal(acme):
    with acme.raw() as line:
        for id, sent, status in (("1", BODY, 202), ("2", b"another", 401), ("3", BODY, 202)):
            raw = request(BODY, id=id)
            line.sendall(raw[: -len(BODY)].replace(b"Content-Length: 9", b"Content-Length: %d" % len(sent)) + sent)
            assert answer(line)[0] == status
    assert [row["delivery"] for row in acme.stored()] == ["1", "3"]


def test_a_connection_ends_where_a_body_was_not_wanted(acme):
    """What follows on it would else be taken for a request."""
    smuggled = request(id="smuggled")
    with acme.raw() as line:
        line.sendall(request(smuggled, path="/webhooks/unknown"))
        assert answer(line)[0] == 404
        assert closed(line)
    assert acme.stored() == []


def test_requests_may_follow_each_other_without_waiting(acme):
    with acme.raw() as line:
        line.sendall(b"".join(request(id=str(number)) for number in range(5)))
        answers = [answer(line)[0] for _ in range(1)]
        assert answers == [202]
        until(lambda: len(acme.stored()) == 5, "five rows")


# handshakes


def test_an_echo_is_signed_and_answered_and_not_kept(sqlite_world, monkeypatch):
    echo = Echo("challenge", when=("type", "url_verification"))
    connected(sqlite_world, monkeypatch, webhook(handshakes=(echo,)))
    body = b'{"type": "url_verification", "challenge": "3eZbrw<b>"}'
    with serving(sqlite_world, monkeypatch) as site:
        status, said, sent = site.ask("POST", "/webhooks/acme", body, headers(body))
        assert (status, said) == (200, b"3eZbrw<b>")
        assert sent["content-type"].startswith("text/plain")
        assert site.post(body, {}) == 401
        assert site.stored() == []
        other = b'{"type": "message", "challenge": "3eZbrw"}'
        assert site.post(other, headers(other)) == 202


def test_a_challenge_is_answered_to_who_knows_the_token(sqlite_world, monkeypatch):
    meta = Challenge(echo="hub.challenge", token="hub.verify_token", secret="verify_token")
    connected(sqlite_world, monkeypatch, webhook(handshakes=(meta,)))
    connected(sqlite_world, monkeypatch, webhook(handshakes=(Challenge(echo="challenge"),)), name="open")
    connected(sqlite_world, monkeypatch, webhook(handshakes=(meta,)), name="unset", secret="")
    with serving(sqlite_world, monkeypatch) as site:

        def asked(query, name="acme"):
            return site.ask("GET", f"/webhooks/{name}?{query}")[:2]

        assert asked(f"hub.mode=subscribe&hub.challenge=1158&hub.verify_token={SECRET}") == (200, b"1158")
        for query in ("hub.challenge=1", "hub.challenge=1&hub.verify_token=", "hub.challenge=1&hub.verify_token=%FF"):
            assert asked(query)[0] == asked(query, "unset")[0] == 401
        assert asked(f"hub.verify_token={SECRET}")[0] == 400
        assert asked(f"hub.verify_token={SECRET}&hub.challenge={'x' * 5000}")[0] == 400
        assert asked("challenge=abc", "open") == (200, b"abc")
        assert site.post() == 202
    assert len(site.stored()) == 1


def test_a_secret_that_comes_by_itself_is_taken_once(sqlite_world, monkeypatch):
    connected(sqlite_world, monkeypatch, webhook(handshakes=(Capture("verification_token"),)), secret="")
    with serving(sqlite_world, monkeypatch) as site:
        assert site.post(b'{"verification_token": ""}', {}) == 401
        assert site.post(b"[" * 100_000, {}) == 401
        assert site.post(b'{"verification_token": "geheim"}', {}) == 202
        assert site.post(b'{"verification_token": "stolen"}', {}) == 401
        assert site.post(sent=headers(secret="stolen")) == 401
        assert site.post(sent=headers()) == 202
    assert len(site.stored()) == 1
    assert SECRET not in str(site.sealed())


def test_a_ping_is_signed_and_answered_and_not_kept(sqlite_world, monkeypatch):
    connected(sqlite_world, monkeypatch, webhook(handshakes=(Ping(InHeader("X-Event"), "ping"),)))
    with serving(sqlite_world, monkeypatch) as site:
        assert site.post(sent={**headers(), "X-Event": "ping"}) == 202
        assert site.post(sent={"X-Event": "ping"}) == 401
    assert site.stored() == []


# when it can't be stored


def test_a_full_queue_says_when_to_come_again(sqlite_world, monkeypatch):
    connected(sqlite_world, monkeypatch, webhook())

    def narrow(made):
        made.writer._rows_left = 0

    with serving(sqlite_world, monkeypatch, narrow) as site:
        status, _, sent = site.ask("POST", "/webhooks/acme", BODY, headers())
        assert (status, int(sent["retry-after"]) > 0) == (503, True)
        status, said, _ = site.ask("GET", "/readyz")
        assert (status, [*told(said)]) == (503, ["status", "writer"])
        assert site.ask("GET", "/livez")[0] == 200
    assert site.stored() == []


def test_a_database_that_is_away_says_when_to_come_again(sqlite_world, monkeypatch):
    connected(sqlite_world, monkeypatch, webhook())
    away = connect("postgresql+psycopg://127.0.0.1:9/nowhere")

    def lost(made):
        made.writer = made.receiver._writer = Writer(lambda: away)

    with serving(sqlite_world, monkeypatch, lost) as site:
        status, _, sent = site.ask("POST", "/webhooks/acme", BODY, headers())
        assert (status, int(sent["retry-after"]) > 0) == (503, True)


def test_a_connection_that_cannot_be_looked_up_is_not_unknown(sqlite_world, monkeypatch):
    """A vendor may take 404 for an end."""
    connected(sqlite_world, monkeypatch, webhook())

    def lost(made):
        made.doorstep._target = lambda: connect("postgresql+psycopg://127.0.0.1:9/nowhere")

    with serving(sqlite_world, monkeypatch, lost) as site:
        assert site.post() == 503
        assert site.post(name="unknown") == 503


def test_a_row_that_cannot_be_stored_is_a_fault_of_ours_and_is_counted(world, monkeypatch):
    """Only in the moment in which a connection was removed."""
    account = connected(world, monkeypatch, webhook())
    connected(world, monkeypatch, webhook(), name="other")
    with serving(world, monkeypatch) as site:
        assert site.post() == 202
        world.execute("DELETE FROM deliveries")
        world.execute("DELETE FROM connections WHERE id = :account", account=account)
        doors = site.reception.doorstep._doors
        doors["acme"] = replace(doors["acme"], until=time.monotonic() + 60)
        assert site.post() == 500
        assert site.post(name="other") == 202


def test_the_loop_is_never_held_up_by_a_look(sqlite_world, monkeypatch):
    """While a look hangs, what is known goes on."""
    connected(sqlite_world, monkeypatch, webhook())
    connected(sqlite_world, monkeypatch, webhook(), name="slow")
    go = threading.Event()

    def hang(made):
        look = made.doorstep._look
        made.doorstep._look = lambda name: (go.wait(20) if name == "slow" else None, look(name))[1]

    with serving(sqlite_world, monkeypatch, hang) as site:
        assert site.post() == 202
        waiting = threading.Thread(target=lambda: site.post(name="slow"))
        waiting.start()
        assert [site.post(sent=headers(id=str(number))) for number in range(20)] == [202] * 20
        assert waiting.is_alive()
        go.set()
        waiting.join()
    assert len(site.stored()) == 21


def test_a_server_without_a_lifespan_takes_nothing():
    """Nothing is answered that nobody stores."""
    messages = []

    async def asked():
        scope = {"type": "http", "path": "/webhooks/acme", "state": {}, "headers": []}

        async def receive():
            return {"type": "http.disconnect"}

        async def send(message):
            messages.append(message)

        await app(scope, receive, send)

    asyncio.run(asked())
    assert messages[0]["status"] == 503
