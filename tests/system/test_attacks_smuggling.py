"""Bytes that two parsers could read differently never reach the backend, and never answer for another request."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from tests.system.attack_ground import Ground, drain

LOCATIONS = r"""
    location = /ping { return 200 pong; }
    location = /taken { client_max_body_size 0; return 200 taken; }
    location /small { client_max_body_size 10; proxy_pass http://app; }
    location /head { proxy_method HEAD; proxy_pass http://app; }
    location /fallback { error_page 404 =200 /unchanged; return 404; }
    location / { proxy_pass http://app; }
"""
NEXT = b"GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
PING = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"

REFUSED = [
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 40\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0, 0\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: +5\r\n\r\nhello" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\nhello" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 0x5\r\n\r\nhello" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 1_0\r\n\r\nhello" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: \xd9\xa5\r\n\r\nhello" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\nhello" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length : 5\r\n\r\nhello" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\n Content-Length: 5\r\n\r\nhello" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nX: a\r\n\tContent-Length: 5\r\n\r\nhello" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.0\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nX: a\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nX: a\rTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\nTransfer-Encoding: chunked\n\n0\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.1\nHost: x\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + NEXT,
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\n0\r\n\r\n" + NEXT,
    b"GET /a HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n" + NEXT,
    b"GET /a HTTP/1.1\r\n\r\n" + NEXT,
    b"GET /a\tHTTP/1.1\r\nHost: x\r\n\r\n" + NEXT,
    b"GET /a b HTTP/1.1\r\nHost: x\r\n\r\n" + NEXT,
    b"GET /a\x0b HTTP/1.1\r\nHost: x\r\n\r\n" + NEXT,
    b"GET a HTTP/1.1\r\nHost: x\r\n\r\n" + NEXT,
    b"GET http://a@b/ HTTP/1.1\r\nHost: x\r\n\r\n" + NEXT,
    b"GET /a HTTP/1.1\r\nHost: a@b\r\n\r\n" + NEXT,
    b"GET /a HTTP/1.1\r\nHost: a/b\r\n\r\n" + NEXT,
    b"GET /a HTTP/1.1\r\nHost: x\r\nno colon\r\n\r\n" + NEXT,
    b"GET /a HTTP/1.1\r\nHost: x\r\n: empty\r\n\r\n" + NEXT,
    b"GET /%00 HTTP/1.1\r\nHost: x\r\n\r\n" + NEXT,
    b"GET /%2 HTTP/1.1\r\nHost: x\r\n\r\n" + NEXT,
    b"GET /../a HTTP/1.1\r\nHost: x\r\n\r\n" + NEXT,
    b"GET /%2e%2e/a HTTP/1.1\r\nHost: x\r\n\r\n" + NEXT,
]
CHUNKED = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
BAD_CHUNKS = [
    b"5 \r\nhello\r\n0\r\n\r\n",
    b" 5\r\nhello\r\n0\r\n\r\n",
    b"0x5\r\nhello\r\n0\r\n\r\n",
    b"+5\r\nhello\r\n0\r\n\r\n",
    b"5\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\n0\r\n\r\n",
    b"5\r\nhelloXX0\r\n\r\n",
    b"5;a\nb\r\nhello\r\n0\r\n\r\n",
    b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    b"5;" + b"a" * 5000 + b"\r\nhello\r\n0\r\n\r\n",
    b"fffffffffffffffff\r\nhello\r\n0\r\n\r\n",
    b"\r\nhello\r\n0\r\n\r\n",
    b"5\r\nhello\r\n0\r\nX: a\nY: b\r\n\r\n",
    b"5\r\nhello\r\n0\r\n folded\r\n\r\n",
    b"5\r\nhello\r\n0\r\n" + b"X: a\r\n" * 4000 + b"\r\n",
]


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    limits = "client_header_timeout 5s; client_body_timeout 5s; lingering_timeout 1s; keepalive_timeout 5s;"
    made = Ground(tmp_path_factory.mktemp("smuggling"), LOCATIONS, server=limits)
    made.backend.scripts[b"/head"] = lambda sock, head: sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 30\r\n\r\n")
    made.backend.scripts[b"/unchanged"] = lambda sock, head: sock.sendall(
        b"HTTP/1.1 304 Not Modified\r\nContent-Length: 300\r\n\r\n"
    )
    made.backend.scripts[b"/empty"] = lambda sock, head: sock.sendall(b"HTTP/1.1 204 No Content\r\nContent-Length: 300\r\n\r\n")
    try:
        yield made
        made.check()
    finally:
        made.close()


@pytest.mark.parametrize("data", REFUSED)
def test_an_ambiguous_head_is_refused_and_nothing_is_forwarded(ground: Ground, data: bytes) -> None:
    ground.backend.seen.clear()
    answer = ground.ask(data, 2)
    assert answer[:12] in (b"HTTP/1.1 400", b"HTTP/1.1 501")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert b"\r\nConnection: close\r\n" in answer
    assert ground.backend.seen == []


@pytest.mark.parametrize(
    "head",
    [
        b"GET /a HTTP/1.1\nHost: x\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: x\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: x\r\n\n",
        b"GET /a HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
        b"GET /a HTTP/1.1\nHost: x\n\r\n",
    ],
)
def test_nothing_behind_line_ends_of_both_kinds_is_forwarded(ground: Ground, head: bytes) -> None:
    """Whoever is in front may have seen another end of that header section."""
    ground.backend.seen.clear()
    answer = ground.ask(head + NEXT, 2)
    assert answer.count(b"HTTP/1.1 ") == 1 and b"\r\nConnection: close\r\n" in answer
    assert all(b"smuggled" not in seen for seen in ground.backend.seen) and len(ground.backend.seen) <= 1


def test_bare_lf_is_written_as_crlf(ground: Ground) -> None:
    ground.backend.seen.clear()
    answer = ground.ask(b"GET /a HTTP/1.1\nHost: x\nX-Own: y\n\n", 1)
    assert answer.startswith(b"HTTP/1.1 200")
    (seen,) = ground.backend.seen
    assert b"\r\nX-Own: y\r\n" in seen and seen.count(b"\n") == seen.count(b"\r\n")


@pytest.mark.parametrize("chunks", BAD_CHUNKS)
def test_a_bad_chunk_ends_the_connection(ground: Ground, chunks: bytes) -> None:
    ground.backend.seen.clear()
    answer = ground.ask(CHUNKED + chunks + NEXT, 2)
    assert answer.startswith(b"HTTP/1.1 400")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert ground.backend.seen == []


def test_extensions_and_trailers_are_not_forwarded(ground: Ground) -> None:
    ground.backend.seen.clear()
    answer = ground.ask(CHUNKED + b"5;a=b\r\nhello\r\n000;c\r\nX-Trailer: t\r\n\r\n" + PING)
    assert answer.count(b"HTTP/1.1 200") == 2
    (seen,) = ground.backend.seen
    assert seen.endswith(b"Content-Length: 5\r\n\r\nhello")
    assert b"X-Trailer" not in seen


def test_a_body_of_a_get_is_not_the_next_request(ground: Ground) -> None:
    ground.backend.seen.clear()
    answer = ground.ask(b"GET /a HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(NEXT) + NEXT + PING)
    assert answer.endswith(b"pong")
    (seen,) = ground.backend.seen
    assert seen.startswith(b"GET /a ") and seen.endswith(NEXT)


@pytest.mark.parametrize(
    "head",
    [b"Content-Length: 200\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\nc8\r\n"],
)
def test_what_follows_an_early_413_is_never_a_request(ground: Ground, head: bytes) -> None:
    ground.backend.seen.clear()
    answer = ground.ask(b"POST /small HTTP/1.1\r\nHost: x\r\n" + head + NEXT * 10, 3)
    assert answer.startswith(b"HTTP/1.1 413")
    assert answer.count(b"HTTP/1.1 ") == 1
    assert ground.backend.seen == []


def test_no_100_continue_behind_the_final_answer(ground: Ground) -> None:
    answer = ground.ask(b"POST /taken HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 44\r\n\r\n", 0.5)
    assert not answer.endswith(b"HTTP/1.1 100 Continue\r\n\r\n")


def _framed(answer: bytes) -> bytes:
    """What follows the first answer when it is read by its own framing."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n"):
        if line.lower().startswith(b"content-length: "):
            length = int(line[16:])
    status = head[9:12]
    return rest if status in (b"204", b"304") else rest[length:]


@pytest.mark.parametrize("target", [b"/head", b"/fallback"])
def test_an_answer_has_as_many_bytes_as_it_says(ground: Ground, target: bytes) -> None:
    answer = ground.ask(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % target + PING, 1.5)
    assert b"\r\nConnection: close\r\n" in answer.partition(b"\r\n\r\n")[0] or _framed(answer).startswith(b"HTTP/1.1 200")


def test_a_204_has_no_content_length(ground: Ground) -> None:
    assert b"Content-Length" not in ground.get(b"/empty")


def test_expect_that_is_not_met_does_not_turn_the_body_into_a_request(ground: Ground) -> None:
    ground.backend.seen.clear()
    with ground.connect(1) as sock:
        sock.sendall(b"POST /small HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 35\r\n\r\n")
        time.sleep(0.1)
        sock.sendall(NEXT)
        answer = drain(sock)
    assert answer.startswith(b"HTTP/1.1 413")
    assert ground.backend.seen == []
