"""HTTP/1 connections as conversations, without sockets: what a client sends, what it gets, and what becomes of the connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.features.local_site import FEATURES
from tests.unit.http.server.conversation import Conversation

import portico.http.server.connection
from portico.http.feature import Feature, LocationBuild
from portico.http.handler import Handler
from portico.http.request import Request
from portico.http.response import STREAM, Body, BytesBody, Response
from portico.http.server.http1.states import CLOSED, DISCARDING, HEAD, IDLE, LINGERING, SERVING
from portico.http.waiting import result_of

COMPILED = str(portico.http.server.connection.__file__).endswith(".so")
pytestmark = pytest.mark.skipif(COMPILED, reason="an interpreted class cannot inherit from a compiled one")

GET = b"GET / HTTP/1.1\r\nHost: a.example\r\n\r\n"
SITE = "location / { return 200 hello; }"
Talk = Callable[..., Conversation]


class Reads(Handler):
    """Reads the request's body and sends it back."""

    def __init__(self) -> None:
        self.is_async = True

    async def handle_async(self, request: Request) -> Response | None:
        body = request.body
        content = b""
        if body is not None:
            await body.read_all()
            content = body.data or b""
        return Response(200, BytesBody(content))


class Pieces(Body):
    """A body of unknown length."""

    def __init__(self, pieces: list[bytes]) -> None:
        super().__init__(STREAM, -1)
        self.pieces = pieces

    def take(self) -> bytes | None:
        return self.pieces.pop(0) if self.pieces else b""


class Streams(Handler):
    """Answers with a body whose length nobody knows."""

    def handle(self, request: Request) -> Response | None:
        return Response(200, Pieces([b"one", b"two"]))


class Waits(Handler):
    """Waits until `future` is done, as for an upstream."""

    def __init__(self) -> None:
        self.is_async = True
        self.loop = asyncio.new_event_loop()
        self.future: asyncio.Future[None] = self.loop.create_future()
        self.requests: list[Request] = []

    async def handle_async(self, request: Request) -> Response | None:
        self.requests.append(request)
        await result_of(request, self.future)
        return Response(200, BytesBody(b"late"))


class Content(Feature):
    """Gives every location one handler."""

    def __init__(self, handler: Handler) -> None:
        super().__init__("test_content", ())
        self.handler = handler

    def location(self, build: LocationBuild) -> None:
        build.set_content(self.handler)


@pytest.fixture
def talk(tmp_path: Path) -> Iterator[Talk]:
    made: list[Conversation] = []

    def make(text: str = SITE, handler: Handler | None = None) -> Conversation:
        features = FEATURES if handler is None else (*FEATURES[:1], Content(handler))
        made.append(Conversation(text, tmp_path, features))
        return made[-1]

    yield make
    for one in made:
        one.__exit__()


# -- requests one after the other


def test_a_request_and_the_next_one(talk: Talk) -> None:
    one = talk()
    for number in range(3):
        assert one.state == IDLE and one.connection in one.runtime.idle
        one.send(GET)
        said = one.said()
        assert said.startswith(b"HTTP/1.1 200 OK\r\n") and said.endswith(b"\r\n\r\nhello")
        assert b"\r\nConnection: keep-alive\r\n" in said and b"\r\nContent-Length: 5\r\n" in said
        assert one.client.requests == number + 1
    one.half_close()
    assert one.is_over and one.said() == b"" and one.runtime.connections == {}


def test_a_request_in_single_bytes(talk: Talk) -> None:
    one = talk()
    for at in range(len(GET) - 1):
        one.send(GET[at : at + 1])
        assert one.state == HEAD and one.connection not in one.runtime.idle
    assert one.said() == b""
    one.send(b"\n")
    assert one.statuses() == [200] and one.state == IDLE


def test_requests_that_do_not_wait_for_responses_are_answered_in_order(talk: Talk) -> None:
    one = talk("location /a { return 201; } location /b { return 202; } location /c { return 204; }")
    one.send(b"".join(b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % name for name in (b"a", b"b", b"c")) + b"GET /a HT")
    assert one.statuses() == [201, 202, 204] and one.state == HEAD
    one.send(b"TP/1.1\r\nHost: a\r\n\r\n")
    assert one.statuses() == [201]


