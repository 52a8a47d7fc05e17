"""Clients that stall, vanish, flood or never read; upstreams that lie: time, memory and descriptors stay bounded."""

from __future__ import annotations

import gzip
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from tests.processes import wait_until
from tests.system.attack_ground import OK, Ground, drain, reset

LOCATIONS = r"""
    location = /ping { return 200 pong; }
    location /stream { proxy_request_buffering off; client_max_body_size 0; proxy_pass http://app; }
    location /unbuffered { proxy_buffering off; proxy_pass http://app; }
    location = /bomb { gunzip on; proxy_pass http://app; }
    location = /heap { gunzip on; gunzip_max_ratio 0; proxy_pass http://app; }
    location / { proxy_pass http://app; }
"""
POISON = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON"
LIMITS = (
    "client_header_timeout 1s; client_body_timeout 1s; send_timeout 1s; keepalive_timeout 2s; lingering_timeout 1s; "
    "lingering_time 2s; proxy_read_timeout 3s; keepalive_requests 1000000;"
)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    made = Ground(tmp_path_factory.mktemp("slow"), LOCATIONS, server=LIMITS)
    try:
        yield made
        made.check()
    finally:
        made.close()


def _drip(sock: socket.socket, piece: bytes, seconds: float) -> float:
    """Send `piece` every 0.3 s; how long the other side bore it, at most `seconds`."""
    started = time.monotonic()
    sock.settimeout(0.3)
    while time.monotonic() - started < seconds:
        try:
            sock.sendall(piece)
            if not sock.recv(1000):
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - started


def test_a_head_that_drips_ends_after_client_header_timeout(ground: Ground) -> None:
    with ground.connect() as sock:
        sock.sendall(b"GET / HTTP/1.1\r\n")
        assert _drip(sock, b"X: a\r\n", 4) < 3


def test_blank_lines_do_not_hold_a_connection(ground: Ground) -> None:
    with ground.connect() as sock:
        assert _drip(sock, b"\r\n", 5) < 4


STALLS = [
    b"", b"G", b"GET / HTTP/1.1\r\nHost: x\r\n",
    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nabc",
    b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab",
]  # fmt: skip


def test_clients_that_stall_are_let_go(ground: Ground) -> None:
    started = time.monotonic()
    clients = [ground.connect() for _ in STALLS]
    for sock, data in zip(clients, STALLS, strict=True):
        sock.sendall(data)
    for sock, data in zip(clients, STALLS, strict=True):
        with sock:
            drain(sock)
            assert time.monotonic() - started < 4, data


STATES = [
    b"", b"G", b"GET / HTTP/1.1\r\n", b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
    b"POST /a HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc",
    b"POST /stream HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc",
    b"POST /stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n",
    b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /unbuffered/endless HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /never HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n",
    b"GET /tunnel HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello",
]  # fmt: skip


def _endless(sock: socket.socket, head: bytes) -> None:
    sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    for _ in range(2000):
        sock.sendall(b"z" * 100_000)


def _leave(sock: socket.socket, end: str) -> None:
    if end == "half":
        sock.shutdown(socket.SHUT_WR)
    elif end == "reset":
        reset(sock)
    else:
        sock.close()


def _hear(clients: list[socket.socket], seconds: float) -> None:
    """Read once from each, as far as something comes within the time."""
    waiting = set(clients)
    until = time.monotonic() + seconds
    while waiting and time.monotonic() < until:
        for sock in select.select(waiting, [], [], max(until - time.monotonic(), 0))[0]:
            waiting.remove(sock)
            try:
                sock.recv(100)
            except OSError:
                pass


