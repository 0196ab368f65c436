"""The guard: which addresses may be reached, and that the judged address is the one that is reached."""

import socket
from ipaddress import ip_address, ip_network

import pytest

from sync.api.guard import BlockedAddress, addresses, connect, may_reach

BLOCKED = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
    "240.0.0.1", "255.255.255.255", "192.0.2.1", "198.18.0.1", "::", "::1", "fe80::1", "fc00::1", "ff02::1", "fec0::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "2002:7f00:1::",
    "::7f00:1", "2001:0:7f00:1::", "2001:db8::1",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]


@pytest.mark.parametrize("address", BLOCKED)
def test_an_address_that_is_not_public_is_not_reached(address):
    assert not may_reach(ip_address(address), ())


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_reached(address):
    assert may_reach(ip_address(address), ())


@pytest.mark.parametrize("address", ["10.1.2.3", "::ffff:10.1.2.3", "64:ff9b::a01:203"])
def test_a_network_that_the_operator_allows_is_reached_in_every_spelling(address):
    assert may_reach(ip_address(address), [ip_network("10.1.0.0/16")])
    assert not may_reach(ip_address(address), [ip_network("10.2.0.0/16")])


@pytest.mark.parametrize("host", ["localhost", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "::1"])
def test_every_spelling_of_this_machine_is_refused_with_the_variable_to_set(host):
    with pytest.raises(BlockedAddress, match=r"(?s)TIDELOCK_ALLOW_PRIVATE") as caught:
        addresses(host, 80, ())
    assert host in str(caught.value)


def test_one_private_address_among_public_ones_refuses_the_host(monkeypatch):
    answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 443)) for one in ("8.8.8.8", "10.0.0.1")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
    with pytest.raises(BlockedAddress, match=r"rebind\.example \(10\.0\.0\.1\)"):
        addresses("rebind.example", 443, ())


def test_the_name_is_looked_up_once_and_the_judged_address_is_the_one_connected_to(monkeypatch):
    """A name whose second answer is another address gains nothing: there is no second question."""
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]

        def once(host, *_, **__):
            asked.append(host)
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

        monkeypatch.setattr(socket, "getaddrinfo", once)
        with connect("rebind.example", port, [ip_network("127.0.0.0/8")], 5) as sock:
            assert sock.getpeername() == ("127.0.0.1", port)
    assert asked == ["rebind.example"]


def test_the_next_address_is_tried_where_one_does_not_answer(monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.2", 0)) as closed:
        port, dead = server.getsockname()[1], closed.getsockname()[1]
        closed.close()
        both = (("127.0.0.2", dead), ("127.0.0.1", port))
        answers = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", one) for one in both]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answers)
        with connect("two.example", port, [ip_network("127.0.0.0/8")], 5) as sock:
            assert sock.getpeername()[1] == port


@pytest.mark.parametrize("host", ["a..b", "x" * 70 + ".example"])
def test_a_text_that_is_no_host_is_an_os_error_as_an_unknown_name_is(host):
    with pytest.raises(OSError):
        addresses(host, 80, ())