def test_empty_lines_before_a_request_are_ignored(talk: Talk) -> None:
    one = talk()
    one.send(b"\r\n\r\n")
    assert one.said() == b"" and not one.is_over
    one.send(b"\r\n" + GET)
    assert one.statuses() == [200]


def test_http_1_0_ends_the_connection_unless_it_asks_to_keep_it(talk: Talk) -> None:
    one = talk()
    one.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    assert b"Connection: keep-alive" in one.said() and not one.is_over
    one.send(b"GET / HTTP/1.0\r\n\r\n")
    assert b"Connection: close" in one.said() and one.is_over


def test_a_client_that_asks_for_it_gets_the_last_response(talk: Talk) -> None:
    one = talk()
    one.send(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    assert b"Connection: close" in one.said() and one.is_over


# -- what is refused


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"\x16\x03\x01\x02\x00", 400),
        (b"GET / HTTP/9.9\r\n", 505),
        (b"get / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /" + b"x" * 9000, 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 9000, 400),
    ],
    ids=lambda value: repr(value[:24]) if isinstance(value, bytes) else "",
)
def test_what_is_refused_ends_the_connection(talk: Talk, raw: bytes, status: int) -> None:
    one = talk()
    one.send(raw)
    assert one.statuses() == [status] and one.state == LINGERING and one.transport.half_closed
    one.send(GET)  # read, so that no reset takes the response from the client, and forgotten
    assert one.said() == b"" and not one.is_over
    one.half_close()
    assert one.is_over and one.client.requests == 1


def test_lingering_is_bounded(talk: Talk) -> None:
    one = talk("lingering_timeout 5s; lingering_time 7s; " + SITE)
    one.send(b"?" + GET)
    one.wait(4.9)
    one.send(b"x")
    assert not one.is_over
    one.wait(4.9)
    assert one.is_over


# -- bodies


def test_a_body_is_taken_out_of_the_bytes_and_the_next_request_follows_it(talk: Talk) -> None:
    one = talk("", Reads())
    head = b"POST / HTTP/1.1\r\nHost: a\r\n"
    one.send(head + b"Content-Length: 5\r\n\r\nhello" + head + b"Transfer-Encoding: chunked\r\n\r\n")
    assert one.said().endswith(b"\r\n\r\nhello")
    one.send(b"3\r\nabc\r\n")
    assert one.said() == b"" and one.state == SERVING
    one.send(b"0\r\n\r\n" + GET)
    said = one.said()
    assert said.count(b"HTTP/1.1 200 OK") == 2 and b"\r\n\r\nabcHTTP/1.1" in said


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_100_continue(talk: Talk, version: bytes) -> None:
    one = talk("", Reads())
    one.send(b"POST / HTTP/%b\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n" % version)
    assert one.said() == (b"HTTP/1.1 100 Continue\r\n\r\n" if version == b"1.1" else b"")
    one.send(b"ok")
    assert one.said().endswith(b"\r\n\r\nok")


def test_no_100_continue_for_a_body_that_is_there(talk: Talk) -> None:
    one = talk("", Reads())
    one.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok")
    assert one.statuses() == [200]


def test_a_body_that_nobody_reads_is_discarded(talk: Talk) -> None:
    one = talk()
    one.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
    assert one.statuses() == [200] and one.state == DISCARDING
    one.send(b"def" + GET)
    assert one.statuses() == [200] and one.state == IDLE


