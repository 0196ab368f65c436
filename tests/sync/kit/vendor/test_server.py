"""The wire: connections are kept, odd requests refused, and stopping hangs up."""

import socket

import httpx
import pytest

from sync.kit.vendor import serve

GET = b"GET /v1/notes HTTP/1.1\r\nHost: x\r\n\r\n"


def talk(url: str, *sent: bytes) -> bytes:
    host, _, port = url.removeprefix("http://").partition(":")
    got = b""
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        for data in sent:
            connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        while data := connection.recv(65_536):
            got += data
    return got


def test_one_connection_serves_many_requests(notes, served):
    got = talk(served(notes(1)).url, GET, GET, GET)
    assert got.count(b"HTTP/1.1 200 OK") == 3


def test_close_is_obeyed(notes, served):
    got = talk(served(notes(1)).url, GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), GET)
    assert got.count(b"HTTP/1.1 200 OK") == 1


@pytest.mark.parametrize(
    "request_",
    [
        b"nonsense\r\n\r\n",
        b"GET /v1/notes HTTP/1.0\r\n\r\n",
        b"POST /v1/notes HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /v1/notes HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /v1/notes HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n",
    ],
)
def test_what_is_no_request_gets_a_400_and_the_end(notes, served, request_):
    got = talk(served(notes(1)).url, request_)
    assert got.startswith(b"HTTP/1.1 400 Bad Request")


def test_a_head_has_no_body(notes, served):
    head, _, body = talk(served(notes(1)).url, GET.replace(b"GET", b"HEAD")).partition(b"\r\n\r\n")
    assert body == b""
    assert b"Content-Length" in head


def test_unknown_paths_are_a_404(notes, asker):
    client = asker(notes(1))
    for path in ("/", "/v1", "/v1/other", "/v1/notes/1/others", "/accounts/7/v1/notes"):
        assert client.get(path).status_code == 404


def test_stopping_hangs_up_on_open_connections(notes):
    with httpx.Client(verify=False) as client:
        with serve(notes(1)) as server:
            client.get(f"{server.url}/v1/notes")
        with pytest.raises(httpx.TransportError):
            client.get(f"{server.url}/v1/notes")


def test_text_beyond_ascii_survives(notes, asker):
    vendor = notes(0)
    vendor.create("notes", None, {"text": "žluťoučký 🐎 \u2028"})
    assert asker(vendor).get("/v1/notes").json()["data"][0]["text"] == "žluťoučký 🐎 \u2028"
