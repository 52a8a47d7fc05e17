"""A running Portico that fuzzers talk to, and what must be true of it whatever it was sent.

`problems()` is asked after every batch of cases: the processes are the same, neither the error log nor the output has a line that
tells of a mistake of Portico's own or of a peer that was given up, and plain requests get 200. `leaks()` compares descriptors.
"""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import ssl
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import rmtree

from tests.parity.wire import Wire
from tests.processes import children, free_port, portico, wait_until

from portico.net.certificates import self_signed

MAIN = """\
daemon off;
worker_processes 2;
{user}
pid {folder}/run.pid;
error_log {folder}/error.log info;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    default_type text/plain;
{http}
}}
"""
# A line of the error log with one of these is a mistake, when every backend is honest or `max_fails` is 0.
BAD = re.compile(r"\[alert\]|\[emerg\]|(?<!\[SSL\] )internal error|Traceback|no live upstreams|temporarily disabled|exited on signal")
IDLE = 0.6  # seconds; longer than any `keepalive_timeout` to upstreams in the configurations
# What a worker may hold for later: pipes for the next body that is spliced, and the files of its cache.
SPARE = {"pipe": 2 * 16, "cached files": 512}


class Site:
    """One Portico with the text of its `http` block. In it `@name@` is a port, `@folder@` the folder, with a certificate in it."""

    def __init__(self, http: str, probes: tuple[tuple[str, str], ...], ports: dict[str, int] | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/tmp"))
        self.probes = probes  # port and path of requests that must be answered 200
        self.ports = dict(ports or {})
        certificate, key = self_signed(["localhost"], 1)
        (self.folder / "cert.pem").write_bytes(certificate)
        (self.folder / "cert.key").write_bytes(key)
        text = re.sub(r"@(\w+)@", lambda match: self._place(match[1]), http)
        user = "user root;" if os.geteuid() == 0 else ""
        conf = self.folder / "nginx.conf"
        conf.write_text(MAIN.format(folder=self.folder, user=user, http=text))
        self._read = 0
        self.workers: list[int] = []
        self.calm: dict[int, Counter[str]] = {}
        self.process = portico(self.folder, conf)

    def _place(self, name: str) -> str:
        if name == "folder":
            return str(self.folder)
        if name not in self.ports:
            self.ports[name] = free_port()
        return str(self.ports[name])

    def ready(self) -> Site:
        """Waits until it serves, and notes what it looks like then."""
        self.process.wait_listening(*(self.ports[name] for name, _ in self.probes))
        self.workers = wait_until(lambda: len(found := self._workers()) == 2 and found, what="two workers")
        found = self.problems()
        assert not found, found
        self.calm = self._lowest()
        return self

    def _workers(self) -> list[int]:
        return sorted(children(self.process.pid))

    def connect(self, port: str, receive_buffer: int = 0, seconds: float = 6.0) -> socket.socket:
        """A connection to one of the ports; with a small buffer it is soon full."""
        sock = socket.socket()
        if receive_buffer:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        sock.settimeout(seconds)
        sock.connect(("127.0.0.1", self.ports[port]))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    @contextmanager
    def stutter(self) -> Iterator[None]:
        """Stops the workers for some milliseconds again and again: what happens meanwhile reaches them as one batch of events."""
        over = threading.Event()
        thread = threading.Thread(target=self._stutter, args=(over,))
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()

    def _stutter(self, over: threading.Event) -> None:
        while not over.wait(random.uniform(0.01, 0.15)):
            for pid in self.workers:
                _signal(pid, signal.SIGSTOP)
            over.wait(random.uniform(0.005, 0.04))
            for pid in self.workers:
                _signal(pid, signal.SIGCONT)

    # -- what must be true ---------------------------------------------------------------------------------------------

    def problems(self) -> list[str]:
        """What is wrong now, in words."""
        found = self.new_lines(BAD)
        if "Traceback" in self.process.output():
            found.append(self.process.output()[-3000:])
        if not self.process.alive() or self._workers() != self.workers:
            return [*found, f"processes: alive {self.process.alive()}, workers {self._workers()}, before {self.workers}"]
        return found + [problem for port, path in self.probes for problem in self.probe(port, path)]

    def new_lines(self, wanted: re.Pattern[str]) -> list[str]:
        """The lines of the error log since the last call that have it."""
        with open(self.folder / "error.log", "rb") as log:
            log.seek(self._read)
            text = log.read()
            self._read = log.tell()
        return [line for line in text.decode(errors="replace").splitlines() if wanted.search(line)]

    def probe(self, port: str, path: str) -> list[str]:
        """Asks for the path on a connection of its own; says what is wrong with the response."""
        try:
            with self.connect(port) as sock:
                status = self._ask(sock, port, path)
        except OSError as error:
            return [f"probe {port} {path}: {type(error).__name__} {error}"]
        return [] if status == 200 else [f"probe {port} {path}: {status or 'closed'}"]

    def _ask(self, sock: socket.socket, port: str, path: str) -> int:
        if port.startswith("proxied"):
            sock.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.9 5000 443\r\n")
        if port.endswith("tls"):
            sock = client_context().wrap_socket(sock, server_hostname="localhost")
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        response = Wire(sock).response(b"GET")
        sock.close()
        return 0 if response is None or response.truncated else response.status

    def leaks(self) -> list[str]:
        """Waits for the descriptors to be as many as at the start; says which are not."""
        try:
            wait_until(lambda: not self._more(), 8)
        except AssertionError:
            return [f"descriptors: {self._more()}"]
        return []

    def _more(self) -> list[str]:
        told = []
        for pid, before in self.calm.items():
            now = self._descriptors(pid)
            told += [
                f"process {pid}: {count} {kind}, {before[kind]} at the start"
                for kind, count in sorted(now.items())
                if count > before[kind] + SPARE.get(kind, 0)
            ]
        return told

    def _lowest(self) -> dict[int, Counter[str]]:
        """The descriptors of each process by kind, when the idle connections to upstreams of the probes are closed."""
        least = {pid: self._descriptors(pid) for pid in [self.process.pid, *self.workers]}
        until = time.monotonic() + IDLE
        while time.monotonic() < until:
            time.sleep(0.02)
            least = {pid: before & self._descriptors(pid) for pid, before in least.items()}
        return least

    def _descriptors(self, pid: int) -> Counter[str]:
        """How many of which kind."""
        found: Counter[str] = Counter()
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                target = os.readlink(f"/proc/{pid}/fd/{name}")
            except OSError:
                continue
            kind = target.partition(":")[0] if ":" in target else "cached files" if "/cache/" in target else "other files"
            found[kind] += 1
        return found

    def stop(self) -> list[str]:
        """Ends it; says whether it did not end well."""
        workers = self._workers()
        code = self.process.stop()
        found = self.new_lines(BAD) + ([] if code == 0 else [f"exit code {code}"])
        found += [f"worker {pid} is left over" for pid in workers if Path(f"/proc/{pid}").exists()]
        rmtree(self.folder, ignore_errors=True)
        return found

    @property
    def log(self) -> str:
        return (self.folder / "error.log").read_text(errors="replace")


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def client_context() -> ssl.SSLContext:
    """TLS for a client that trusts anybody."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context

