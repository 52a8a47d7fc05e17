"""What one row of a parity test says, and the client that carries it out.

A row is an `Exchange`: the bytes to send, what the backends answer, and what is expected. Whatever it does
not expect in so many words is still compared between the two servers.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from portico.net import openssl
from tests.parity.backend import Answers, common_name
from tests.parity.wire import Message, Wire

PATIENCE = 3.0  # seconds without a byte after which an exchange counts as hung


@dataclass(frozen=True)
class Pause:
    """Send nothing for that long (so that what follows travels in a packet of its own)."""

    seconds: float = 0.03


@dataclass(frozen=True)
class Read:
    """Wait for one whole response (an interim one counts) before sending on."""


@dataclass(frozen=True)
class Age:
    """Wait until what came before is 2.1 s old: a lifetime of 1 s, counted in whole seconds, is over.

    Rows that are begun together (`Servers.begin`) share the wait.
    """


@dataclass(frozen=True)
class Until:
    """In a tunnel: read up to these bytes before sending on."""

    mark: bytes


@dataclass(frozen=True)
class Shut:
    """End our side of the connection."""


@dataclass(frozen=True)
class Drop:
    """Close the connection without reading anything further."""


Act = bytes | Pause | Read | Age | Until | Shut | Drop


@dataclass(frozen=True)
class Tls:
    """How the client speaks TLS: the name it asks for, the certificate it shows, the versions it offers."""

    sni: str | bytes | None = "a.example"  # bytes: sent as they are
    certificate: str = ""
    maximum: ssl.TLSVersion = ssl.TLSVersion.MAXIMUM_SUPPORTED
    alpn: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Exchange:
    """One row. `id` names it; everything else has a default except the bytes to send.

    `methods` are those of the requests that are answered, in order: they say how many responses to wait for
    and how to read them. `status` is one code or one per response; `has`, `lacks`, `body`, `contains` are
    about the last response, `forwarded` and `withheld` about the last request that a backend got, `reached`
    about the number of such requests (with `unordered` it is waited for, and as many lines of the log; their order does
    not matter). `ordered` compares the order of header fields, too. `log` names a file below the prefix of which the new lines are
    compared. `mask` lists regular expressions of text that differs from run to run. `differs` says why
    Portico is meant to answer other than this nginx: then nothing is compared and what the row expects is
    asserted of Portico alone.
    """

    id: str
    request: bytes | Sequence[Act]
    methods: tuple[str, ...] = ()
    port: str = "PORT"
    tls: Tls | None = None
    backend: Answers | None = None
    status: int | tuple[int, ...] | None = None
    has: Mapping[str, str] = field(default_factory=dict)
    lacks: tuple[str, ...] = ()
    body: bytes | None = None
    contains: bytes = b""
    closed: bool | None = None
    tunnel: bytes | None = None
    forwarded: tuple[str, ...] = ()
    withheld: tuple[str, ...] = ()
    reached: int | None = None
    unordered: bool = False
    ordered: bool = False
    log: str = ""
    logged: str | None = None
    mask: tuple[str, ...] = ()
    differs: str = ""
    http2: bool = False  # the requests are carried over (`over_http2.py`)

    def acts(self) -> list[Act]:
        return [self.request] if isinstance(self.request, bytes) else list(self.request)

    def answered(self) -> list[bytes]:
        """The methods of the requests that are answered."""
        if self.methods:
            return [method.encode() for method in self.methods]
        first = next((act for act in self.acts() if isinstance(act, bytes)), b"")
        return [first.split(b" ", 1)[0]]


def request(
    method: str, target: str, *headers: str, host: str = "localhost", body: bytes = b"", version: str = "1.1"
) -> bytes:
    """A request as bytes; Host first, then the headers, then Content-Length when there is a body."""
    lines = [f"{method} {target} HTTP/{version}"]
    if host:
        lines.append(f"Host: {host}")
    lines += headers
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def get(target: str, *headers: str, host: str = "localhost", version: str = "1.1") -> bytes:
    return request("GET", target, *headers, host=host, version=version)


def lines(*texts: str) -> bytes:
    """A request head of which every line is given."""
    return "\r\n".join(texts).encode("latin-1") + b"\r\n\r\n"


@dataclass
class Conversation:
    """What the client saw."""

    answers: list[Message] = field(default_factory=list)
    tunnel: bytes = b""
    closed: bool = False
    tls: str = ""
    notes: list[str] = field(default_factory=list)
    client_port: int = 0


PROBE = b"GET / HTTP/1.1\r\nX-Probe: no host, so answered 400 before any location\r\n\r\n"


def converse(exchange: Exchange, port: int, context: ssl.SSLContext | None, seen: Conversation) -> Iterator[None]:
    """Carry one exchange out on a connection of its own, and note in `seen` what came; yields at every `Age`."""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        seen.client_port = plain.getsockname()[1]
        sock = plain
        try:
            if context is not None:
                assert exchange.tls is not None
                sni = exchange.tls.sni
                secure = context.wrap_socket(
                    plain,
                    server_hostname=sni if isinstance(sni, str) else None,
                    do_handshake_on_connect=False,
                    suppress_ragged_eofs=True,
                )
                sock = secure
                if isinstance(sni, bytes):
                    _send_server_name(secure, sni)
                secure.do_handshake()
                seen.tls = _describe(secure)
            yield from _Client(Wire(sock), exchange, seen).run()
        except ssl.SSLError as error:
            seen.notes.append(f"TLS: {error.reason}")
            seen.closed = True
        except TimeoutError:
            seen.notes.append(f"nothing came for {PATIENCE:g} s after {len(seen.answers)} answer(s)")
        except OSError as error:
            seen.notes.append(f"socket: {error.strerror}")
            seen.closed = True
        finally:
            if sock is not plain:
                sock.close()


def _send_server_name(sock: ssl.SSLSocket, name: bytes) -> None:
    """Have these bytes sent as SNI (SSL_CTRL_SET_TLSEXT_HOSTNAME)."""
    library = openssl.library()
    assert library is not None
    assert library._control(library.pointer(sock._sslobj), 55, 0, name)  # type: ignore[attr-defined]


def _describe(sock: ssl.SSLSocket) -> str:
    return f"{sock.version()} {common_name(sock)} alpn={sock.selected_alpn_protocol()}"


class _Client:
    """One client connection on its way through the acts of an exchange."""

    def __init__(self, wire: Wire, exchange: Exchange, seen: Conversation) -> None:
        self.wire = wire
        self.exchange = exchange
        self.seen = seen
        self.waiting = exchange.answered()

    def run(self) -> Iterator[None]:
        for act in self.exchange.acts():
            if isinstance(act, bytes):
                self._send(act)
            elif isinstance(act, Pause):
                self._pause(act.seconds)
            elif isinstance(act, Read):
                self._answer()
            elif isinstance(act, Age):
                yield
            elif isinstance(act, Until):
                self.seen.tunnel += self.wire.until(act.mark)
            elif isinstance(act, Shut):
                self.wire.sock.shutdown(socket.SHUT_WR)
            else:
                return
        while self.waiting and self._answer():
            pass
        self._end()

    def _send(self, data: bytes) -> None:
        try:
            self.wire.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass  # answered and closed before everything was sent: what it answered is still to be read

    def _pause(self, seconds: float) -> None:
        self.wire.sock.settimeout(seconds)
        try:
            self.wire.fill()  # a pause that also notices what comes, so that nothing is lost to a reset
        except TimeoutError:
            pass
        self.wire.sock.settimeout(PATIENCE)

    def _answer(self) -> bool:
        """Read one response; False when the stream ended instead."""
        message = self.wire.response(self.waiting[0] if self.waiting else b"GET")
        if message is None:
            self.waiting = []
            return False
        self.seen.answers.append(message)
        if (message.status >= 200 or message.status == 101) and self.waiting:
            self.waiting.pop(0)
        return True

    def _end(self) -> None:
        """Find out whether the server closed: by what it said, else by one more request."""
        last = self.seen.answers[-1] if self.seen.answers else None
        if self.wire.ended:
            self.seen.closed = True
        elif last is None or last.status == 101 or (last.get(b"connection") or b"").lower() == b"close":
            self.seen.tunnel += self.wire.rest()
            self.seen.closed = True
        else:
            self._send(PROBE)
            self.seen.closed = self.wire.response(b"GET") is None
