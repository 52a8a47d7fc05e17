"""The head of an upstream's response: read as leniently as nginx reads it, but never in doubt."""

import pytest

from portico.codec.errors import ProtocolError
from portico.codec.http1_response import ResponseHead, check_beginning, find_head_end, parse_response_head


def head(*lines: bytes, status: bytes = b"HTTP/1.1 200 OK") -> ResponseHead:
    return parse_response_head(b"\r\n".join((status, *lines)))


def refused(raw: bytes) -> tuple[int, str]:
    with pytest.raises(ProtocolError) as caught:
        parse_response_head(raw)
    return caught.value.status, caught.value.reason


def test_usual_answer() -> None:
    got = head(
        b"Server: uvicorn",
        b"content-type:text/html",
        b"Content-Length: 5",
        b"Set-Cookie: a",
        b"Set-Cookie: b",
    )
    assert (got.version, got.status, got.reason) == (11, 200, b"OK")
    assert got.names == [b"server", b"content-type", b"content-length", b"set-cookie", b"set-cookie"]
    assert got.keys == [b"Server", b"content-type", b"Content-Length", b"Set-Cookie", b"Set-Cookie"]
    assert got.values == [b"uvicorn", b"text/html", b"5", b"a", b"b"]
    assert (got.content_length, got.chunked, got.close, got.upgrade) == (5, False, False, b"")
    assert (got.get(b"set-cookie"), got.get_all(b"set-cookie")) == (b"a", [b"a", b"b"])
    assert (got.get(b"absent"), got.get_all(b"absent")) == (None, [])
    assert (got.joined(b"set-cookie"), got.joined(b"server"), got.joined(b"absent")) == (
        b"a, b",
        b"uvicorn",
        None,
    )


@pytest.mark.parametrize(
    ("line", "version", "status", "reason"),
    [
        (b"HTTP/1.0 404 Not Found", 10, 404, b"Not Found"),
        (b"HTTP/1.1 200", 11, 200, b""),
        (b"HTTP/1.1 200 ", 11, 200, b""),
        (b"HTTP/1.1 299 A  B", 11, 299, b"A  B"),
        (b"HTTP/1.1  200 OK", 11, 200, b"OK"),
        (b"HTTP/1.1 403.1 IIS", 11, 403, b".1 IIS"),
        (b"HTTP/1.2 200 OK", 11, 200, b"OK"),
        (b"HTTP/0.9 200 OK", 10, 200, b"OK"),
        (b"HTTP/2.0 200 OK", 11, 200, b"OK"),
    ],
)
def test_status_line(line: bytes, version: int, status: int, reason: bytes) -> None:
    got = head(status=line)
    assert (got.version, got.status, got.reason) == (version, status, reason)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"hello",
        b"HTTP/1.1",
        b"HTTP/1.1 ",
        b"HTTP/1.1 20",
        b"HTTP/1.1 2000",
        b"HTTP/1.1 2x0 OK",
        b"HTTP/1.1 -20 OK",
        b"HTTP/1.1 099 OK",
        b"HTTP/1 200 OK",
        b"HTTP/a.b 200 OK",
        b"HTTP/1.11111 200 OK",
        b"ICY 200 OK",
        b"http/1.1 200 OK",
        b"HTTP/1.1\t200 OK",
    ],
)
def test_no_status_line(line: bytes) -> None:
    assert refused(line + b"\r\nServer: x") == (502, "upstream sent no valid HTTP/1.0 header")


def test_a_beginning_that_can_never_become_a_head() -> None:
    for beginning in (b"", b"H", b"HTTP", b"HTTP/", b"HTTP/1.1 200 OK\r\nX"):
        check_beginning(beginning)
    for beginning in (b"h", b"HX", b"HTTP 1.1", b"\x15\x03\x01", b"\r\nHTTP/1.1 200 OK"):
        with pytest.raises(ProtocolError, match=r"no valid HTTP/1\.0 header"):
            check_beginning(beginning)


