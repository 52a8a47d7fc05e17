"""Valid streams of requests, damaged at random, against a running Portico.

It never hangs, never meets an error it does not expect, keeps its worker; and the backend sees only requests that begin with a line
that was sent.
"""

from __future__ import annotations

import random
import re
import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.system.attack_ground import Ground, drain

LOCATIONS = """
    location = /ping { return 200 pong; }
    location /stream { proxy_request_buffering off; proxy_pass http://app; }
    location /small { client_max_body_size 4; proxy_pass http://app; }
    location /files { alias html/; }
    location / { proxy_set_header X-Seen "$uri $args $http_x"; proxy_pass http://app; }
"""
LIMITS = (
    "client_header_timeout 500ms; client_body_timeout 500ms; keepalive_timeout 500ms; lingering_timeout 200ms; "
    "lingering_time 500ms; send_timeout 1s; proxy_read_timeout 1s; add_header X-U $uri always;"
)
STREAMS = [
    b"GET /one?a=b HTTP/1.1\r\nHost: x\r\nX: y\r\n\r\nGET /ping HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /two HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhelloGET /%66iles/../one HTTP/1.1\r\nHost: y\r\n\r\n",
    b"POST /three HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"5;e=f\r\nhello\r\n0\r\nT: u\r\n\r\nGET /one HTTP/1.0\r\n\r\n",
    b"POST /stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3\r\nabc\r\n0\r\n\r\nHEAD /one HTTP/1.1\r\nHost: x\r\n\r\n",
    b"POST /small HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 9\r\n\r\n"
    b"123456789GET /one HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET http://h/one?x#y HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, X\r\nUpgrade: h2c\r\n\r\n",
    b"GET /files/pics/a HTTP/1.1\r\nHost: x\r\nRange: bytes=0-1,3-4\r\nIf-None-Match: *\r\n\r\n",
]
TOKENS = [
    b"\r\n", b"\n", b"\r", b"\0", b" ", b"\t", b":", b"%", b"%00", b"%0d%0a", b"/../", b"?", b"#", b"0\r\n\r\n", b"\xff",
    b"Content-Length: 3\r\n", b"Transfer-Encoding: chunked\r\n", b"Host: z\r\n", b"Connection: close\r\n", b"HTTP/1.1", b"GET ",
    b"99999999999999999999", b"-1", b";", b"a" * 9000, b"[::1]", b"\x16\x03\x01",
]  # fmt: skip
_LINE = re.compile(rb"[A-Z_-]+ /[^\x00-\x20\x7f]* HTTP/1\.1\r\n")


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    made = Ground(tmp_path_factory.mktemp("fuzz"), LOCATIONS, server=LIMITS)
    try:
        yield made
        made.check()
    finally:
        made.close()


def damaged(stream: bytes, rng: random.Random) -> bytes:
    """The stream with a few bytes changed, taken out, put in, doubled or swapped."""
    data = bytearray(stream)
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.randint(1, 12))
        kind = rng.randrange(5)
        if kind == 0:
            data[at:end] = b""
        elif kind == 1:
            data[at:at] = rng.choice(TOKENS)
        elif kind == 2:
            data[at:end] = rng.choice(TOKENS)
        elif kind == 3:
            data[at:at] = data[at:end]
        elif at < len(data):
            data[at] = rng.randrange(256)
    return bytes(data)


def _send(ground: Ground, data: bytes, rng: random.Random) -> None:
    with ground.connect(6) as sock:
        try:
            cut = rng.randrange(len(data) + 1)
            sock.sendall(data[:cut])
            sock.sendall(data[cut:])
            if rng.random() < 0.5:
                sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        sock.settimeout(6)
        try:
            while sock.recv(65536):
                pass
        except TimeoutError:
            raise AssertionError(f"hangs: {data!r}") from None
        except OSError:
            pass


def _check_seen(ground: Ground) -> None:
    """Every request that the backend saw is well formed: one line, no bare line ends, one Host, one framing."""
    for request in list(ground.backend.seen):
        head = request.partition(b"\r\n\r\n")[0] + b"\r\n"
        assert _LINE.match(head), request
        assert head.replace(b"\r\n", b"").translate(None, b"\r\n\0") == head.replace(b"\r\n", b""), request
        names = [line.partition(b":")[0].lower() for line in head.split(b"\r\n")[1:-1]]
        assert names.count(b"host") == 1, request
        assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1, request
        assert not {b"connection", b"upgrade", b"te", b"trailer", b"expect"} & set(names), request
    ground.backend.seen.clear()


def test_damaged_streams(ground: Ground) -> None:
    failures: list[BaseException] = []

    def run(seed: int) -> None:
        rng = random.Random(seed)
        try:
            for _ in range(20):
                _send(ground, damaged(rng.choice(STREAMS), rng), rng)
        except BaseException as error:  # told below, on the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(36)]  # most of them wait for a timeout
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not failures, failures[0]
    _check_seen(ground)
    ground.check()


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.one_of(st.sampled_from(STREAMS + TOKENS), st.binary(max_size=20)), min_size=1, max_size=6))
def test_pieces_of_streams(ground: Ground, pieces: list[bytes]) -> None:
    with ground.connect(6) as sock:
        try:
            sock.sendall(b"".join(pieces))
            sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        drain(sock)
    _check_seen(ground)
