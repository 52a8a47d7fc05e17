"""`proxy_buffering` and its buffers: who waits for whom, and that the content is the same whichever way it takes."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Iterator

import pytest
from tests.parity.wire import Message
from tests.processes import wait_until
from tests.system.proxied import Answer, End, Proxied, answer, chunked, pattern, running

LARGE = 12_000_000  # more than the sockets' buffers hold between an upstream and a client that does not read
SMALL_BUFFER = 4096
ATTEMPTS = 50

LOCATIONS = {
    "freed": "",
    "freedchunked": "",
    "bounded": "proxy_max_temp_file_size 0;",
    "boundedchunked": "proxy_max_temp_file_size 0; proxy_buffers 4 8k;",
    "smallfile": "proxy_max_temp_file_size 256k;",
    "unbuffered": "proxy_buffering off;",
    "pieces": "proxy_buffering off;",
    "accelno": "",
    "accelyes": "proxy_buffering off;",
    "accelignored": "proxy_ignore_headers X-Accel-Buffering;",
    "events": "",
    "cut": "",
    "slowcut": "",
    "silent": "proxy_read_timeout 300ms;",
    "stalled": "send_timeout 400ms; proxy_max_temp_file_size 0;",
    "patient": "send_timeout 20s; proxy_read_timeout 400ms;",
    "on": "",
    "off": "proxy_buffering off;",
    "nofile": "proxy_max_temp_file_size 0;",
    "tiny": "proxy_buffers 2 4k; proxy_busy_buffers_size 4k; proxy_max_temp_file_size 64k;",
    "rated": "limit_rate 200k;",
    "ratedafter": "limit_rate 100k; limit_rate_after 300k;",
    "accelrate": "",
    "paced": "proxy_limit_rate 20m;",
    "readrate": "proxy_limit_rate 200k;",
    "slowly": "proxy_limit_rate 200k;",
    "readrateasked": "proxy_limit_rate $upstream_http_x_rate;",
    "readratebad": "proxy_limit_rate $upstream_http_x_rate;",
    "readrateunbuffered": "proxy_limit_rate 10; proxy_buffering off;",
}


@pytest.fixture(scope="module")
def proxy() -> Iterator[Proxied]:
    with running(Proxied(LOCATIONS)) as made:
        yield made


def _send_all(end: End, data: bytes) -> threading.Thread:
    """Send in the background; the thread ends once the proxy has taken everything."""

    def run() -> None:
        try:
            end.send(data)
        except OSError:
            pass

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread


@pytest.mark.parametrize("name", ["freed", "freedchunked"])
def test_upstream_is_free_though_client_reads_nothing(proxy: Proxied, name: str) -> None:
    content = pattern(LARGE)
    client = proxy.get(f"/{name}/", receive_buffer=SMALL_BUFFER)
    upstream = proxy.accept(name)
    upstream.request()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    sent = _send_all(upstream, answer(content) if name == "freed" else head + chunked(content))
    sent.join(8)
    assert not sent.is_alive(), "the upstream still waits"
    assert upstream.taken()
    for _ in range(ATTEMPTS):  # its connection serves another request meanwhile, once the proxy has parsed what it has read
        with proxy.get(f"/{name}/again") as other:
            end = proxy.upstream(name).next_of(upstream)
            assert end.request().start == b"GET /%b/again HTTP/1.1" % name.encode()
            end.send(answer(b"again", "Connection: close") if end is not upstream else answer(b"again"))
            assert other.response().body == b"again"
        if end is upstream:
            break
    assert end is upstream, "the upstream's connection was not released"
    assert "buffered to a temporary file" in proxy.await_log(f"/{name}/")
    assert client.response().body == content


@pytest.mark.parametrize("name", ["bounded", "boundedchunked", "unbuffered"])
def test_upstream_waits_for_the_client(proxy: Proxied, name: str) -> None:
    content = pattern(LARGE)
    client = proxy.get(f"/{name}/", receive_buffer=SMALL_BUFFER)
    upstream = proxy.accept(name)
    upstream.request()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    before = _resident(proxy)
    sent = _send_all(upstream, answer(content) if name == "bounded" else head + chunked(content))
    sent.join(0.4)
    assert sent.is_alive(), "everything went somewhere"
    assert _resident(proxy) - before < 1_500_000
    assert client.response().body == content
    sent.join(8)
    assert not sent.is_alive()


def test_temporary_file_is_bounded(proxy: Proxied) -> None:
    content = pattern(LARGE)
    client = proxy.get("/smallfile/", receive_buffer=SMALL_BUFFER)
    upstream = proxy.accept("smallfile")
    upstream.request()
    sent = _send_all(upstream, answer(content))
    body = client.head() and b""
    largest = 0
    while len(body) < LARGE:
        body += client.exactly(min(400_000, LARGE - len(body)))
        largest = max(largest, _temporary_bytes(proxy))
    assert body == content
    assert 0 < largest <= 256 * 1024 + 65536
    sent.join(8)
    assert not sent.is_alive()


def _temporary_bytes(proxy: Proxied) -> int:
    """The size of the unlinked files that the worker holds in proxy_temp_path."""
    total = 0
    for pid in proxy.workers():
        for fd in os.listdir(f"/proc/{pid}/fd"):
            try:
                path = os.readlink(f"/proc/{pid}/fd/{fd}")
                if "/proxy/response." in path:
                    total += os.stat(f"/proc/{pid}/fd/{fd}").st_size
            except OSError:
                continue
    return total


def _resident(proxy: Proxied) -> int:
    total = 0
    for pid in proxy.workers():
        with open(f"/proc/{pid}/statm") as statm:
            total += int(statm.read().split()[1]) * 4096
    return total


@pytest.mark.parametrize(
    ("name", "field"),
    [
        ("pieces", "X: y"),
        ("accelno", "X-Accel-Buffering: no"),
        ("events", "Content-Type: text/event-stream\r\nX-Accel-Buffering: no"),
    ],
)
@pytest.mark.parametrize("framing", ["chunked", "end"])
def test_pieces_arrive_at_once(proxy: Proxied, name: str, field: str, framing: str) -> None:
    client = proxy.get(f"/{name}/")
    upstream = proxy.accept(name)
    upstream.request()
    coded = framing == "chunked"
    upstream.send(f"HTTP/1.1 200 OK\r\n{field}\r\n".encode())
    upstream.send(b"Transfer-Encoding: chunked\r\n\r\n" if coded else b"Connection: close\r\n\r\n")
    assert client.head().status == 200
    for n in range(4):
        piece = b"data: %d\n\n" % n
        upstream.send(chunked(piece, last=False) if coded else piece)
        assert client.exactly(len(chunked(piece, last=False))) == chunked(piece, last=False)
    if coded:
        upstream.send(b"0\r\n\r\n")
    upstream.close()
    assert client.exactly(5) == b"0\r\n\r\n"


@pytest.mark.parametrize(
    ("name", "value", "waits"), [("accelyes", "yes", False), ("accelignored", "no", False)]
)
def test_accel_buffering(proxy: Proxied, name: str, value: str, waits: bool) -> None:
    content = pattern(LARGE)
    client = proxy.get(f"/{name}/", receive_buffer=SMALL_BUFFER)
    upstream = proxy.accept(name)
    upstream.request()
    sent = _send_all(upstream, answer(content, f"X-Accel-Buffering: {value}"))
    sent.join(6)
    assert sent.is_alive() is waits
    got = client.response()
    assert got.body == content
    assert got.get(b"x-accel-buffering") is None


@pytest.mark.parametrize("framing", ["length", "chunked"])
def test_cut_short_by_the_upstream(proxy: Proxied, framing: str) -> None:
    client = proxy.get("/cut/")
    upstream = proxy.accept("cut")
    upstream.request()
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    upstream.send(answer(b"half", length=8) if framing == "length" else head + chunked(b"half", last=False))
    upstream.close()
    got = client.response()
    assert got.truncated and got.body == b"half"
    assert client.ended()
    line = proxy.await_log("upstream prematurely closed connection while reading upstream")
    assert 'request: "GET /cut/ HTTP/1.1", upstream: "http://127.0.0.1:' in line


def test_what_was_buffered_is_sent_before_a_cut(proxy: Proxied) -> None:
    content = pattern(LARGE)
    client = proxy.get("/slowcut/", receive_buffer=SMALL_BUFFER)
    upstream = proxy.accept("slowcut")
    upstream.request()
    upstream.send(answer(content, length=LARGE + 1))
    upstream.close()
    proxy.await_log("upstream prematurely closed connection while reading upstream")
    got = client.response()
    assert got.truncated
    assert got.body == content


def test_silence_in_the_middle(proxy: Proxied) -> None:
    client = proxy.get("/silent/")
    upstream = proxy.accept("silent")
    upstream.request()
    upstream.send(answer(b"half", length=8))
    got = client.response()
    assert got.truncated and got.body == b"half"
    assert upstream.ended()
    proxy.await_log("upstream timed out (110: Connection timed out) while reading upstream")


def test_client_that_takes_nothing_times_out(proxy: Proxied) -> None:
    client = proxy.get("/stalled/", receive_buffer=SMALL_BUFFER)
    upstream = proxy.accept("stalled")
    upstream.request()
    sent = _send_all(upstream, answer(pattern(LARGE)))
    proxy.await_log("send_timeout")
    sent.join(8)
    assert not sent.is_alive()  # its connection was closed
    client.close()


def test_waiting_for_a_client_is_no_upstream_timeout(proxy: Proxied) -> None:
    """The upstream has sent everything long ago when the client goes on reading."""
    content = pattern(LARGE)
    client = proxy.get("/patient/", receive_buffer=SMALL_BUFFER)
    upstream = proxy.accept("patient")
    upstream.request()
    upstream.send(answer(content))
    time.sleep(0.8)  # twice proxy_read_timeout
    assert client.response().body == content


_current: dict[str, Answer] = {}
SIZES = [0, 1, 100, 4095, 8192, 65535, 65536, 70_000, 262_144, 1_000_000, 3_000_000]


@pytest.mark.parametrize("name", ["on", "off", "nofile", "tiny", "paced"])
@pytest.mark.parametrize("framing", ["length", "chunked", "end"])
def test_content_is_the_same(proxy: Proxied, name: str, framing: str) -> None:
    """Sizes, framings and pauses at both ends, at random but the same each time."""
    chance = random.Random(f"{name} {framing}")

    def say(end: End, request: Message) -> None:
        size = int(request.start.split()[1].rpartition(b"/")[2])
        content = pattern(size)
        if framing == "length":
            data = answer(content)
        elif framing == "chunked":
            cuts = sorted(chance.randrange(1, size) for _ in range(6)) if size > 1 else []
            pieces = [content[a:b] for a, b in zip([0, *cuts], [*cuts, size], strict=True) if b > a]
            data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(*pieces)
        else:
            data = b"HTTP/1.1 200 OK\r\n\r\n" + content
        at = 0
        while at < len(data):
            step = chance.choice((1, 60, 5000, 65536, 700_000, LARGE))
            end.send(data[at : at + step])
            at += step
            if chance.random() < 0.3:
                time.sleep(0.002)
        if framing == "end":
            raise OSError("ends here")

    if name not in _current:
        proxy.upstream(name).serve(lambda end, request: _current[name](end, request))
    _current[name] = say
    for size in SIZES:
        with proxy.get(f"/{name}/{size}", receive_buffer=chance.choice((0, SMALL_BUFFER, 65536))) as client:
            if chance.random() < 0.5:
                client.wire.fill()
                time.sleep(0.01)
            got = client.response()
            assert not got.truncated
            assert got.body == pattern(size), f"{size} bytes"


@pytest.mark.parametrize(
    ("name", "size", "field", "least", "most"),
    [
        ("rated", 300_000, "X: y", 0.4, 2.0),  # the first second's 200k at once
        ("ratedafter", 480_000, "X: y", 0.4, 2.0),
        ("accelrate", 150_000, "X-Accel-Limit-Rate: 100000", 0.4, 2.0),
        ("readrate", 300_000, "X: y", 0.4, 2.0),
        ("readrateasked", 300_000, "X-Rate: 200k", 0.4, 2.0),
        ("readratebad", 300_000, "X-Rate: fast", 0.0, 2.0),
        ("readrateunbuffered", 300_000, "X: y", 0.0, 2.0),
    ],
)
def test_rate(proxy: Proxied, name: str, size: int, field: str, least: float, most: float) -> None:
    content = pattern(size)
    started = time.monotonic()
    client = proxy.get(f"/{name}/")
    upstream = proxy.accept(name)
    upstream.request()
    upstream.send(answer(content, field))
    got = client.response()
    assert got.body == content
    assert got.get(b"x-accel-limit-rate") is None
    assert least < time.monotonic() - started < most


def test_a_rate_that_is_none_is_logged(proxy: Proxied) -> None:
    assert 'invalid size "fast" in "$upstream_http_x_rate"' in proxy.log()


def test_the_upstream_is_read_slowly_however_fast_the_client_is(proxy: Proxied) -> None:
    """It is not that what was read is held back: what is not allowed yet stays with the upstream."""
    with proxy.get("/slowly/", receive_buffer=SMALL_BUFFER) as client, proxy.accept("slowly") as end:
        end.request()
        sent = _send_all(end, answer(pattern(LARGE)))
        client.exactly(100_000)
        sent.join(0.3)
        assert sent.is_alive()


def test_nothing_is_left(proxy: Proxied) -> None:
    """After all that: no temporary file and no connection to a client."""
    wait_until(lambda: _temporary_bytes(proxy) == 0, what="the end of temporary files")