@pytest.mark.parametrize(
    ("status", "lines", "close"),
    [
        (b"HTTP/1.1 200 OK", [], False),
        (b"HTTP/1.1 200 OK", [b"Connection: close"], True),
        (b"HTTP/1.1 200 OK", [b"Connection: x, Close"], True),
        (b"HTTP/1.0 200 OK", [], True),
        (b"HTTP/1.0 200 OK", [b"Connection: Keep-Alive"], False),
        (b"HTTP/1.0 200 OK", [b"Connection: keep-alive, close"], True),
        (b"HTTP/1.0 200 OK", [b"Connection: keep-alive", b"Transfer-Encoding: chunked"], True),
    ],
)
def test_whether_the_connection_goes_on(status: bytes, lines: list[bytes], close: bool) -> None:
    assert head(*lines, status=status).close is close


def test_switching_protocols() -> None:
    got = head(b"Upgrade: websocket", b"Connection: upgrade", status=b"HTTP/1.1 101 Switching Protocols")
    assert (got.status, got.upgrade, got.connection_tokens) == (101, b"websocket", frozenset())
    assert head(b"Upgrade: h2c").upgrade == b""


def test_hop_by_hop_names() -> None:
    assert head(b"Connection: keep-alive, X-Hop, Foo").connection_tokens == {b"x-hop", b"foo"}


def test_line_feeds_alone_are_tolerated() -> None:
    got = parse_response_head(b"HTTP/1.1 200 OK\nContent-Length: 5\r\nServer: x\n\n")
    assert (got.status, got.content_length, got.get(b"server")) == (200, 5, b"x")


def test_odd_names_pass() -> None:
    assert head(b"X_Under: 1", b"X.Dot: 2", b"No-Colon", b"HTTP/1.1 200 OK").names == [
        b"x_under",
        b"x.dot",
        b"no-colon",
    ]


@pytest.mark.parametrize(
    ("lines", "log"),
    [
        (b"Foo : bar", 'invalid header: "Foo : bar"'),
        (b"Foo: bar\r\n folded", 'invalid header: " folded"'),
        (b": bar", 'invalid header: ": bar"'),
        (b"Foo: a\0b", 'invalid header: "Foo: a\\x00b"'),
        (b"Foo: a\rb: c", 'invalid header: "Foo: a\\x0db: c"'),
        (b"Foo: a\r\n\r\nBar: b", 'invalid header: ""'),
        (b"Content-Length: 5, 5", 'invalid "Content-Length" header'),
        (b"Content-Length: -5", 'invalid "Content-Length" header'),
        (b"Content-Length: 5\r\nContent-Length: 6",
         'duplicate header line: "Content-Length: 6", previous value: "Content-Length: 5"'),
        (b"Transfer-Encoding: chunked\r\nTransfer-Encoding: gzip",
         'duplicate header line: "Transfer-Encoding: gzip", previous value: "Transfer-Encoding: chunked"'),
        (b"Content-Length: 5\r\nTransfer-Encoding: chunked",
         '"Content-Length" and "Transfer-Encoding" headers at the same time'),
        (b"Transfer-Encoding: gzip", 'unknown "Transfer-Encoding": "gzip"'),
    ],
)  # fmt: skip
def test_head_is_refused(lines: bytes, log: str) -> None:
    assert refused(b"HTTP/1.1 200 OK\r\n" + lines) == (502, "upstream sent " + log)


@pytest.mark.parametrize("end", [b"\r\n\r\n", b"\n\n", b"\n\r\n", b"\r\n\n"])
def test_end_of_a_head(end: bytes) -> None:
    raw = b"HTTP/1.1 200 OK" + end
    for length in range(len(raw)):
        assert find_head_end(raw[:length], 0) == -1
    assert find_head_end(raw + b"body\r\n\r\nbody\n\n", 0) == len(raw)
    assert parse_response_head(raw).status == 200


def test_end_of_the_second_head() -> None:
    first = b"HTTP/1.1 100 Continue\r\n\r\n"
    second = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
    assert find_head_end(first + second, len(first)) == len(first + second)