def test_a_refused_client_that_holds_its_body_back_is_not_told_to_send_it(talk: Talk) -> None:
    one = talk("location / { return 403; }")
    one.send(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 6\r\n\r\n")
    assert one.statuses() == [403] and one.state == LINGERING


@pytest.mark.parametrize(
    ("raw", "status"),
    [
        (b"Content-Length: 20", 413),
        (b"Transfer-Encoding: chunked\r\n\r\n20\r\n", 413),
        (b"Transfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    ],
)
def test_bodies_that_are_refused(talk: Talk, raw: bytes, status: int) -> None:
    one = talk("client_max_body_size 10;", Reads())
    one.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + raw + b"\r\n\r\n")
    assert one.statuses() == [status] and one.state == LINGERING


def test_a_client_that_leaves_in_its_body(talk: Talk) -> None:
    one = talk("", Reads())
    one.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
    one.half_close()
    assert one.statuses() == [400] and one.is_over


# -- frames


def test_a_body_of_unknown_length(talk: Talk) -> None:
    one = talk("", Streams())
    one.send(GET)
    said = one.said()
    assert b"\r\nTransfer-Encoding: chunked\r\n" in said and said.endswith(b"\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")
    assert not one.is_over
    one.send(b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n")
    assert one.said().endswith(b"\r\n\r\n") and not one.is_over
    one.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
    said = one.said()
    assert b"Connection: close" in said and said.endswith(b"\r\n\r\nonetwo") and b"chunked" not in said
    assert one.is_over


def test_a_slow_client_gets_all_of_it(talk: Talk) -> None:
    one = talk("send_timeout 10s; " + SITE)
    one.transport.space = 10
    one.send(GET)
    said = one.said()
    assert said == b"HTTP/1.1 2" and one.state == SERVING
    while one.state == SERVING:
        one.wait(9.0)
        one.take(7)
        said += one.said()
    assert said.startswith(b"HTTP/1.1 200 OK\r\n") and said.endswith(b"\r\n\r\nhello")


# -- time, and clients that leave


def test_an_idle_connection_remembers_nothing_until_it_has_served_two_requests(talk: Talk) -> None:
    """Most connections that idle have served one: they are memory, nothing else. From the second request on it pays to remember."""
    one = talk(SITE)
    remembered = []
    for _ in range(3):
        one.send(GET)
        remembered.append(one.protocol.reader is not None)
    assert remembered == [False, True, True]


def test_lines_that_end_with_lf_alone(talk: Talk) -> None:
    one = talk(SITE)
    one.send(b"GET / HTTP/1.1\nHost: a\n\nGET / HTTP/1.1\nHost: a\n\n")
    said = one.said()
    assert said.count(b"HTTP/1.1 200 OK\r\n") == 2 and said.count(b"hello") == 2 and one.state == IDLE


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nHost: a\n\n", b"GET / HTTP/1.1\r\nHost: a\nX: 1\r\n\r\n"])
def test_nothing_behind_line_ends_of_both_kinds_is_a_request(talk: Talk, start: bytes) -> None:
    """A server in front, to which LF ends no line, has seen one request where we would see two."""
    one = talk(SITE)
    one.send(start + GET)
    said = one.said()
    assert said.count(b"HTTP/1.1 ") == 1 and b"\r\nConnection: close\r\n" in said
    one.send(GET)
    assert one.said() == b""


def test_keepalive_min_timeout(talk: Talk) -> None:
    """For so long nobody ends the connection: it is not among those that give way, or are closed at a graceful shutdown."""
    one = talk("keepalive_timeout 10s; keepalive_min_timeout 3s; " + SITE)
    one.send(GET)
    one.wait(2.9)
    assert one.runtime.close_idle(1) == 0 and not one.is_over
    one.send(GET)
    assert one.said().count(b"hello") == 2
    one.wait(3.1)
    assert list(one.runtime.idle) == [one.connection] and not one.is_over
    one.wait(6.8)
    assert not one.is_over
    one.wait(0.2)
    assert one.is_over


def test_keepalive_min_timeout_does_not_prolong_keepalive_timeout(talk: Talk) -> None:
    one = talk("keepalive_timeout 2s; keepalive_min_timeout 5s; " + SITE)
    one.send(GET)
    one.wait(2.1)
    assert one.is_over


def test_an_idle_connection_is_closed(talk: Talk) -> None:
    one = talk("keepalive_timeout 20s; client_header_timeout 10s; " + SITE)
    one.send(GET)
    for seconds in (1.1, 18.8):
        one.wait(seconds)
        assert not one.is_over
    one.wait(0.3)
    assert one.is_over and one.statuses() == [200]


@pytest.mark.parametrize("requests", [0, 1, 2])
def test_bytes_that_are_no_request_do_not_extend_idleness(talk: Talk, requests: int) -> None:
    """A client that sends a TLS record byte by byte is idle all the same, and no less than others when connections become few."""
    one = talk("keepalive_timeout 10s; client_header_timeout 10s; " + SITE)
    for _ in range(requests):
        one.send(GET)
    other = list(one.runtime.idle)
    for _ in range(9):
        one.wait(1.05)
        one.wake()
        assert list(one.runtime.idle) == other and not one.is_over
    one.wait(1.0)
    assert one.is_over


def test_the_buffers_for_a_header_section_are_those_of_the_server_that_host_names(talk: Talk) -> None:
    """As in nginx, whatever the connection has asked for before: the default server's hold up to Host, and for the request line."""
    big = "} server { listen 127.0.0.1:8080; server_name big; large_client_header_buffers 4 4k; location / { return 200 big; }"
    one = talk("large_client_header_buffers 2 1k; " + SITE + big)
    large = b"Cookie: " + b"a" * 3000 + b"\r\n\r\n"
    for _ in range(3):
        one.send(b"GET / HTTP/1.1\r\nHost: big\r\n" + large)
        assert one.said().endswith(b"big")
    one.send(b"GET /" + b"a" * 1100 + b" HTTP/1.1\r\nHost: big\r\n\r\n")
    assert one.statuses() == [414] and one.state == LINGERING
    one = talk("large_client_header_buffers 2 1k; " + SITE)
    one.send(b"GET / HTTP/1.1\r\nHost: small\r\n" + large)
    assert one.statuses() == [400] and one.state == LINGERING


def test_a_header_section_that_takes_too_long(talk: Talk) -> None:
    one = talk("client_header_timeout 10s; error_log logs/error.log info; " + SITE)
    one.send(b"GET / HTTP/1.1\r\n")
    for _ in range(3):
        one.wait(3.0)
        one.send(b"X: y\r\n")
    assert not one.is_over
    one.wait(1.1)
    assert one.is_over and one.said() == b""
    assert "client timed out: no complete request head within 10s (client_header_timeout)" in one.site.log()


def test_a_body_that_takes_too_long(talk: Talk) -> None:
    one = talk("client_body_timeout 10s;", Reads())
    one.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
    one.wait(10.1)
    assert one.said() == b"" and one.state == LINGERING
    one.wait(5.1)
    assert one.is_over


def test_a_client_that_leaves_while_an_upstream_works_for_it(talk: Talk) -> None:
    handler = Waits()
    one = talk("", handler)
    one.send(GET)
    assert one.state == SERVING
    one.half_close()
    assert one.is_over and one.state == CLOSED and one.said() == b""
    assert handler.requests[0].status == 499
    handler.loop.close()


def test_a_client_that_leaves_a_response_that_is_sent_slowly(talk: Talk) -> None:
    async def asked() -> None:
        one = talk("location / { limit_rate 10; return 200 01234567890123456789; }")
        one.send(GET)
        assert not one.is_over
        one.half_close()
        assert one.is_over and one.state == CLOSED

    asyncio.run(asked())


def test_a_client_that_had_ended_its_side_before_is_served_slowly_too(talk: Talk) -> None:
    async def asked() -> None:
        one = talk("location / { limit_rate 1000; limit_rate_after 1; return 200 " + "x" * 1100 + "; }")
        one.transport.append(GET)
        one.half_close()
        assert not one.is_over
        while not one.is_over:
            one.reactor.now += 0.1
            await asyncio.sleep(0.01)
        assert one.said().endswith(b"x" * 1100)

    asyncio.run(asked())


def test_a_client_whose_connection_breaks(talk: Talk) -> None:
    one = talk("", Reads())
    one.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\n\r\nabc")
    one.reset()
    assert one.is_over


def test_the_end_of_the_worker(talk: Talk) -> None:
    one = talk()
    one.send(GET)
    one.connection.abandon()
    assert one.is_over and one.state == CLOSED


def test_the_last_response_of_a_worker_that_ends(talk: Talk) -> None:
    one = talk()
    one.runtime.draining = True
    one.send(GET)
    assert b"Connection: close" in one.said() and one.is_over
