"""nginx and Portico side by side: started from the same text, sent the same bytes, compared.

A `Group` is a configuration and the files it serves. `exchanges(GROUP, row, row, …)` turns a test function
into one test for each row, with both servers started once for the group.

    GROUP = Group("server { listen 127.0.0.1:@PORT@; location / { proxy_pass http://@BACKEND@; } }")

    @exchanges(GROUP, Exchange("plain", get("/"), status=200, body=b"hello"))
    def test_forwarding(servers: Servers, exchange: Exchange) -> None:
        servers.check(exchange)

Placeholders in the text: `@PORT…@` a free port for each name, `@BACKEND…@` host:port of a scripted backend,
`@BACKEND_UNIX…@` path of one on a Unix socket, `@BACKEND_TLS…@` one that speaks TLS, `@DEAD…@` host:port
that refuses, `@PREFIX@` the server's own folder, `@ROOT@` the folder of the group's files, `@CERTS@` the
folder of certificates.
"""

from __future__ import annotations

import os
import re
import signal
import socket
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.parity import compare, over_http2
from tests.parity.backend import Backends, Play, Received, filled, reply
from tests.parity.compare import Outcome
from tests.parity.exchange import PATIENCE, Conversation, Exchange, Tls, converse
from tests.processes import Process, free_port, nginx, portico, wait_until

MAIN = """\
daemon off;
master_process off;
worker_processes 1;
user root;
pid @PREFIX@/run.pid;
error_log @PREFIX@/error.log info;
events { worker_connections 512; }
"""
HTTP = """\
http {
    include @PREFIX@/paths.conf;
    client_body_temp_path @PREFIX@/body;
    proxy_temp_path @PREFIX@/proxy;
    access_log off;
    default_type text/plain;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
"""
# The last two are defaults of nginx since 1.29.7 and of Portico. A location with a proxy_set_header of its
# own inherits none and has to say the second again.
# What has no effect in Portico, in a file that is empty for it: nginx makes these folders at start-up.
NGINX_PATHS = "fastcgi_temp_path @PREFIX@/f;\nuwsgi_temp_path @PREFIX@/u;\nscgi_temp_path @PREFIX@/s;\n"
AGE = 2.1  # seconds that `Age` waits
SOMEBODY = 12345  # an owner who owns nothing else
MODIFIED = 1_700_000_000  # of every file that is served: Tue, 14 Nov 2023 22:13:20 GMT

NAME = re.compile(r"@([A-Z][A-Z0-9_]*)@")
Starter = Callable[[Path, Path], Process]


@dataclass(frozen=True, eq=False)
class Group:
    """What stands inside `http {}`, and the files below its `@ROOT@` (a name ending in / is a folder).

    links: symbolic links there, with their targets; one to outside does not belong to the owner of what it leads to.
    """

    http: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    main: str = MAIN
    links: Mapping[str, str] = field(default_factory=dict)


def exchanges(group: Group, *rows: Exchange) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """One test per row, against the servers of the group."""
    names = [row.id for row in rows]
    assert len(set(names)) == len(names), f"twice the same id: {sorted(names)}"

    def decorate(test: Callable[..., None]) -> Callable[..., None]:
        # Two marks, not one with pairs: pytest orders by index, and would restart the servers for every row.
        by_row = pytest.mark.parametrize("exchange", rows, ids=names)
        hidden = [pytest.HIDDEN_PARAM]
        by_group = pytest.mark.parametrize("servers", [group], ids=hidden, indirect=True, scope="module")
        decorated: Callable[..., None] = by_row(by_group(test))
        return decorated

    return decorate


