"""What a client may do to a server: valid streams and noise, cut, damaged, half-closed, reset, unread; plain, in TLS, after PROXY."""

from __future__ import annotations

import random
import socket
import ssl
import time
from dataclasses import dataclass, replace

from tests.fuzz.damage import BYTES, damaged, pieces
from tests.fuzz.site import Site, client_context
from tests.system.attack_ground import reset

Step = tuple[str, bytes]
PATIENCE = 8.0  # longer than all of Portico's timeouts for one connection
STREAMS = [
    b"GET /one?a=b HTTP/1.1\r\nHost: x\r\nX: y\r\n\r\nGET /ping HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /two HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET /%66iles/../one HTTP/1.1\r\nHost: y\r\n\r\n",
    b"POST /three HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5;e=f\r\nhello\r\n0\r\nT: u\r\n\r\n"
    b"GET /one HTTP/1.0\r\n\r\n",
    b"POST /stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
    b"HEAD /large HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 70000\r\n\r\n" + b"z" * 70_000 + b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /small HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n123456789"
    b"GET /one HTTP/1.1\r\nHost: x\r\n\r\n",
    b"PUT /one HTTP/1.1\r\nHost: x\r\nContent-Length: 30000\r\n\r\n" + b"y" * 30_000 + b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://h/one?x HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, X\r\nUpgrade: h2c\r\n\r\n",
    b"GET /files/a HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1,3-4\r\nIf-None-Match: *\r\n\r\n"
    b"GET /files/big HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /large HTTP/1.1\r\nHost: x\r\n\r\nGET /unbuffered/large HTTP/1.1\r\nHost: x\r\n\r\n"
    b"GET /cached/large HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /gzip/large HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n\r\nGET /gzip/large-chunked HTTP/1.1\r\nHost: x\r\n"
    b"Accept-Encoding: gzip\r\n\r\n",
    b"GET /cached/a HTTP/1.1\r\nHost: x\r\n\r\n" * 4,
    b"POST /mirrored HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\nabcdGET /guarded HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n" * 30,
    b"\r\n" * 50 + b"GET /large-chunked HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
]  # fmt: skip
V1 = [
    b"PROXY TCP4 192.0.2.1 192.0.2.9 5000 443\r\n", b"PROXY TCP6 2001:db8::1 2001:db8::2 5000 443\r\n", b"PROXY UNKNOWN\r\n",
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
]  # fmt: skip
V2_START = b"\r\n\r\n\0\r\nQUIT\n"
V2 = [
    V2_START + b"\x21\x11\0\x0c" + b"\1\2\3\4\5\6\7\x08\0\1\0\2", V2_START + b"\x20\0\0\0", V2_START + b"\x21\x21\0\x24" + bytes(36),
    V2_START + b"\x21\x11\0\x25" + b"\1\2\3\4\5\6\7\x08\0\1\0\2" + b"\xea\0\4mine" + b"\x20\0\x0f\1\0\0\0\0\x21\0\7TLSv1.3",
    V2_START + b"\x21\x31\0\xd8" + bytes(216),
]  # fmt: skip
NAMES = [
    b"", b"\0", b"\xff\xfe", b"localhost.", b".localhost", b"a..b", b"[::1]", b"127.0.0.1", b"-", b"*", b"xn--", b"a b",
    b"L\xc3\xb6calhost", b"\r\nX: y", b"a" * 255, b"a" * 300, b"%s$host", b"/../../etc", b"\xed\xa0\x80",
]  # fmt: skip
# In clear below a TLS session: close_notify, handshake_failure, HelloRequest.
RECORDS = (b"\x15\x03\x03\0\2\1\0", b"\x15\x03\x03\0\2\2\x28", b"\x16\x03\x03\0\4\0\0\0\0")
PORTS = ("http", "http", "tls", "proxied", "proxied_tls")


@dataclass(frozen=True)
class ClientCase:
    """One connection. With `session` the steps `send` go through a TLS session, made after the step `handshake`."""

    seed: int
    port: str
    session: bool
    reads: bool  # to the end; otherwise not at all
    parts: tuple[Step, ...]

    @property
    def sent(self) -> bytes:
        """Everything that it sends as HTTP, or might be taken for it."""
        return b"".join(data for kind, data in self.parts if kind in ("send", "raw"))


def make_case(seed: int) -> ClientCase:
    """Draws a case."""
    rng = random.Random(f"client {seed}")
    port = rng.choice(PORTS)
    steps: list[Step] = []
    if port.startswith("proxied"):
        header = rng.choice(V1 + V2)
        if rng.random() < 0.6:
            header = damaged(header, rng, BYTES)
        steps += [("raw", piece) for piece in pieces(header, rng)]
    session = port.endswith("tls") and rng.random() < 0.6
    if session:
        steps.append(("handshake", rng.choice((b"localhost", b"other", b"", b"tls12"))))
    elif port.endswith("tls") and rng.random() < 0.8:
        steps += [("raw", piece) for piece in pieces(_hello(rng), rng)]
    steps += _spread(_stream(rng), rng, session)
    steps += _last(rng, session)
    return ClientCase(seed, port, session, rng.random() < 0.8, tuple(steps))


def smaller(case: ClientCase, parts: list[object]) -> ClientCase:
    """The same with fewer steps."""
    return replace(case, parts=tuple(parts))  # type: ignore[arg-type]


