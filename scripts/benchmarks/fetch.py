"""The floors' HTTP client: one keep-alive connection on a raw socket, Content-Length bodies only."""

import socket
from urllib.parse import urlsplit


class Fetch:
    """GETs from one host, one at a time. Raises ConnectionError when the source hangs up or says not 200."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self.host = f"{where.hostname}:{where.port}"
        self.socket = socket.create_connection((where.hostname, where.port), timeout=60)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray(1 << 20)

    def get(self, target: str) -> memoryview:
        """The body of GET `target`, valid until the next call."""
        self.socket.sendall(f"GET {target} HTTP/1.1\r\nHost: {self.host}\r\n\r\n".encode())
        view = memoryview(self.buffer)
        filled, end = 0, -1
        while end < 0:
            filled += self._receive(view[filled:])
            end = self.buffer.find(b"\r\n\r\n", 0, filled)
        total = end + 4 + self._length(bytes(view[:end]))
        if total > len(self.buffer):
            raise ConnectionError(f"a response of {total} bytes is larger than the floor's buffer")
        while filled < total:
            filled += self._receive(view[filled:total])
        return view[end + 4 : total]

    def _receive(self, room: memoryview) -> int:
        count = self.socket.recv_into(room)
        if not count:
            raise ConnectionError("the source closed the connection")
        return count

    @staticmethod
    def _length(head: bytes) -> int:
        if not head.startswith(b"HTTP/1.1 200"):
            raise ConnectionError(f"the source answered {head.splitlines()[0].decode()}")
        at = head.index(b"Content-Length: ") + 16
        return int(head[at:].split(b"\r\n", 1)[0])
