"""The response to a fetch, read from bytes: its framing, its bounds, and every way in which it can be none."""

from __future__ import annotations

import pytest

from portico.balancing.tls import PeerTLSSettings, UpstreamTLS
from portico.codec.errors import ProtocolError
from portico.codec.url import Url
from portico.passing.fetch_message import (
    MALFORMED,
    TOO_LONG,
    TRUNCATED,
    FetchedResponse,
    FetchError,
    FetchRequest,
    ResponseReader,
    encode_request,
)

TLS = UpstreamTLS(PeerTLSSettings())
CLOSED = None  # the server closes
OK = b"HTTP/1.1 200 OK\r\n"


def a_request(method: bytes = b"GET", url: str = "https://id.test/keys?secret") -> FetchRequest:
    request = FetchRequest(Url(url), TLS, method)
    request.max_header = 200
    request.max_body = 20
    return request


def read(*pieces: bytes | None, method: bytes = b"GET", in_doubt: bool = False) -> FetchedResponse | None:
    """The server sends pieces; what has become of the response."""
    reader = ResponseReader(a_request(method))
    for piece in pieces:
        assert reader.response() is None
        if piece is None:
            reader.end(in_doubt)
        else:
            reader.feed(piece)
    return reader.response()


def read_bytewise(data: bytes) -> FetchedResponse | None:
    return read(*[data[at : at + 1] for at in range(len(data))])


def body_of(*pieces: bytes | None) -> bytes:
    response = read(*pieces)
    assert response is not None
    return response.body


# -- a response that is complete


@pytest.mark.parametrize(
    "data",
    [
        OK + b"Content-Length: 4\r\n\r\nbody",
        OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nbod\r\n1;x=y\r\ny\r\n0\r\nTrailer: x\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n" + OK + b"Content-Length: 4\r\n\r\nbody",
        b"HTTP/1.0 200 OK\ncontent-length: 4\n\nbody",
        OK + b"Content-Encoding: identity\r\nContent-Length: 4\r\n\r\nbody",
    ],
)
def test_framed_by_the_response(data: bytes) -> None:
    assert body_of(data) == b"body"
    bytewise = read_bytewise(data)
    assert bytewise is not None and bytewise.body == b"body"


def test_until_the_connection_ends() -> None:
    assert read(OK + b"\r\nbo") is None
    assert body_of(OK + b"\r\n", b"bo", b"dy", CLOSED) == b"body"
    assert body_of(OK + b"\r\n", CLOSED) == b""


def test_what_follows_the_response_is_not_part_of_it() -> None:
    assert body_of(OK + b"Content-Length: 4\r\n\r\nbodyHTTP/1.1 500 Oh\r\n\r\n") == b"body"
    assert body_of(OK + b"Content-Length: 0\r\n\r\nmore") == b""


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_a_status_without_a_body(status: bytes) -> None:
    response = read(b"HTTP/1.1 " + status + b"\r\nContent-Length: 9\r\n\r\n")
    assert response is not None and response.body == b""


def test_the_response_to_head_has_no_body() -> None:
    response = read(OK + b"Content-Length: 100000\r\nContent-Encoding: gzip\r\n\r\n", method=b"HEAD")
    assert response is not None and (response.status, response.body) == (200, b"")


def test_fields() -> None:
    response = read(b"HTTP/1.1 404 Not Found\r\nContent-Type: a/b\r\ncontent-TYPE: c/d\r\nContent-Length: 0\r\n\r\n")
    assert response is not None and response.status == 404
    assert response.get(b"content-type") == b"a/b"
    assert response.get(b"location") is None


# -- a response that is none


