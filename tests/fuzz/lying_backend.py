"""A backend that answers as it is told to, however wrong: each request names its script by the last part of its path.

What has no script is answered well. A connection on which bytes were sent that nobody had asked for must not be used again: that is
noted in `complaints`, unless the next request may have been on its way already.
"""

from __future__ import annotations

import os
import select
import socket
import ssl
import threading
import time
from pathlib import Path

from tests.parity.wire import Message, Wire
from tests.processes import free_port, wait_until
from tests.system.attack_ground import reset
from tests.system.proxied import End, answer

Step = tuple[str, bytes]
PATIENCE = 8.0
ON_ITS_WAY = 0.3  # seconds after unsolicited bytes in which a request may still arrive


class LyingBackend:
    """Listens on two plain ports and one for TLS; `scripts` are the steps by name."""

    def __init__(self, folder: Path) -> None:
        self.scripts: dict[bytes, tuple[Step, ...]] = {}
        self.complaints: list[str] = []
        self._lock = threading.Lock()
        self._busy = 0
        self.ports = {"one": free_port(), "two": free_port(), "secure": free_port()}
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(folder / "cert.pem", folder / "cert.key")
        self._listening = []
        for name, port in self.ports.items():
            listener = socket.create_server(("127.0.0.1", port), backlog=256)
            self._listening.append(listener)
            threading.Thread(target=self._accept, args=(listener, name == "secure"), daemon=True).start()

    def _accept(self, listener: socket.socket, secure: bool) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(sock, secure), daemon=True).start()

    def _serve(self, sock: socket.socket, secure: bool) -> None:
        sock.settimeout(PATIENCE)
        try:
            if secure:
                sock = self.context.wrap_socket(sock, server_side=True)
            end = End(sock)
            while (request := end.wire.head()) is not None:
                if not self._respond(end, request):
                    return
        except (OSError, ValueError):
            pass
        finally:
            sock.close()

    def _respond(self, end: End, request: Message) -> bool:
        """Answers one request; False: the connection is over."""
        name = (request.start.split(b" ") + [b"", b""])[1].partition(b"?")[0].rpartition(b"/")[2]
        head_only = request.start.startswith(b"HEAD ")
        script = self.scripts.get(name)
        if script is None:
            _read_body(end.wire, request)
            end.send(answer(b"" if head_only else name, f"X-Case: {name.decode('latin-1')}", length=len(name)))
            return True
        with self._lock:
            self._busy += 1
        try:
            goes_on = _play(end, request, script)
        finally:
            with self._lock:
                self._busy -= 1
        return goes_on and (script[-1:] == () or script[-1][0] != "unsolicited" or self._idle(end, name, script[-1][1]))

    def await_quiet(self) -> None:
        """Returns when no script is running, and what was sent has had time to arrive."""
        wait_until(lambda: self._busy == 0, 20, "the end of all scripts")
        time.sleep(0.05)

    def _idle(self, end: End, name: bytes, data: bytes) -> bool:
        """Waits, after unsolicited bytes, for what must not come."""
        sent = time.monotonic()
        if end.wire.buffer or select.select([end.sock], [], [], ON_ITS_WAY)[0]:
            return False
        request = end.wire.head()
        if request is not None:
            self.complaints.append(
                f"script {name.decode()}: {request.start!r} on a connection that had sent {data[:20]!r} "
                f"{time.monotonic() - sent:.3f} s before"
            )
        return False

    def close(self) -> None:
        for listener in self._listening:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()


def _play(end: End, request: Message, script: tuple[Step, ...]) -> bool:
    """Does the steps of a script; False: the connection is over."""
    body_read = False
    for kind, data in script:
        if kind == "body":
            if not body_read:
                _read_body(end.wire, request)
            body_read = True
        elif not _step(end, kind, data):
            return False
    if not body_read:
        _read_body(end.wire, request)
    return True


def _read_body(wire: Wire, request: Message) -> None:
    if (request.get(b"transfer-encoding") or b"").lower() == b"chunked":
        wire.chunked(request)
    elif length := request.get(b"content-length"):
        wire.sized(request, int(length))
    if request.truncated:
        raise ConnectionError("a truncated request")


def _step(end: End, kind: str, data: bytes) -> bool:
    """Does one step; False after those that end the connection."""
    if kind in ("send", "unsolicited"):
        end.send(data)
    elif kind == "drip":
        for at in range(0, len(data), 3):
            end.send(data[at : at + 3])
            time.sleep(0.002)
    elif kind == "raw":  # below TLS
        os.write(end.sock.fileno(), data)
    elif kind == "pause":
        time.sleep(int(data) / 1000)
    elif kind == "half":
        end.half_close()
    elif kind == "reset":
        reset(end.sock)
        return False
    elif kind == "close":
        return False
    return True
