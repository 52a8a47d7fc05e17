"""A tunnel's far end: answers every request with 101, then sends back whatever comes. `echo.py PORT`."""

from __future__ import annotations

import selectors
import socket
import sys

SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"


def main(port: int) -> None:
    listener = socket.create_server(("127.0.0.1", port), backlog=1024)
    selector = selectors.DefaultSelector()
    selector.register(listener, selectors.EVENT_READ, None)
    while True:
        for key, _ in selector.select():
            if key.fileobj is listener:
                sock, _ = listener.accept()
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                selector.register(sock, selectors.EVENT_READ, bytearray())
            else:
                assert isinstance(key.fileobj, socket.socket)
                if not _serve(key.fileobj, key.data):
                    selector.unregister(key.fileobj)
                    key.fileobj.close()


def _serve(sock: socket.socket, head: bytearray) -> bool:
    """One read; `head` ends with an empty line once the tunnel is open. False at the end."""
    try:
        data = sock.recv(65536)
        if head.endswith(b"\r\n\r\n"):
            sock.sendall(data)
        else:
            head += data
            if head.endswith(b"\r\n\r\n"):
                sock.sendall(SWITCH)
    except OSError:
        return False
    return bool(data)


if __name__ == "__main__":
    main(int(sys.argv[1]))