@pytest.mark.parametrize("end", ["close", "half", "reset"])
@pytest.mark.parametrize("pause", [0.0, 0.05])
def test_leaving_at_every_state_leaks_nothing(ground: Ground, end: str, pause: float) -> None:
    ground.backend.scripts[b"/never"] = lambda sock, head: time.sleep(1)
    ground.backend.scripts[b"/endless"] = ground.backend.scripts[b"/unbuffered/endless"] = _endless
    ground.backend.scripts[b"/tunnel"] = lambda sock, head: sock.sendall(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nhi" + b"t" * 1_000_000
    )
    for _ in range(3):
        clients = [ground.connect() for _ in STATES]
        for sock, state in zip(clients, STATES, strict=True):
            sock.sendall(state)
            if not pause:
                _leave(sock, end)
        if pause:
            time.sleep(pause)  # for all of them
            for sock in clients:
                _leave(sock, end)
        if end == "half":
            _hear(clients, 0.2)
        for sock in clients:
            sock.close()
    ground.check()
    wait_until(lambda: ground.descriptors() <= 30, 10, "descriptors given back")


def _reply(*parts: bytes, pause: float = 0.0) -> Callable[[socket.socket, bytes], None]:
    def reply(sock: socket.socket, head: bytes) -> None:
        for index, part in enumerate(parts):
            if index:
                time.sleep(pause)
            sock.sendall(part)

    return reply