def _stream(rng: random.Random) -> bytes:
    kind = rng.random()
    if kind < 0.1:
        return rng.randbytes(rng.choice((1, 20, 500, 20_000)))
    stream = b"".join(rng.choice(STREAMS) for _ in range(rng.choice((1, 1, 1, 2, 3))))
    return stream if kind < 0.3 else damaged(stream, rng)


def _spread(stream: bytes, rng: random.Random, session: bool) -> list[Step]:
    """The stream in pieces, with pauses, and in TLS with damage to a record."""
    steps: list[Step] = []
    for piece in pieces(stream, rng):
        steps.append(("flip" if session and rng.random() < 0.05 else "send", piece))
        if rng.random() < 0.2:
            steps.append(("pause", b"%d" % rng.choice((1, 10, 60))))
        if session and rng.random() < 0.05:
            steps.append(("raw", rng.choice((*RECORDS, rng.randbytes(9)))))
    return steps


def _last(rng: random.Random, session: bool) -> list[Step]:
    kinds = ["", "", "half", "half", "half", "reset", "reset", "close", "read then reset"] + (["notify", "notify"] if session else [])
    kind = rng.choice(kinds)
    if kind == "read then reset":
        return [("read", b""), ("reset", b"")]
    return [(kind, b"")] if kind else []


def _hello(rng: random.Random) -> bytes:
    """A ClientHello as OpenSSL writes it, with an odd name, damaged, or followed by other records."""
    name = rng.choice(NAMES) if rng.random() < 0.6 else b"localhost"
    length = len(name) if 0 < len(name) < 250 else 9
    outgoing = ssl.MemoryBIO()
    context = client_context()
    if rng.random() < 0.3:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    stand_in = "q" * length if length <= 60 else "q." * 30 + "q" * 60  # of the same length, for OpenSSL takes no odd name
    told = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=stand_in)
    try:
        told.do_handshake()
    except ssl.SSLWantReadError:
        pass
    hello = outgoing.read()
    if length <= 60:
        hello = hello.replace(b"q" * length, name[:length].ljust(length, b"q"), 1)
    kind = rng.random()
    if kind < 0.4:
        return hello
    if kind < 0.8:
        return damaged(hello, rng, [*BYTES, b"\0\0", b"\xff\xff", b"\x16\x03\x01"], 3)
    return hello + rng.choice((b"\x14\x03\x03\0\1\1", b"\x17\x03\x03\0\x10" + rng.randbytes(16), b"\x15\x03\x03\0\2\1\0", hello))


# -- running one -------------------------------------------------------------------------------------------------------


class _Client:
    """A socket with or without a TLS session over it, whose records can be damaged."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls: ssl.SSLObject | None = None

    def handshake(self, name: bytes) -> None:
        context = client_context()
        if name == b"tls12":
            context.maximum_version = ssl.TLSVersion.TLSv1_2
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=name.decode() or None)
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                self.sock.sendall(self.outgoing.read())
                data = self.sock.recv(65536)
                if not data:
                    raise ConnectionError from None
                self.incoming.write(data)
            else:
                self.sock.sendall(self.outgoing.read())
                return

    def send(self, data: bytes, flip: bool = False) -> None:
        if self.tls is not None:
            self.tls.write(data)
            data = self.outgoing.read()
            if flip:
                data = data[:-1] + bytes([data[-1] ^ 1])
        self.sock.sendall(data)


def run_case(site: Site, case: ClientCase) -> list[str]:
    """Does what the case says; tells when the server leaves the connection open."""
    try:
        sock = site.connect(case.port, 0 if case.reads else 4096, PATIENCE)
    except OSError as error:
        return [f"cannot connect: {error}"]
    with sock:
        client = _Client(sock)
        try:
            for kind, data in case.parts:
                _step(client, kind, data)
                if kind in ("reset", "close"):
                    return []
        except TimeoutError:
            return [f"hangs in the middle of {kind} on {case.port}"]
        except OSError:  # the server has ended the connection, or refused in TLS
            return []
        if case.reads:
            return _await_end(sock, case)
        time.sleep(0.05)  # while nobody reads
    return []


def _step(client: _Client, kind: str, data: bytes) -> None:
    sock = client.sock
    if kind == "handshake":
        client.handshake(data)
    elif kind in ("send", "flip"):
        sock.settimeout(PATIENCE)
        client.send(data, kind == "flip")
    elif kind == "raw":
        sock.sendall(data)
    elif kind == "pause":
        time.sleep(int(data) / 1000)
    elif kind == "read":
        sock.recv(100)
    elif kind == "half":
        sock.shutdown(socket.SHUT_WR)
    elif kind == "notify" and client.tls is not None:
        try:
            client.tls.unwrap()
        except ssl.SSLError:
            sock.sendall(client.outgoing.read())
    elif kind == "reset":
        reset(sock)
    elif kind == "close":
        sock.close()


def _await_end(sock: socket.socket, case: ClientCase) -> list[str]:
    """Reads until the server ends the connection, as it must when its timeouts are over."""
    sock.settimeout(PATIENCE)
    until = time.monotonic() + 3 * PATIENCE
    try:
        while sock.recv(65536):
            if time.monotonic() > until:
                return [f"sends without end on {case.port}"]
    except TimeoutError:
        return [f"hangs on {case.port}"]
    except OSError:
        pass
    return []
