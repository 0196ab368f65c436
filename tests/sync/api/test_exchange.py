"""One exchange with a real server: whole within its time and size, or a sentence that says why not."""

import gzip
import socket
import ssl
import struct
import time
import tracemalloc
import zlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from connectors import Outcome
from sync.api import wire as wire_module
from sync.api.exchange import exchange
from sync.api.origin import Origin, origin
from sync.api.wire import Wire
from sync.door import OutcomeError
from tests.sync.api.conftest import CANARY, LOOPBACK
from tests.sync.api.talker import answer, drip, silence


def ask(url, *, seconds=5.0, most=1_000_000, allowed=LOOPBACK, **more):
    target = more.pop("target", f"/x?key={CANARY}")
    return exchange(
        Wire(origin(url), allowed), "GET", target, {"Accept-Encoding": "gzip"}, seconds=seconds, most=most, **more
    )


def fails(url, **more):
    """The failure, which never says the secret: not in its text, nor in any error that hangs on it."""
    with pytest.raises(OutcomeError) as caught:
        ask(url, **more)
    error = caught.value
    assert CANARY not in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    return error


def test_an_answer_is_whole_with_lower_case_headers(talks):
    server = talks(lambda *_: answer(b'{"a":1}', X_Left="7"))
    got = ask(server.url)
    assert (got.status, got.body, got.headers["x-left"]) == (200, b'{"a":1}', "7")


def test_repeated_headers_are_joined(talks):
    server = talks(lambda *_: b"HTTP/1.1 200 OK\r\nLink: <a>\r\nLink: <b>\r\nContent-Length: 0\r\n\r\n")
    assert ask(server.url).headers["link"] == "<a>, <b>"


def test_connections_are_kept(talks):
    server = talks(lambda *_: answer(b"x" * 100_000))
    line = Wire(origin(server.url), LOOPBACK)
    for _ in range(3):
        exchange(line, "GET", "/", {}, seconds=5, most=1_000_000)
    assert [heard.connection for heard in server.heard] == [1, 1, 1]


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress], ids=["gzip", "deflate"])
def test_a_packed_body_is_unpacked(talks, pack, request):
    body = b'{"rows": [1, 2, 3]}' * 1000
    server = talks(lambda *_: answer(pack(body), Content_Encoding=request.node.callspec.id))
    assert ask(server.url).body == body


def test_a_body_packed_in_several_members_is_unpacked_whole(talks):
    server = talks(lambda *_: answer(gzip.compress(b"one ") + gzip.compress(b"two"), Content_Encoding="gzip"))
    assert ask(server.url).body == b"one two"


def test_a_chunked_body_is_put_together(talks):
    chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"
    assert ask(talks(lambda *_: chunks).url).body == b"abcde"