@pytest.mark.parametrize(
    ("pieces", "kind", "reason"),
    [
        ((CLOSED,), TRUNCATED, "id.test closed the connection before it had responded"),
        ((b"HTTP/1.1 200", CLOSED), TRUNCATED, "before it had responded"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n", CLOSED), TRUNCATED, "before it had responded"),
        ((OK + b"Content-Length: 4\r\n\r\nbod", CLOSED), TRUNCATED, "the response of id.test was truncated"),
        ((OK + b"Content-Length: 4\r\n\r\n", CLOSED), TRUNCATED, "truncated"),
        ((OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n", CLOSED), TRUNCATED, "truncated"),
        ((OK + b"Transfer-Encoding: chunked\r\n\r\n4\r\nbody\r\n0\r\n", CLOSED), TRUNCATED, "truncated"),
        ((b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n",), MALFORMED, "changed the protocol"),
        ((OK + b"Content-Encoding: gzip\r\nContent-Length: 4\r\n\r\n",), MALFORMED, "compressed"),
        ((OK + b"X: " + b"x" * 200,), TOO_LONG, "the header section from id.test is longer than 200 bytes"),
        ((OK + b"X: " + b"x" * 200 + b"\r\n\r\n",), TOO_LONG, "longer than 200 bytes"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n" * 9,), TOO_LONG, "longer than 200 bytes"),
        ((b"HTTP/1.1 100 Continue\r\n\r\n",) * 9, TOO_LONG, "longer than 200 bytes"),
        ((OK + b"Content-Length: 21\r\n\r\n",), TOO_LONG, "the response of id.test is longer than 20 bytes"),
        ((OK + b"\r\n" + b"x" * 21,), TOO_LONG, "longer than 20 bytes"),
        ((OK + b"\r\n", b"x" * 11, b"x" * 10), TOO_LONG, "longer than 20 bytes"),
        ((OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"5\r\nxxxxx\r\n" * 5,), TOO_LONG, "longer than 20 bytes"),
    ],
)
def test_why_there_is_no_response(pieces: tuple[bytes | None, ...], kind: int, reason: str) -> None:
    with pytest.raises(FetchError, match=reason) as caught:
        read(*pieces)
    assert caught.value.kind == kind
    assert "secret" not in caught.value.reason


def test_the_longest_that_may_come() -> None:
    head = OK + b"X: " + b"x" * (200 - len(OK) - 7) + b"\r\n\r\n"
    assert len(head) == 200
    assert body_of(head, b"x" * 20, CLOSED) == b"x" * 20


def test_an_end_that_anybody_may_have_brought_about() -> None:
    """RFC 9112 section 9.8: only a length tells then that all has come."""
    with pytest.raises(FetchError, match="truncated"):
        read(OK + b"\r\nbody", CLOSED, in_doubt=True)
    assert read(OK + b"Content-Length: 4\r\n\r\nbody") is not None


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH",
        b"HTTP/2\r\n\r\n",
        b"\x15\x03\x01\x00\x02\x02\x0a",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -4\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX\0: y\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nbody",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
    ],
)
def test_what_no_server_should_send(data: bytes) -> None:
    with pytest.raises(ProtocolError):
        read(data, CLOSED)


# -- the request


def test_the_request_as_it_is_sent() -> None:
    request = a_request(b"POST", "https://[::1]:8443/token?x=y")
    request.fields = [(b"Accept", b"application/json")]
    request.body = b"a=b"
    assert encode_request(request) == (
        b"POST /token?x=y HTTP/1.1\r\n"
        b"Host: [::1]:8443\r\n"
        b"User-Agent: portico\r\n"
        b"Accept-Encoding: identity\r\n"
        b"Connection: close\r\n"
        b"Accept: application/json\r\n"
        b"Content-Length: 3\r\n"
        b"\r\n"
        b"a=b"
    )


def test_a_request_without_a_body_has_no_length() -> None:
    assert b"Content-Length" not in encode_request(a_request())


def test_no_value_makes_another_field() -> None:
    request = a_request()
    request.fields = [(b"Authorization", b"Bearer x\r\nX-Admin: yes")]
    assert b"\r\nX-Admin" not in encode_request(request)
