"""Portico between a scripted client and scripted upstreams: tests that read as a conversation.

    proxy = Proxied(folder, {"slow": "proxy_read_timeout 1s;"})     # location /slow/ with an upstream of its own
    client = proxy.get("/slow/x")
    upstream = proxy.accept("slow")
    assert upstream.request().start == b"GET /slow/x HTTP/1.1"
    upstream.send(answer(b"hello"))
    assert client.response().body == b"hello"

Every wait is bounded by `PATIENCE`. The process is ended by its pid, and no test passes with an `internal error` in the log.
PORTICO_TEST_PYTHONPATH, when set, is where the tested package comes from (a compiled tree).
"""

from __future__ import annotations

import os
import random
import re
import select
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

from tests.parity.wire import Message, Wire
from tests.processes import PORTICO, Process, children, free_port, listening, text_of, wait_until
from tests.system.queues import queued

PATIENCE = 8.0
MAIN = """\
worker_processes {workers};
user {user};
pid {folder}/run.pid;
error_log {folder}/error.log info;
events {{ worker_connections 1024; }}
http {{
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    log_format seen '$request_uri $status $upstream_status "$upstream_addr" $body_bytes_sent $upstream_response_length';
    access_log {folder}/access.log seen;
    default_type text/plain;
    {http}
    server {{
        listen 127.0.0.1:{port}{listen};
        server_name front.example;
        {server}
    }}
}}
"""
Answer = Callable[["End", Message], None]


def answer(body: bytes = b"", *fields: str, status: str = "200 OK", length: int = -1) -> bytes:
    """A response with a length (of the body, unless told)."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length < 0 else length}", *fields, "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def chunked(*pieces: bytes, last: bool = True) -> bytes:
    """Pieces in the chunked coding."""
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + (
        b"0\r\n\r\n" if last else b""
    )


def make_certificate(folder: Path) -> None:
    """Write `cert.pem` and `cert.key`, of a certificate for localhost that signs itself, into `folder`."""
    words = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost"
    subprocess.run([*words.split(), "-keyout", "cert.key", "-out", "cert.pem"], cwd=folder, check=True, capture_output=True)


@lru_cache(maxsize=4)
def _noise(size: int) -> bytes:
    return random.Random(1).randbytes(size)


def pattern(size: int) -> bytes:
    """Bytes of which no two places look alike, so that loss and repetition show."""
    return _noise(1 << 24)[:size]


class End:
    """One end of a connection: what the test sends and reads."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE)
        self.sock = sock
        self.wire = Wire(sock)

    def send(self, data: bytes) -> End:
        self.sock.sendall(data)
        return self

    def request(self) -> Message:
        """The next request; a fixed or chunked body with it."""
        message = self.wire.request()
        assert message is not None, "the connection ended before a request"
        return message

    def head(self) -> Message:
        """A head alone; the body stays to be read."""
        message = self.wire.head()
        assert message is not None, "the connection ended before a head"
        return message

    def response(self, method: bytes = b"GET") -> Message:
        """The next response, whole or `truncated`."""
        message = self.wire.response(method)
        assert message is not None, "the connection ended before a response"
        return message

    def exactly(self, size: int) -> bytes:
        return self.wire.exactly(size)

    def ended(self) -> bool:
        """Wait for the end of the peer's stream; what came before it is thrown away."""
        while self.wire.fill():
            self.wire.take(len(self.wire.buffer))
        return True

    def rest(self) -> bytes:
        """Everything up to the end of the stream."""
        while self.wire.fill():
            pass
        return self.wire.take(len(self.wire.buffer))

    def silent(self, seconds: float = 0.15) -> bool:
        """Whether nothing, not even the end, comes within `seconds`."""
        self.sock.settimeout(seconds)
        try:
            if not self.wire.buffer:
                self.sock.recv(1, socket.MSG_PEEK)
            return False
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(PATIENCE)

    def taken(self) -> bool:
        """Wait until the other end's process has read everything that was sent: no queue in the kernel holds any of it."""
        near, far = self.sock.getsockname(), self.sock.getpeername()
        wait_until(lambda: queued(near, far) == queued(far, near) == 0, what="the other end reads all that was sent")
        return True

    def taken_by_kernel(self) -> None:
        """Wait until the other end's kernel has everything that was sent, whether or not its process reads it."""
        near, far = self.sock.getsockname(), self.sock.getpeername()
        wait_until(lambda: queued(near, far) == 0, what="the other end's kernel has all that was sent")

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def close(self) -> None:
        self.sock.close()

    def __enter__(self) -> End:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Upstream:
    """A listening socket whose connections the test accepts one by one, or a function serves."""

    def __init__(self, address: tuple[str, int] | str, tls: ssl.SSLContext | None = None) -> None:
        self.address = address
        self.tls = tls
        self.sock = socket.socket(socket.AF_UNIX if isinstance(address, str) else socket.AF_INET)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.sock.bind(address)
        self.sock.listen(128)
        self.sock.settimeout(PATIENCE)
        self.accepted = 0
        self.served = 0
        self.ends: list[End] = []

    @property
    def name(self) -> str:
        return f"unix:{self.address}" if isinstance(self.address, str) else f"127.0.0.1:{self.address[1]}"

    def accept(self, receive_buffer: int = 0) -> End:
        sock, _ = self.sock.accept()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.accepted += 1
        sock.settimeout(PATIENCE)
        end = End(self.tls.wrap_socket(sock, server_side=True) if self.tls is not None else sock)
        self.ends.append(end)
        return end

    def next_of(self, end: End) -> End:
        """The end on which the next request comes: `end`, or a new connection."""
        poll = select.poll()
        poll.register(end.sock, select.POLLIN)
        poll.register(self.sock, select.POLLIN)
        ready = [fd for fd, _ in poll.poll(PATIENCE * 1000)]
        assert ready, "no request came"
        return end if end.sock.fileno() in ready else self.accept()

    def untouched(self, seconds: float = 0.15) -> bool:
        """Whether nobody connects within `seconds`."""
        self.sock.settimeout(seconds)
        try:
            self.sock.accept()[0].close()
            return False
        except TimeoutError:
            return True
        finally:
            self.sock.settimeout(PATIENCE)

    def serve(self, say: Answer) -> Upstream:
        """From now on, `say(end, request)` for every request of every connection, each in its thread."""
        self.sock.settimeout(None)
        threading.Thread(target=self._serve, args=(say,), daemon=True).start()
        return self

    def _serve(self, say: Answer) -> None:
        while True:
            try:
                sock, _ = self.sock.accept()
            except OSError:
                return
            self.accepted += 1
            threading.Thread(target=self._converse, args=(sock, say), daemon=True).start()

    def _converse(self, sock: socket.socket, say: Answer) -> None:
        try:
            sock.settimeout(PATIENCE)
            if self.tls is not None:
                sock = self.tls.wrap_socket(sock, server_side=True)
            end = End(sock)
            while (request := end.wire.request()) is not None:
                self.served += 1
                say(end, request)
        except (OSError, ValueError, AssertionError):
            pass
        finally:
            sock.close()

    def close(self) -> None:
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.sock.close()
        for end in self.ends:
            end.close()


