"""Requests of HTTP/2 out of header blocks: which are refused, so that no upstream of HTTP/1 can read anything else into them."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES, Site
from tests.unit.net.memory_transport import MemoryTransport

import portico.http.server.connection as connections
from portico.codec.http2.hpack import Decoder, encoded_fields
from portico.codec.http2.streams import Stream
from portico.features import http2
from portico.http.request import Request
from portico.http.server.connection import Connection
from portico.http.server.http2.blocks import Beginnings
from portico.http.server.http2.priority import priority_of
from portico.http.server.http2.requests import RequestReader
from portico.http.server.http2.stream import Http2Stream
from portico.http.server.http2.streams import ServerStreams
from portico.http.server.protocols import protocols_of
from portico.worker.runtime import Runtime

COMPILED = str(connections.__file__).endswith(".so")
pytestmark = pytest.mark.skipif(COMPILED, reason="an interpreted class cannot inherit from a compiled one")

Field = tuple[bytes, bytes]


@pytest.fixture(scope="module")
def connection(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Connection]:
    """A connection that has not begun."""
    directory = Path(tmp_path_factory.mktemp("site"))
    site = Site("http2 on; location / { return 200 hello; }", directory, (*FEATURES, http2.FEATURE))
    listener = site.plan.listeners[0]
    transport = MemoryTransport(site.reactor)
    client = listener.client(transport, ("192.0.2.1", 50000), 1)
    runtime = Runtime(site.reactor, listener.default.core.error_log, 100, 0)
    yield Connection(runtime, protocols_of(site.reactor), transport, listener, client)
    site.close()


def request(connection: Connection, fields: list[Field], ended: bool = True) -> Request:
    """The request that a header block is, read twice, the second time as one that is remembered."""
    reader = RequestReader(connection.client, connection.listener)
    decoder = Decoder(8192, 32768)
    for _ in range(2):
        made = reader.request_of(Stream(1, 65535, 65535), decoder.decode(encoded(fields)), ended)
    return made


def encoded(fields: list[Field]) -> bytes:
    """A block with names as they are, in upper case too."""
    return b"".join(
        [b"\x00" + size(len(name)) + name + size(len(value)) + value if name.lower() != name else encoded_fields([(name, value)])
         for name, value in fields]
    )  # fmt: skip


def size(count: int) -> bytes:
    assert count < 127
    return bytes((count,))


def with_fields(*more: Field, **changed: bytes | None) -> list[Field]:
    """A request with more fields, and other pseudo-header fields: None for none."""
    pseudo: dict[str, bytes | None] = {"method": b"GET", "scheme": b"http", "path": b"/", "authority": b"a.example"}
    pseudo.update(changed)
    return [(b":" + name.encode(), value) for name, value in pseudo.items() if value is not None] + list(more)


@pytest.mark.parametrize(
    "fields",
    [
        with_fields(),
        with_fields((b"host", b"a.example")),
        with_fields((b"host", b"a.example"), authority=None),
        with_fields((b"te", b"trailers")),
        with_fields((b"cookie", b"a=1"), (b"cookie", b"b=2")),
        with_fields((b"x-empty", b"")),
        with_fields((b"x-text", b"two words\tand a tab, \xe9")),
        with_fields((b"content-length", b"0")),
        with_fields(scheme=b"https"),
        with_fields(method=b"PATCH"),
        with_fields(path=b"/a?b=c&d"),
    ],
)
def test_what_is_taken(connection: Connection, fields: list[Field]) -> None:
    made = request(connection, fields)
    assert made.refusal is None
    assert made.fields.get(b"host") == b"a.example"


LINE_ENDS = [b"\r", b"\n", b"\0", b"\r\n", b"x\r\nx: y", b"x\ny"]


@pytest.mark.parametrize(
    "fields",
    [
        # pseudo-header fields: none may be missing, there twice, unknown, or behind the others
        *[with_fields(**{name: None}) for name in ("method", "scheme", "path")],
        with_fields(authority=None),
        *[[*with_fields(), (name, value)] for name, value in with_fields()],
        *[[(name, value), *with_fields()] for name, value in with_fields()],
        [(b":status", b"200"), *with_fields()],
        [(b":protocol", b"websocket"), *with_fields()],
        [(b"a", b"b"), *with_fields()],
        [*with_fields((b"a", b"b")), (b":authority", b"a.example")],
        # their values
        *[with_fields(path=value) for value in (b"", b"a", b"*", b"http://a/", b"/a b", b"/\r", b"/\n", b"/\0", b"/\x7f")],
        *[with_fields(method=value) for value in (b"", b"GET ", b"GET /", b"G\r\nT", b"get\0", b"G:T", b"G(T")],
        *[with_fields(scheme=value) for value in (b"", b"ht tp", b"http:", b"1http", b"http\r\n")],
        *[with_fields(authority=value) for value in (b"", b"a b", b"a\r\nx: y", b"a/b", b"a\0")],
        with_fields((b"host", b"b.example")),
        with_fields((b"host", b"a.example"), (b"host", b"a.example")),
        # names
        *[with_fields((name, b"v")) for name in (b"", b"A", b"x-A", b"a:b", b"a b", b"a\r\nb", b"a\nb", b"a\0b", b"a\x7f", b" a")],
        # values
        *[with_fields((b"x", value)) for value in [*LINE_ENDS, b" x", b"x ", b"\tx", b"x\t"]],
        # fields about a connection of HTTP/1
        *[with_fields((name, b"x")) for name in (b"connection", b"keep-alive", b"proxy-connection", b"upgrade")],
        with_fields((b"transfer-encoding", b"chunked")),
        *[with_fields((b"te", value)) for value in (b"gzip", b"trailers, gzip", b"")],
        with_fields((b"te", b"trailers"), (b"te", b"trailers")),
        # lengths
        *[with_fields((b"content-length", value)) for value in (b"5", b"-1", b"+0", b"0, 0", b"0x0", b"", b"1" * 30)],
        with_fields((b"content-length", b"0"), (b"content-length", b"0")),
    ],
)
def test_what_is_refused(connection: Connection, fields: list[Field]) -> None:
    made = request(connection, fields)
    assert made.refusal is not None and made.refusal.status in (400, 405), fields
    assert len(made.fields.names) == 0


@pytest.mark.parametrize("name", [b"a_b", b"a!", b"a\xe9", b'a"', b"a(b", b"a,b", b"a=b", b"a@b", b"a{b"])
def test_names_that_nginx_ignores_are_ignored(connection: Connection, name: bytes) -> None:
    made = request(connection, with_fields((name, b"v"), (b"x", b"y")))
    assert made.refusal is None
    assert b"v" not in made.fields.values and b"y" in made.fields.values


def test_the_parts_of_a_cookie_are_one_field(connection: Connection) -> None:
    made = request(connection, with_fields((b"cookie", b"a=1"), (b"x", b"y"), (b"cookie", b"b=2")))
    assert made.fields.get(b"cookie") == b"a=1; b=2" and list(made.fields.names).count(b"cookie") == 1


def test_content_that_waits_by_the_byte_needs_little_more_memory_than_its_bytes(connection: Connection) -> None:
    streams = ServerStreams(connection, Beginnings(connection.runtime.reactor))
    stream = Http2Stream(connection.client, streams, Stream(1, 65535, 65535), False)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for _ in range(32768):
        stream.on_data(bytes(bytearray(b"ab")), False)
    used = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert used < 100_000


@pytest.mark.parametrize(
    ("value", "urgency", "incremental"),
    [
        (b"u=5, i", 5, True), (b"i, u=0", 0, True), (b"i=?0,u=7", 7, False), (b"i=?1", 3, True), (b"", 3, False), (b"u=8", 3, False),
        (b"u=-1", 3, False), (b"u", 3, False), (b"u=1;a=b, i;c", 1, True), (b"x=1, u=2", 2, False), (b"," * 60000 + b"u=1", 3, False),
    ],
)  # fmt: skip
def test_priorities(value: bytes, urgency: int, incremental: bool) -> None:
    """RFC 9218 section 4; what is longer than anything defined is not looked at."""
    made = priority_of(value)
    assert (made.urgency, made.incremental) == (urgency, incremental)