def test_a_body_without_a_length_ends_with_the_connection(talks):
    def say(heard, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\nabc")

    assert ask(talks(say).url).body == b"abc"


# --- size


def test_an_announced_size_above_the_cap_is_refused_unread(talks):
    server = talks(lambda *_: b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n")
    error = fails(server.url)
    assert error.outcome is Outcome.FAIL_STREAM
    assert "1,000,000 bytes" in str(error)
    assert "TIDELOCK_MAX_BODY" in str(error)


def test_a_body_of_the_largest_size_is_read(talks):
    server = talks(lambda *_: answer(b"x" * 5000))
    assert len(ask(server.url, most=5000).body) == 5000
    assert fails(server.url, most=4999).outcome is Outcome.FAIL_STREAM


def test_a_size_that_was_not_announced_is_refused_when_it_is_reached(talks):
    def say(heard, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b"x" * 65536)

    assert fails(talks(say).url).outcome is Outcome.FAIL_STREAM


def test_endless_chunks_are_refused(talks):
    def say(heard, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")

    assert fails(talks(say).url).outcome is Outcome.FAIL_STREAM


def test_a_gzip_bomb_is_refused_by_its_unpacked_size(talks):
    """20 MB in 20 kB."""
    bomb = gzip.compress(b"\0" * 20_000_000)
    assert len(bomb) < 30_000
    server = talks(lambda *_: answer(bomb, Content_Encoding="gzip"))
    tracemalloc.start()
    error = fails(server.url)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 10_000_000
    assert error.outcome is Outcome.FAIL_STREAM
    assert "TIDELOCK_MAX_BODY" in str(error)


def test_an_encoding_that_nobody_asked_for_is_refused(talks):
    error = fails(talks(lambda *_: answer(b"x", Content_Encoding="br")).url)
    assert error.outcome is Outcome.FAIL_STREAM
    assert "'br'" in str(error)


# --- cut short


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3000000\r\n\r\n" + b"x" * 1_500_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n10\r\nabc",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 404 Not Found\r\nContent-Le",
        b"HTTP/1.1 2",
        b"",
        b"what is this\r\n\r\n",
    ],
    ids=["length", "long", "chunk", "chunks", "headers", "no-headers", "status", "nothing", "no-http"],
)
def test_an_answer_that_is_cut_short_is_asked_for_again(talks, said):
    def say(heard, connection):
        connection.sendall(said)

    assert fails(talks(say).url, most=5_000_000).outcome is Outcome.RETRY


@pytest.mark.parametrize("body", [gzip.compress(b"x" * 1000)[:-9], b"no gzip at all"], ids=["cut", "broken"])
def test_a_packed_body_that_is_cut_short_or_broken_is_asked_for_again(talks, body):
    assert fails(talks(lambda *_: answer(body, Content_Encoding="gzip")).url).outcome is Outcome.RETRY


def test_a_reset_connection_is_asked_again(talks):
    def say(heard, connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    error = fails(talks(say).url)
    assert error.outcome is Outcome.RETRY
    assert "reset" in str(error)


def test_a_port_where_nobody_listens_is_asked_again():
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"http://127.0.0.1:{server.getsockname()[1]}"
    error = fails(url)
    assert error.outcome is Outcome.RETRY
    assert "Connection refused" in str(error)


def test_an_unknown_host_is_asked_again():
    error = fails("http://nobody.invalid")
    assert error.outcome is Outcome.RETRY
    assert "nobody.invalid" in str(error)


# --- time


def test_a_silent_server_does_not_hold_the_worker(talks):
    server = talks(lambda *_: silence())
    error = fails(server.url, seconds=0.3)
    assert error.outcome is Outcome.RETRY
    assert "0.3 seconds" in str(error)


@pytest.mark.parametrize("at", ["status", "headers", "body", "chunks"])
def test_a_dripping_server_is_left_when_the_time_is_up(talks, at):
    """Each byte comes well within a read's timeout; only the time of all of them is bounded."""
    said = {
        "status": b"HTTP/1.1 200 OK" + b"K" * 400,
        "headers": b"HTTP/1.1 200 OK\r\n" + b"X-Drip: 1\r\n" * 40,
        "body": b"HTTP/1.1 200 OK\r\nContent-Length: 400\r\n\r\n" + b"x" * 400,
        "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * 80,
    }[at]
    server = talks(lambda heard, connection: drip(connection, said))
    began = time.monotonic()
    error = fails(server.url, seconds=0.5)
    assert error.outcome is Outcome.RETRY
    assert "0.5 seconds" in str(error)
    assert time.monotonic() - began < 10  # the whole drip takes 20


def test_after_a_failure_the_connection_is_not_used_again(talks):
    said = iter([b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\nrest of the first", answer(b"second")])
    server = talks(lambda *_: next(said))
    line = Wire(origin(server.url), LOOPBACK)
    with pytest.raises(OutcomeError):
        exchange(line, "GET", "/", {}, seconds=5, most=1_000_000)
    assert exchange(line, "GET", "/", {}, seconds=5, most=1_000_000).body == b"second"
    assert [heard.connection for heard in server.heard] == [1, 2]


# --- where to


def test_a_private_address_is_not_reached_and_the_variable_is_named(talks):
    server = talks(lambda *_: answer())
    error = fails(server.url, allowed=())
    assert error.outcome is Outcome.FAIL_CONNECTION
    assert "127.0.0.1" in str(error)
    assert "TIDELOCK_ALLOW_PRIVATE" in str(error)
    assert not server.heard


def test_the_environment_has_no_say(talks, monkeypatch, tmp_path):
    """No proxy is used, and no netrc is read."""
    server = talks(lambda *_: answer())
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password word\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert ask(server.url).status == 200
    assert "authorization" not in server.heard[0].headers


# --- TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate of its own making for "localhost"; (context that shows it, file)."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    cert, private = folder / "cert.pem", folder / "key.pem"
    cert.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    private.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, private)
    return context, cert


def test_an_untrusted_certificate_stops_the_connection(talks, certificate):
    server = talks(lambda *_: answer(), certificate[0])
    error = fails(f"https://localhost:{server.port}")
    assert error.outcome is Outcome.FAIL_CONNECTION
    assert "self-signed" in str(error)
    assert not server.heard


def test_a_certificate_for_another_name_stops_the_connection(talks, certificate, monkeypatch):
    trust(monkeypatch, certificate[1])
    server = talks(lambda *_: answer(), certificate[0])
    assert fails(server.url).outcome is Outcome.FAIL_CONNECTION
    assert not server.heard


def test_a_trusted_server_is_asked_by_its_name_though_its_address_was_judged(talks, certificate, monkeypatch):
    trust(monkeypatch, certificate[1])
    server = talks(lambda *_: answer(b"x" * 100_000), certificate[0])
    line = Wire(Origin("https", "localhost", server.port), LOOPBACK)
    for _ in range(2):
        assert len(exchange(line, "GET", "/", {}, seconds=5, most=1_000_000).body) == 100_000
    assert [heard.headers["host"] for heard in server.heard] == [f"localhost:{server.port}"] * 2
    assert server.heard[1].connection == 1


def test_a_drip_through_tls_is_left_when_the_time_is_up(talks, certificate, monkeypatch):
    trust(monkeypatch, certificate[1])
    server = talks(lambda *heard: drip(heard[1], b"HTTP/1.1 200 " + b"K" * 400), certificate[0])
    assert fails(f"https://localhost:{server.port}", seconds=0.5).outcome is Outcome.RETRY


def test_a_server_without_tls_stops_a_connection_that_asks_for_it(talks):
    server = talks(lambda *_: answer())
    assert fails(f"https://localhost:{server.port}").outcome in (Outcome.FAIL_CONNECTION, Outcome.RETRY)


def trust(monkeypatch, cert):
    monkeypatch.setattr(wire_module, "tls", lambda: ssl.create_default_context(cafile=cert))