LIES = {
    b"/long": _reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + POISON),
    b"/later": _reply(OK, POISON, pause=0.03),
    b"/chunked": _reply(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n" + POISON),
    b"/204": _reply(b"HTTP/1.1 204 No Content\r\n\r\n" + POISON),
    b"/204-later": _reply(b"HTTP/1.1 204 No Content\r\nContent-Length: 45\r\n\r\n", POISON, pause=0.03),
    b"/304": _reply(b"HTTP/1.1 304 Not Modified\r\n\r\n" + POISON),
    b"/close": _reply(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n" + POISON),
    b"/early": _reply(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + OK),
    b"/negative": _reply(b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n" + POISON),
    b"/both": _reply(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"),
    b"/switch": _reply(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n" + POISON),
    b"/short": lambda sock, head: (sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok"), sock.close())[1],
    b"/nul": _reply(b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n"),
    b"/return": _reply(b"HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b\r\nContent-Length: 0\r\n\r\n"),
    b"/huge": _reply(b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n"),
    b"/rubbish": _reply(b"\x16\x03\x01" * 100),
    b"/nothing": lambda sock, head: sock.close(),
}


@pytest.mark.parametrize("method", [b"GET", b"HEAD", b"POST"])
@pytest.mark.parametrize("path", sorted(LIES))
def test_a_lying_upstream_answers_no_other_request(ground: Ground, path: bytes, method: bytes) -> None:
    ground.backend.scripts.update(LIES)
    request = b"%b %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    ground.ask(request % (method, path), 4)
    time.sleep(0.06)
    for _ in range(3):
        assert ground.ask(request % (b"GET", b"/honest")).endswith(b"\r\n\r\n/honest")


def test_a_204_that_announces_a_body_is_the_last_of_its_connection(ground: Ground) -> None:
    ground.backend.scripts[b"/announced"] = _reply(
        b"HTTP/1.1 204 No Content\r\nContent-Length: 45\r\n\r\n", POISON, pause=0.001
    )
    both = b"GET /announced HTTP/1.1\r\nHost: x\r\n\r\nGET /honest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    for _ in range(20):
        assert b"POISON" not in ground.ask(both, 2)


def test_a_client_that_never_reads_costs_little_and_is_let_go(ground: Ground) -> None:
    def script(sock: socket.socket, head: bytes) -> None:
        sock.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        for _ in range(300):
            sock.sendall(b"x" * 100_000)

    ground.backend.scripts[b"/much"] = ground.backend.scripts[b"/unbuffered/much"] = script
    before = ground.memory()
    clients = [ground.connect() for _ in range(20)]
    for index, sock in enumerate(clients):
        path = b"/much" if index % 2 else b"/unbuffered/much"
        sock.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: x\r\n\r\n")
    time.sleep(1)
    assert ground.latency() < 1
    assert ground.memory() - before < 40_000_000
    wait_until(lambda: ground.error_log().count("send_timeout") >= 20, 10, "send_timeout for all")
    for sock in clients:
        sock.close()


def test_100_000_pipelined_requests(ground: Ground) -> None:
    request = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
    before = ground.memory()
    answered = 0
    tail = b""
    worst = 0.0
    with ground.connect(30) as sock:
        writer = threading.Thread(target=sock.sendall, args=(request * 100_000,), daemon=True)
        writer.start()
        while answered < 100_000:
            data = sock.recv(1 << 20)
            assert data, f"ended after {answered}"
            answered += (tail + data).count(b"\r\n\r\npong")
            tail = (tail + data)[-7:]
            if answered > 20_000 and not worst:
                worst = ground.latency()
        writer.join()
    assert worst < 3
    assert ground.memory() - before < 20_000_000


def test_chunks_of_one_byte_do_not_stop_the_others(ground: Ground) -> None:
    stop = threading.Event()

    def flood() -> None:
        with ground.connect() as sock:
            sock.sendall(b"POST /stream HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            try:
                while not stop.is_set():
                    sock.sendall(b"1\r\na\r\n" * 20_000)
            except OSError:
                pass

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    time.sleep(0.3)
    try:
        assert max(ground.latency() for _ in range(20)) < 1
    finally:
        stop.set()
        thread.join(5)


def _bomb(size: int) -> bytes:
    packed = gzip.compress(bytes(size))
    return b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%b" % (len(packed), packed)


def test_a_bomb_is_cut(ground: Ground) -> None:
    bomb = _bomb(100_000_000)
    ground.backend.scripts[b"/bomb"] = lambda sock, head: sock.sendall(bomb)
    answer = ground.get(b"/bomb")
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert len(answer) < 2_000_000
    assert not answer.endswith(b"0\r\n\r\n")
    assert "(gunzip_max_ratio is 200)" in ground.error_log()


def test_what_grows_as_it_is_decompressed_is_not_held(ground: Ground) -> None:
    """The client does not read at first: all that could pile up would."""
    heap = _bomb(100_000_000)
    ground.backend.scripts[b"/heap"] = lambda sock, head: sock.sendall(heap)
    before = ground.memory()
    with ground.connect(20) as sock:
        sock.sendall(b"GET /heap HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        time.sleep(0.5)
        assert ground.memory() - before < 4_000_000
        got = 0
        slowest = 0.0
        while data := sock.recv(1 << 20):
            got += len(data)
            if got > 50_000_000 and not slowest:
                slowest = ground.latency()
    assert got > 100_000_000
    assert slowest < 1
    assert ground.memory() - before < 4_000_000


def test_an_endless_trailer_or_extension_is_cut(ground: Ground) -> None:
    head = b"POST /a HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    for data in (b"5;" + b"a" * 10_000_000, b"0\r\n" + b"X: a\r\n" * 1_000_000):
        with ground.connect(5) as sock:
            try:
                sock.sendall(head + data)
            except OSError:
                pass
            assert drain(sock)[:12] in (b"HTTP/1.1 400", b"")


def test_a_flood_beyond_worker_connections_and_descriptors(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("flood")
    made = Ground(folder, LOCATIONS, server=LIMITS, connections=32, main="worker_rlimit_nofile 64;")
    try:
        made.backend.scripts[b"/never"] = lambda sock, head: time.sleep(2)
        for data in (b"", b"GET / HT", b"GET /never HTTP/1.1\r\nHost: x\r\n\r\n"):
            clients = []
            for _ in range(120):
                sock = made.connect(2)
                sock.sendall(data)
                clients.append(sock)
            time.sleep(0.3)
            for sock in clients:
                sock.close()
            wait_until(lambda: made.descriptors() < 25, 15, "descriptors given back")
            made.check()
        assert "worker_connections are not enough" in made.error_log()
    finally:
        made.close()
