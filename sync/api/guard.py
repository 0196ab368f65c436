"""The guard: which addresses a user-given URL may reach.

A host is looked up once for each TCP connection, every address that it has is judged, and the connection goes
to an address that was judged: a name that answers differently the second time (DNS rebinding) gains nothing.
"""

import socket
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from connectors import TidelockError

Address = IPv4Address | IPv6Address
Networks = Sequence[IPv4Network | IPv6Network]

_GLOBAL_UNICAST = IPv6Network("2000::/3")  # all that IANA hands out; the rest of IPv6 is local or reserved
_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")


class BlockedAddress(TidelockError):
    """The host leads to an address that may not be reached."""


def may_reach(address: Address, allowed: Networks) -> bool:
    """Whether an address is public, or inside a network that the operator allows.

    An IPv6 address that carries an IPv4 address (mapped, NAT64, 6to4) is judged by what it carries.
    """
    inner = _carried(address)
    if inner is not None:
        return may_reach(inner, allowed)
    if any(address in network for network in allowed):
        return True
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _carried(address: Address) -> IPv4Address | None:
    if isinstance(address, IPv4Address):
        return None
    if address.ipv4_mapped:
        return address.ipv4_mapped
    if address in _SIX_TO_FOUR:
        return address.sixtofour
    return IPv4Address(int(address) & 0xFFFFFFFF) if address in _NAT64 else None


def addresses(host: str, port: int, allowed: Networks) -> list[tuple[int, tuple[str, int]]]:
    """(family, socket address) of the host; BlockedAddress if any of them may not be reached.

    Whatever the C library takes for an address ("127.1", "0x7f000001") is judged as the address that it
    means. Raises OSError where the name is not known.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except UnicodeError as error:
        raise OSError(0, f"{host!r} is no host's name") from error
    for _, _, _, _, where in found:
        address = ip_address(str(where[0]))
        if not may_reach(address, allowed):
            named = f" ({address})" if str(address) != host else ""
            raise BlockedAddress(
                f"{host}{named} is a private or reserved address. If it is meant to be reached, add its "
                f"network to TIDELOCK_ALLOW_PRIVATE, as in TIDELOCK_ALLOW_PRIVATE={_network(address)}"
            )
    return [(family, where) for family, _, _, _, where in found]  # type: ignore[misc]  # inet families only


def _network(address: Address) -> str:
    return f"{address}/{address.max_prefixlen}"


def connect(host: str, port: int, allowed: Networks, timeout: float) -> socket.socket:
    """A connected socket to the first judged address that answers, `timeout` seconds for all of them
    together."""
    ends = time.monotonic() + timeout
    failure = OSError(0, f"{host} has no address")
    for family, where in addresses(host, port, allowed):
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(max(ends - time.monotonic(), 0.001))
            sock.connect(where)
        except OSError as error:
            sock.close()
            failure = error
        else:
            return sock
    raise failure