class Proxied:
    """One Portico. `locations`: name → directives; `/name/` is passed to an upstream of that name, unless the directives
    have a `proxy_pass` of their own. In all texts `@name@` is the address of the upstream `name`, `@folder@` the folder.
    """

    def __init__(
        self,
        locations: Mapping[str, str],
        *,
        http: str = "",
        server: str = "",
        workers: int = 1,
        listen: str = "",
        files: Mapping[str, bytes] | None = None,
        tls: Mapping[str, ssl.SSLContext] | None = None,
        wrap: tuple[str, ...] = (),
        user: str = "root",
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="proxied-", dir="/tmp"))
        self.folder.chmod(0o755)  # `user` reads what is in it
        self.port = free_port()
        self.upstreams: dict[str, Upstream] = {}
        self.tls = tls or {}
        self.accepted: list[End] = []
        self._read = 0
        for name, content in (files or {}).items():
            (self.folder / name).write_bytes(content)
        text = "\n".join(self._location(name, directives) for name, directives in locations.items())
        http += "\n" + "\n".join(self._group(name) for name, directives in locations.items() if "proxy_pass " not in directives)
        conf = self.folder / "nginx.conf"
        conf.write_text(
            MAIN.format(
                workers=workers,
                user=user,
                folder=self.folder,
                port=self.port,
                listen=f" {listen}" if listen else "",
                http=self._filled(http),
                server=self._filled(server + "\n" + text),
            )
        )
        self._env: dict[str, str] = {}
        if os.environ.get("PORTICO_TEST_PYTHONPATH"):
            self._env["PYTHONPATH"] = os.environ["PORTICO_TEST_PYTHONPATH"]
        self._argv = [*wrap, *PORTICO, "-p", f"{self.folder}/", "-c", str(conf), "-e", f"{self.folder}/error.log"]
        self.process = Process(self._argv, self.folder / "output", env=self._env)

    def _location(self, name: str, directives: str) -> str:
        target = "" if "proxy_pass " in directives else f"proxy_pass http://@{name}@;"
        return f"location /{name}/ {{ {directives} {target} }}"

    def _group(self, name: str) -> str:
        """An `upstream` block for an address, which has its connections kept; none for a Unix socket."""
        return "" if name.startswith(("unix", "dead")) else f'upstream "@{name}@" {{ server @{name}@; }}'

    def _filled(self, text: str) -> str:
        return re.sub(r"@(\w+)@", lambda match: self._place(match[1]), text)

    def _place(self, name: str) -> str:
        if name == "folder":
            return str(self.folder)
        if name.startswith("dead"):
            return f"127.0.0.1:{free_port()}"
        return self.upstream(name).name

    def upstream(self, name: str) -> Upstream:
        """The upstream of that name; `unix…` listens on a Unix socket."""
        if name not in self.upstreams:
            place = str(self.folder / name) if name.startswith("unix") else ("127.0.0.1", free_port())
            self.upstreams[name] = Upstream(place, self.tls.get(name))
        return self.upstreams[name]

    def ready(self) -> Proxied:
        self.process.wait_listening(self.port)
        return self

    def start_anew(self, between: Callable[[], None] | None = None) -> Proxied:
        """Kill all processes, as a power cut does, do what is to be done meanwhile, and start again."""
        for pid in [self.process.pid, *self.workers()]:
            os.kill(pid, signal.SIGKILL)
        self.process.wait()
        wait_until(lambda: not listening(self.port), what="the end of the workers and of their sockets")
        if between is not None:
            between()
        self.process = Process(self._argv, self.folder / "output", env=self._env)
        return self.ready()

    def accept(self, name: str, receive_buffer: int = 0) -> End:
        return self.upstream(name).accept(receive_buffer)

    # -- clients -------------------------------------------------------------------------------------------------------

    def client(self, receive_buffer: int = 0) -> End:
        """A connection; with a small receive buffer the proxy soon cannot send."""
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(PATIENCE)
        sock.connect(("127.0.0.1", self.port))
        return End(sock)

    def ask(self, method: str, target: str, *fields: str, body: bytes = b"", receive_buffer: int = 0) -> End:
        """A client that has sent a request."""
        lines = [f"{method} {target} HTTP/1.1", "Host: front.example", *fields]
        if body:
            lines.append(f"Content-Length: {len(body)}")
        return self.client(receive_buffer).send("\r\n".join([*lines, "", ""]).encode("latin-1") + body)

    def get(self, target: str, *fields: str, receive_buffer: int = 0) -> End:
        return self.ask("GET", target, *fields, receive_buffer=receive_buffer)

    def fetch(self, target: str, *fields: str, method: str = "GET", body: bytes = b"") -> Message:
        """One exchange on a connection of its own."""
        with self.ask(method, target, *fields, body=body) as client:
            return client.response(method.encode())

    # -- what it left behind -------------------------------------------------------------------------------------------

    def log(self) -> str:
        return text_of(self.folder / "error.log")

    def await_log(self, text: str) -> str:
        """The first line with `text`, once it is there."""

        def found() -> str:
            return next((line for line in self.log().splitlines() if text in line), "")

        try:
            return wait_until(found, 5, f"{text!r} in the error log")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.log()}") from None

    def access(self) -> str:
        return (self.folder / "access.log").read_text(errors="replace")

    def await_access(self, text: str) -> str:
        def found() -> str:
            return next((line for line in self.access().splitlines() if text in line), "")

        try:
            return wait_until(found, 5, f"{text!r} in the access log")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.access()}\n{self.log()}") from None

    def workers(self) -> list[int]:
        return children(self.process.pid)

    def descriptors(self) -> int:
        """Open descriptors of all workers."""
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.workers())

    def stop(self) -> None:
        for upstream in self.upstreams.values():
            upstream.close()
        self.process.stop()
        log = self.log() + self.process.output()
        shutil.rmtree(self.folder, ignore_errors=True)
        lines = [line for line in log.splitlines() if "internal error" in line or "Traceback" in line]
        assert not lines, "\n".join(lines)


@contextmanager
def running(proxy: Proxied) -> Iterator[Proxied]:
    """Ready while it is used, then stopped."""
    try:
        yield proxy.ready()
    finally:
        proxy.stop()
