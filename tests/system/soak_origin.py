"""An origin of the soak, a process of its own that may be killed: `python -m tests.system.soak_origin PORT`.

GET is answered with the path's content, framed as the path says; a body with a receipt; `Upgrade: websocket` with an echo.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import sys
import threading

from tests.parity.wire import Message, Wire
from tests.system.proxied import answer, chunked
from tests.system.soak_content import content, receipt

PATIENCE = 30.0


def main() -> None:
    """Serves until it is killed."""
    listener = socket.create_server(("127.0.0.1", int(sys.argv[1])), backlog=512)
    while True:
        sock, _ = listener.accept()
        threading.Thread(target=_serve, args=(sock,), daemon=True).start()


def _serve(sock: socket.socket) -> None:
    sock.settimeout(PATIENCE)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    wire = Wire(sock)
    try:
        while (request := wire.request()) is not None and not request.truncated:
            if request.get(b"upgrade") == b"websocket":
                _echo(sock, wire, request)
                return
            if not _respond(sock, request):
                return
    except (OSError, ValueError):
        pass
    finally:
        sock.close()


def _respond(sock: socket.socket, request: Message) -> bool:
    method, path = request.start.split(b" ")[:2]
    if method in (b"POST", b"PUT"):
        sock.sendall(answer(receipt(request.body)))
        return True
    body = content(path.decode())
    fields = (f'ETag: "{len(body)}"', "Cache-Control: max-age=1", "Content-Type: text/plain")
    if method == b"HEAD":
        sock.sendall(answer(b"", *fields, length=len(body)))
        return True
    framing = path.rpartition(b"/")[2].partition(b"-")[0]
    if framing == b"chunked":
        head = "\r\n".join(["HTTP/1.1 200 OK", "Transfer-Encoding: chunked", *fields, "", ""]).encode()
        pieces = [body[at : at + 10_000] for at in range(0, len(body), 10_000)]
        sock.sendall(head)
        for piece in pieces:
            sock.sendall(chunked(piece, last=False))
        sock.sendall(b"0\r\n\r\n")
        return True
    if framing == b"closing":
        sock.sendall("\r\n".join(["HTTP/1.0 200 OK", *fields, "", ""]).encode() + body)
        return False
    sock.sendall(answer(body, *fields))
    return True


def _echo(sock: socket.socket, wire: Wire, request: Message) -> None:
    key = request.get(b"sec-websocket-key") or b""
    accept = base64.b64encode(hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()).decode()
    lines = ["HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade", f"Sec-WebSocket-Accept: {accept}"]
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    data = wire.take(len(wire.buffer))
    while data or (data := sock.recv(65536)):
        sock.sendall(data)
        data = b""


if __name__ == "__main__":
    main()
