"""HTTP/1 responses out of bytes: header sections, interim responses, bodies, and what becomes of the connection."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import Site

from portico.codec.errors import ProtocolError
from portico.codec.http1_response import ResponseHead
from portico.passing.http1.body_reader import Http1BodyReader
from portico.passing.http1.stream import Http1UpstreamStream
from portico.passing.protocol import UpstreamRequest

LIMIT = 200
SECTION = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
Begin = Callable[..., Http1UpstreamStream]


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Begin]:
    """Begins a request on a connection that is fresh, or goes on with one."""
    site = Site("", tmp_path)

    def make(method: bytes = b"GET", stream: Http1UpstreamStream | None = None) -> Http1UpstreamStream:
        stream = stream or Http1UpstreamStream()
        asked = UpstreamRequest(site.request("/"), method, b"/", b"app", None)
        assert stream.begin(asked, b"GET / HTTP/1.1\r\n\r\n", LIMIT) == b"GET / HTTP/1.1\r\n\r\n"
        return stream

    yield make
    site.close()


def final(stream: Http1UpstreamStream, data: bytes) -> ResponseHead:
    head = stream.read_head(data)
    assert head is not None and head.status >= 200
    return head


# -- header sections ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 2, 3, 7, len(SECTION) - 1, len(SECTION), 1000])
def test_a_section_in_pieces_of_any_length(begin: Begin, size: int) -> None:
    stream = begin()
    received = SECTION + b"hello"
    head = None
    for at in range(0, len(received), size):
        piece = received[at : at + size]
        if head is None:
            head = stream.read_head(piece)
        else:
            stream.rest += piece
    assert head is not None and head.status == 200 and head.raw == SECTION
    assert stream.rest == b"hello"


def test_a_section_that_is_repeated_is_the_same_object(begin: Begin) -> None:
    stream = begin()
    first = final(stream, SECTION + b"hello")
    assert stream.whole_body() == b"hello"
    begin(stream=stream)
    assert final(stream, SECTION + b"HELLO") is first
    assert stream.whole_body() == b"HELLO"
    begin(stream=stream)
    assert stream.read_head(SECTION[:20]) is None
    assert final(stream, SECTION[20:]) is first
    assert stream.whole_body() is None  # its body has not come


def test_another_section_is_parsed_anew(begin: Begin) -> None:
    stream = begin()
    first = final(stream, SECTION + b"hello")
    stream.whole_body()
    begin(stream=stream)
    other = final(stream, SECTION.replace(b"200 OK", b"404 Not Found") + b"hello")
    assert other is not first and other.status == 404


@pytest.mark.parametrize(
    ("received", "reason"),
    [
        (b"ssh-2.0", "no valid HTTP/1.0 header"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * LIMIT, "too big header"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * LIMIT + b"\r\n\r\n", "too big header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", "duplicate header"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "at the same time"),
    ],
)
def test_malformed_sections(begin: Begin, received: bytes, reason: str) -> None:
    with pytest.raises(ProtocolError, match=reason):
        begin().read_head(received)


# -- interim responses ----------------------------------------------------------------------------------------------------


def test_interim_responses_come_one_by_one(begin: Begin) -> None:
    stream = begin()
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    first = stream.read_head(b"HTTP/1.1 100 Continue\r\n\r\n" + hints + SECTION + b"hello")
    assert first is not None and first.status == 100
    second = stream.read_head(b"")
    assert second is not None and second.status == 103 and second.get(b"link") == b"</a>"
    assert final(stream, b"").status == 200
    assert stream.whole_body() == b"hello"


def test_interim_responses_leave_the_section_before_remembered(begin: Begin) -> None:
    stream = begin()
    first = final(stream, SECTION + b"hello")
    stream.whole_body()
    begin(stream=stream)
    assert stream.read_head(b"HTTP/1.1 100 Continue\r\n\r\n" + SECTION + b"hello") is not first
    assert stream.read_head(b"") is first


def test_interim_responses_are_bounded_together(begin: Begin) -> None:
    stream = begin()
    interim = b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
    stream.read_head(interim)
    for _ in range(LIMIT // len(interim) - 1):
        assert stream.read_head(interim) is not None
    with pytest.raises(ProtocolError, match="too big early hints"):
        stream.read_head(interim)


# -- responses that begin before the request has ended ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("received", "begun"),
    [
        (b"H", False),
        (b"HTTP/1.1 ", False),
        (b"HTTP/1.1 1", False),
        (b"HTTP/1.1 100 Continue\r\n\r\n", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 1", False),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 ", True),
        (b"HTTP/1.1 413 ", True),
        (b"HTTP/1.1 101 ", True),
        (b"ssh", True),  # whatever it is: reading tells
        (b"HTTP/1.1 103 Early Hints\r\nX: " + b"x" * LIMIT, True),
    ],
)
def test_what_comes_before_all_was_sent(begin: Begin, received: bytes, begun: bool) -> None:
    assert begin().has_begun(received) is begun


def test_an_early_response_is_read_afterwards_and_ends_the_connection(begin: Begin) -> None:
    stream = begin()
    assert not stream.has_begun(b"HTTP/1.1 100 Continue\r\n\r\n" + SECTION[:5])
    assert stream.has_begun(SECTION[5:] + b"hello")
    stream.stop_sending()
    assert final(stream, b"").status == 200
    assert stream.whole_body() == b"hello"
    assert not stream.is_reusable()


# -- bodies, and the connection after them ---------------------------------------------------------------------------------

# (method, header section, what is behind it, whether that was all of a body with a known length, connection reusable)
WHOLE: list[tuple[bytes, bytes, bytes, bytes | None, bool]] = [
    (b"GET", b"200 OK\r\nContent-Length: 5", b"hello", b"hello", True),
    (b"GET", b"200 OK\r\nContent-Length: 5", b"hello!", b"hello", False),  # nobody asked for more
    (b"GET", b"200 OK\r\nContent-Length: 5\r\nConnection: close", b"hello", b"hello", False),
    (b"GET", b"200 OK\r\nContent-Length: 0", b"", b"", True),
    (b"GET", b"200 OK\r\nContent-Length: 5", b"hell", None, False),
    (b"GET", b"200 OK\r\nTransfer-Encoding: chunked", b"0\r\n\r\n", None, False),
    (b"GET", b"200 OK", b"hello", None, False),
]


@pytest.mark.parametrize(("method", "section", "behind", "content", "reusable"), WHOLE)
def test_bodies_that_came_whole(
    begin: Begin, method: bytes, section: bytes, behind: bytes, content: bytes | None, reusable: bool
) -> None:
    stream = begin(method)
    final(stream, b"HTTP/1.1 " + section + b"\r\n\r\n" + behind)
    assert stream.whole_body() == content
    assert stream.is_reusable() is reusable


# (method, header section, whether the connection is reusable when no body is read)
BODYLESS: list[tuple[bytes, bytes, bool]] = [
    (b"HEAD", b"200 OK\r\nContent-Length: 5", True),  # RFC 9110 section 8.6: that of the response to GET
    (b"HEAD", b"200 OK\r\nTransfer-Encoding: chunked", True),
    (b"GET", b"204 No Content", True),
    (b"GET", b"204 No Content\r\nContent-Length: 5", False),  # forbidden, so who knows what comes
    (b"GET", b"304 Not Modified", True),
    (b"GET", b"304 Not Modified\r\nContent-Length: 5", False),
    (b"GET", b"304 Not Modified\r\nTransfer-Encoding: chunked", False),
    (b"GET", b"200 OK\r\nContent-Length: 5", False),
]


@pytest.mark.parametrize(("method", "section", "reusable"), BODYLESS)
def test_responses_whose_body_nobody_reads(begin: Begin, method: bytes, section: bytes, reusable: bool) -> None:
    stream = begin(method)
    final(stream, b"HTTP/1.1 " + section + b"\r\n\r\n")
    assert stream.is_reusable() is reusable


# (header section, body, content, connection reusable)
READ: list[tuple[bytes, bytes, bytes, bool]] = [
    (b"Content-Length: 5\r\n", b"hello", b"hello", True),
    (b"Content-Length: 5\r\n", b"hello?", b"hello", False),
    (b"Transfer-Encoding: chunked\r\n", b"3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n", b"hello", True),
    (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n", b"hello", True),
    (b"Transfer-Encoding: chunked\r\n", b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200", b"hello", False),
]


@pytest.mark.parametrize("size", [1, 4, 100])
@pytest.mark.parametrize(("fields", "body", "content", "reusable"), READ)
def test_bodies_that_are_read(begin: Begin, fields: bytes, body: bytes, content: bytes, reusable: bool, size: int) -> None:
    stream = begin()
    final(stream, b"HTTP/1.1 200 OK\r\n" + fields + b"\r\n")
    reader = stream.body_reader()
    found = b""
    for at in range(0, len(body), size):
        if reader.done:
            stream.rest += body[at : at + size]  # what comes behind the end
        else:
            assert not stream.is_reusable()
            found += reader.feed(body[at : at + size])
    assert reader.done and found == content
    assert stream.is_reusable() is reusable


@pytest.mark.parametrize(
    ("length", "chunked", "received", "whole"),
    [(5, False, b"hell", False), (-1, True, b"5\r\nhello\r\n", False), (-1, False, b"hello", True)],
)
def test_the_end_of_the_connection(length: int, chunked: bool, received: bytes, whole: bool) -> None:
    """It is the end of the body where nothing else is (RFC 9112 section 6.3)."""
    reader = Http1BodyReader(length, chunked)
    reader.feed(received)
    assert not reader.done
    reader.end()
    assert reader.done is whole


def test_a_body_until_the_end_of_the_connection_leaves_no_connection(begin: Begin) -> None:
    stream = begin()
    final(stream, b"HTTP/1.1 200 OK\r\n\r\nhello")
    reader = stream.body_reader()
    assert reader.feed(stream.rest) == b"hello"
    stream.rest = b""
    reader.end()
    assert reader.done and not stream.is_reusable()


def test_bytes_that_the_kernel_moved() -> None:
    reader = Http1BodyReader(10, False)
    assert reader.left == 10
    assert reader.feed(b"abc") == b"abc"
    reader.skip(6)
    assert reader.left == 1 and not reader.done
    reader.skip(1)
    assert reader.done


def test_malformed_chunks() -> None:
    with pytest.raises(ProtocolError, match="invalid chunked response"):
        Http1BodyReader(-1, True).feed(b"hello")


def test_trailers() -> None:
    reader = Http1BodyReader(-1, True)
    reader.feed(b"5\r\nhello\r\n0\r\nX-Sum: 1\r\ngrpc-status: 0\r\n\r\n")
    assert reader.trailers() == [(b"X-Sum", b"1"), (b"grpc-status", b"0")]
    assert Http1BodyReader(5, False).trailers() == []


def test_a_connection_that_was_idle_may_have_been_closed_meanwhile(begin: Begin) -> None:
    """RFC 9112 section 9.3.1: its failure says nothing about the peer; that of a fresh one does."""
    stream = begin()
    assert stream.is_unprocessed(True) and not stream.is_unprocessed(False)
