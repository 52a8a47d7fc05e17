"""What the attack tests stand on: Portico in front of a backend that records every byte and answers as it is told.

`PORTICO_TEST_PYTHONPATH` names a compiled tree to attack instead of the sources.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from tests.processes import Process, children, free_port, wait_until

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
Script = Callable[[socket.socket, bytes], None]


class RawBackend:
    """Reads one request head (and its body, by length or chunks) after the other; `scripts[path]` answers it."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []  # every request, head and body, in the order of arrival
        self.scripts: dict[bytes, Script] = {}
        self.connections = 0
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(peer,), daemon=True).start()

    def _serve(self, peer: socket.socket) -> None:
        peer.settimeout(20)
        data = b""
        try:
            while True:
                while b"\r\n\r\n" not in data:
                    more = peer.recv(65536)
                    if not more:
                        return
                    data += more
                head, _, data = data.partition(b"\r\n\r\n")
                body, data = self._body(peer, head, data)
                self.seen.append(head + b"\r\n\r\n" + body)
                target = head.split(b" ")[1] if head.count(b" ") > 1 else b""
                script = self.scripts.get(target.partition(b"?")[0])
                if script is None:
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(target), target))
                else:
                    script(peer, head)
        except OSError:
            pass
        finally:
            peer.close()

    @staticmethod
    def _body(peer: socket.socket, head: bytes, data: bytes) -> tuple[bytes, bytes]:
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:] if b": " in line)
        if b"chunked" in fields.get(b"transfer-encoding", b""):
            while not data.endswith(b"0\r\n\r\n"):
                more = peer.recv(65536)
                if not more:
                    raise OSError
                data += more
            return data, b""
        length = int(fields.get(b"content-length", b"0"))
        while len(data) < length:
            more = peer.recv(65536)
            if not more:
                raise OSError
            data += more
        return data[:length], data[length:]

    def close(self) -> None:
        self._socket.close()


class Ground:
    """A running Portico and its backend."""

    def __init__(
        self,
        folder: Path,
        locations: str,
        *,
        http: str = "",
        main: str = "",
        server: str = "",
        connections: int = 512,
        rlimit: int = 0,
        servers: str = "",
    ) -> None:
        self.folder = folder
        self.backend = RawBackend()
        self.port = free_port()
        for name in ("html", "secret", "html/pics", "html/dir"):
            (folder / name).mkdir(exist_ok=True)
        (folder / "secret/key").write_text("SECRET")
        (folder / "html/pics/a").write_text("picture")
        (folder / "html/index.html").write_text("home")
        user = "user root;" if os.geteuid() == 0 else ""
        text = f"""
            daemon off; worker_processes 1; {user} error_log error.log info; pid portico.pid; {main}
            events {{ worker_connections {connections}; }}
            http {{
                log_format attack '$remote_addr "$request" $status "$http_user_agent" "$http_x"';
                access_log access.log attack; {http}
                upstream app {{ server 127.0.0.1:{self.backend.port}; keepalive 8; }}
                server {{ listen 127.0.0.1:{self.port}; server_name localhost; root html; {server} {locations} }}
                {servers}
            }}"""
        (folder / "nginx.conf").write_text(text.replace("BACKEND", str(self.backend.port)))
        env = {"PORTICO_ATTACK": "1"}
        tree = os.environ.get("PORTICO_TEST_PYTHONPATH")
        if tree:
            env["PYTHONPATH"] = tree
        argv = [
            sys.executable,
            "-m",
            "portico",
            "-p",
            f"{folder}/",
            "-c",
            str(folder / "nginx.conf"),
            "-e",
            f"{folder}/error.log",
        ]
        if rlimit:
            argv = ["prlimit", f"--nofile={rlimit}:{rlimit}", *argv]
        self.process = Process(argv, folder / "output", env=env)
        self.process.wait_listening(self.port)
        self.worker = wait_until(lambda: children(self.process.pid), what="a worker")[0]

    def close(self) -> None:
        self.process.stop()
        self.backend.close()

    def connect(self, seconds: float = 5.0, port: int = 0) -> socket.socket:
        sock = socket.create_connection(("127.0.0.1", port or self.port), timeout=seconds)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def ask(self, data: bytes, seconds: float = 5.0, port: int = 0) -> bytes:
        """Send bytes, half-close nothing, read until the other side closes or is silent for `seconds`."""
        with self.connect(seconds, port) as sock:
            sock.sendall(data)
            return drain(sock)

    def get(self, target: bytes, *fields: bytes) -> bytes:
        lines = b"".join(field + b"\r\n" for field in fields)
        return self.ask(b"GET %b HTTP/1.1\r\nHost: localhost\r\n%bConnection: close\r\n\r\n" % (target, lines))

    def latency(self, target: bytes = b"/ping") -> float:
        started = time.monotonic()
        assert self.get(target).startswith(b"HTTP/1.1 ")
        return time.monotonic() - started

    def error_log(self) -> str:
        return (self.folder / "error.log").read_text(errors="surrogateescape")

    def check(self) -> None:
        """The worker lives, is the same, serves, and met nothing that it did not expect."""
        assert self.process.alive()
        assert children(self.process.pid) == [self.worker]
        assert self.get(b"/ping").startswith(b"HTTP/1.1 200")
        log = self.error_log()
        assert "internal error" not in log, log[log.index("internal error") :][:500]
        assert "Traceback" not in self.process.output(), self.process.output()

    def memory(self) -> int:
        """Resident bytes of the worker."""
        return int(Path(f"/proc/{self.worker}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.worker}/fd"))


def drain(sock: socket.socket) -> bytes:
    """All that comes until the end, a reset, or the socket's timeout."""
    got = b""
    try:
        while True:
            data = sock.recv(65536)
            if not data:
                return got
            got += data
    except OSError:
        return got


def reset(sock: socket.socket) -> None:
    """Close with RST."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