class Server:
    """One of the two: its process, its folder, its ports and its backends."""

    def __init__(self, kind: str, starter: Starter, folder: Path, root: Path, certs: Path) -> None:
        self.kind = kind
        self.starter = starter
        self.folder = folder
        self.places = {"PREFIX": str(folder), "ROOT": str(root), "CERTS": str(certs)}
        self.ports: dict[str, int] = {}  # by placeholder: what it listens on, its backends, what refuses
        self.backends = Backends()
        self.begun: dict[Exchange, Performance] = {}
        self.refusing: list[socket.socket] = []
        self.process: Process | None = None

    def launch(self, group: Group) -> None:
        """Write the configuration and start the process, without waiting for it."""
        (self.folder / "paths.conf").write_text(self.fill(NGINX_PATHS) if self.starter is nginx else "")
        conf = self.folder / "nginx.conf"
        conf.write_text(self.fill(group.main + HTTP + group.http + "\n}\n"))
        self.process = self.starter(self.folder, conf)

    def ready(self) -> None:
        assert self.process is not None
        self.process.wait_listening(*(port for name, port in self.ports.items() if name.startswith("PORT")))

    def stop(self) -> None:
        if self.process is not None:
            self.process.stop()
        self.backends.stop()
        for sock in self.refusing:
            sock.close()

    def fill(self, text: str) -> str:
        """The text with its placeholders replaced; ports and backends come into being here."""
        return NAME.sub(lambda match: self.place(match[1]), text)

    def fill_bytes(self, data: bytes) -> bytes:
        return self.fill(data.decode("latin-1")).encode("latin-1")

    def place(self, name: str) -> str:
        if name not in self.places:
            self.places[name] = self._make(name)
        return self.places[name]

    def _make(self, name: str) -> str:
        if name.startswith("BACKEND_UNIX"):
            path = str(self.folder / f"{name.lower()}.sock")
            self.backends.start(name, path)
            return path
        if not name.startswith(("PORT", "BACKEND", "DEAD")):
            raise ValueError(f"unknown placeholder @{name}@")
        port = self.ports[name] = free_port()
        if name.startswith("PORT"):
            return str(port)
        if name.startswith("DEAD"):
            sock = socket.socket()  # bound and not listening: refused, and nobody else gets the port
            sock.bind(("127.0.0.1", port))
            self.refusing.append(sock)
        else:
            self.backends.start(name, ("127.0.0.1", port), self._backend_tls() if "TLS" in name else None)
        return f"127.0.0.1:{port}"

    def _backend_tls(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        certs = self.places["CERTS"]
        context.load_cert_chain(f"{certs}/backend.pem", f"{certs}/backend.key")
        context.load_verify_locations(f"{certs}/ca.pem")
        context.verify_mode = ssl.CERT_OPTIONAL
        context.num_tickets = 0  # CPython sets no session id context, without which a resumption fails
        context.options |= ssl.OP_NO_TICKET
        return context

    def client_tls(self, tls: Tls) -> ssl.SSLContext:
        certs = self.places["CERTS"]
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.load_verify_locations(f"{certs}/ca.pem")
        context.maximum_version = tls.maximum
        if tls.alpn:
            context.set_alpn_protocols(list(tls.alpn))
        if tls.certificate:
            context.load_cert_chain(f"{certs}/{tls.certificate}.pem", f"{certs}/{tls.certificate}.key")
        return context

    def perform(self, exchange: Exchange) -> Outcome:
        """Carry the exchange out and collect everything that can be compared."""
        self.begin(exchange)
        return self.begun.pop(exchange).end()

    def begin(self, exchange: Exchange) -> None:
        """Carry the exchange out as far as its first `Age`, unless that was done already."""
        if exchange not in self.begun:
            self.begun[exchange] = Performance(self, exchange)

    def placed(self, exchange: Exchange) -> Exchange:
        """The exchange with the placeholders in its bytes replaced."""

        acts = tuple(self.fill_bytes(act) if isinstance(act, bytes) else act for act in exchange.acts())
        return Exchange(
            exchange.id,
            acts,
            methods=tuple(method.decode() for method in exchange.answered()),
            tls=exchange.tls,
        )



class Performance:
    """One exchange with one server, begun: carried out to its first `Age`, or to its end where it has none."""

    def __init__(self, server: Server, exchange: Exchange) -> None:
        self.server = server
        self.exchange = exchange
        answers = filled(exchange.backend, server.fill_bytes) if exchange.backend is not None else reply()
        self.play = Play(answers)
        self.log = server.folder / exchange.log
        self.lines: list[str] = []
        self.paused = 0.0
        self.seen = Conversation()
        context = server.client_tls(exchange.tls) if exchange.tls else None
        placed, port = server.placed(exchange), server.ports[exchange.port]
        talk = over_http2.converse(placed, port, self.seen) if exchange.http2 else converse(placed, port, context, self.seen)
        self.talk = talk
        self.ended = self._go_on()

    def _go_on(self) -> bool:
        """To the next `Age`; True at the end. The log's lines of each part are read before another exchange can write there."""
        self.server.backends.play(self.play)
        start = self.log.stat().st_size if self.exchange.log and self.log.exists() else 0
        ended = True
        for _ in self.talk:
            ended = False
            break
        if self.exchange.log:
            self.lines += self._new_lines(start, ended)
        self.paused = time.monotonic()
        return ended

    def _new_lines(self, start: int, ended: bool) -> list[str]:
        def fresh() -> list[str]:
            return self.log.read_text("latin-1")[start:].splitlines() if self.log.exists() else []

        if ended and self.exchange.unordered:
            wait_until(lambda: len(fresh()) >= (self.exchange.reached or 0), PATIENCE, "log lines")
            return sorted(fresh())
        count = (len(self.exchange.answered()) if ended else len(self.seen.answers)) - len(self.lines)
        if ended and not self.seen.closed and (fresh() or not self.exchange.logged):
            return fresh()  # who has answered the request after it has written all that there is about one, but for a buffered line
        try:
            wait_until(lambda: len(fresh()) >= count, 2, "log lines")
        except AssertionError:
            pass  # too few lines is a difference like any other
        return fresh()

    def end(self) -> Outcome:
        """Carry out what remains, and collect everything that can be compared."""
        while not self.ended:
            time.sleep(max(self.paused + AGE - time.monotonic(), 0))
            self.ended = self._go_on()
        server, exchange = self.server, self.exchange
        received: list[Received] = self.play.received
        if exchange.unordered:
            wait_until(lambda: len(received) >= (exchange.reached or 0), PATIENCE, "requests to backends")
            received.sort(key=lambda item: (item.backend, item.message.start, item.message.headers))
        masks = {port: name for name, port in server.ports.items()} | {self.seen.client_port: "CLIENT"}
        return compare.outcome(exchange, self.seen, list(received), self.lines, masks, str(server.folder))


class Servers:
    """The pair for one group."""

    def __init__(self, group: Group, folder: Path, certs: Path, candidate: str) -> None:
        root = folder / "root"
        root.mkdir()
        _write_files(root, group.files)
        _make_links(root, group.links)
        # Names of equal length: a path in a body does not change the Content-Length.
        self.reference = Server("nginx", nginx, folder / "a", root, certs)
        self.candidate = Server(
            candidate, nginx if candidate == "nginx" else portico, folder / "b", root, certs
        )
        self.against_itself = candidate == "nginx"
        self.begun: set[Exchange] = set()
        for server in (self.reference, self.candidate):
            server.folder.mkdir()
            server.launch(group)

    def ready(self) -> None:
        self.reference.ready()
        self.candidate.ready()

    def stop(self) -> None:
        servers = (self.reference, self.candidate)
        for server in servers:
            if server.process is not None:
                server.process.send(signal.SIGTERM)
        for server in servers:
            server.stop()

    def begin(self, *exchanges: Exchange) -> None:
        """Carry out all that were not yet begun, as far as their first `Age`: who checks them then waits only once."""
        for exchange in exchanges:
            if exchange not in self.begun:
                self.begun.add(exchange)
                self.candidate.begin(exchange)
                if not exchange.differs:
                    self.reference.begin(exchange)

    def check(self, exchange: Exchange) -> None:
        """The same from both, and what the row expects; what the row expects of Portico alone, where it
        differs.
        """
        if exchange.differs:
            self._check_difference(exchange)
            return
        reference = self.reference.perform(exchange)
        broken = compare.unmet(exchange, reference)
        if broken:
            pytest.fail(
                f"nginx itself does not do what the row expects:\n{broken}\n{reference}", pytrace=False
            )
        candidate = self.candidate.perform(exchange)
        difference = compare.difference(reference, candidate, self.candidate.kind)
        if difference:
            pytest.fail(f"{difference}\n--- what {self.candidate.kind} did ---\n{candidate}", pytrace=False)

    def difference(self, exchange: Exchange) -> str:
        """How what both did differs; "" when it does not."""
        reference = self.reference.perform(exchange)
        return compare.difference(reference, self.candidate.perform(exchange), self.candidate.kind)

    def _check_difference(self, exchange: Exchange) -> None:
        candidate = self.candidate.perform(exchange)
        broken = compare.unmet(exchange, candidate)
        if self.against_itself:
            if not broken:
                pytest.fail(f"nginx does exactly that: no reason to say so\n{candidate}", pytrace=False)
        elif broken:
            pytest.fail(f"expected ({exchange.differs}):\n{broken}\n{candidate}", pytrace=False)


def _write_files(root: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        path = root / name
        if name.endswith("/"):
            path.mkdir(parents=True, exist_ok=True)
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        os.utime(path, (MODIFIED, MODIFIED))


def _make_links(root: Path, links: Mapping[str, str]) -> None:
    for name, target in links.items():
        path = root / name
        path.symlink_to(target)
        if target.startswith("/") and os.geteuid() == 0:
            os.lchown(path, SOMEBODY, SOMEBODY)
