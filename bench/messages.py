"""WebSocket messages through a tunnel; prints how many. `messages.py PORT CONNECTIONS SECONDS`."""

from __future__ import annotations

import selectors
import socket
import sys
import time

OPENING = (
    b"GET /ws HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
)
MESSAGE = b"\x82\xc0\x00\x00\x00\x00" + b"m" * 64  # a masked binary frame of 64 bytes


def main(port: int, connections: int, seconds: float) -> None:
    selector = selectors.DefaultSelector()
    for _ in range(connections):
        sock = _open(port)
        sock.sendall(MESSAGE)
        selector.register(sock, selectors.EVENT_READ, [0])
    done = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for key, _ in selector.select(1):
            assert isinstance(key.fileobj, socket.socket)
            key.data[0] += len(key.fileobj.recv(65536)) or sys.exit("the tunnel was closed")
            if key.data[0] == len(MESSAGE):
                key.data[0] = 0
                done += 1
                key.fileobj.sendall(MESSAGE)
    print(done)


def _open(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), timeout=5)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.sendall(OPENING)
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        data = sock.recv(4096)
        if not data:
            sys.exit("no tunnel")
        head += data
    if not head.startswith(b"HTTP/1.1 101 "):
        sys.exit(f"no tunnel: {head!r}")
    return sock


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))
