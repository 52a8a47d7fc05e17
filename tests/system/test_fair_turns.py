"""A client that keeps its connection busy does not keep the worker: others have their turn."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from tests.processes import stopped, wait_until
from tests.system.attack_ground import Ground

REQUEST = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
MANY = 1200  # requests that are in the kernel's buffer before the first is read: tens of milliseconds of work


@pytest.fixture
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    limits = "keepalive_requests 100000; client_header_timeout 2s;"
    made = Ground(tmp_path_factory.mktemp("turns"), "location / { return 200 pong; }", server=limits)
    try:
        yield made
        made.check()
    finally:
        made.close()


def test_clients_that_send_many_requests_at_once_take_turns(ground: Ground) -> None:
    """The worker sleeps until both have sent. Neither is served to its end before the other is begun with."""
    with ground.connect() as one, ground.connect() as other:
        for sock in (one, other):  # both are accepted and known to the worker
            sock.sendall(REQUEST % b"hello")
            assert sock.recv(4096)
        with stopped(ground.worker):
            one.sendall(REQUEST % b"one" * MANY)
            other.sendall(REQUEST % b"other" * MANY)
        for sock in (one, other):
            got = 0
            while got < MANY:
                data = sock.recv(1 << 20)
                assert data
                got += data.count(b"pong")
    log = ground.folder / "access.log"
    wait_until(lambda: log.read_text().count("\n") >= 2 * MANY + 2, what="the line of every request")
    lines = log.read_text().splitlines()
    places = [[number for number, line in enumerate(lines) if name in line] for name in ("/one ", "/other ")]
    assert max(first[0] for first in places) < min(last[-1] for last in places)


def test_clients_that_send_empty_lines_for_ever_do_not_keep_the_worker(ground: Ground) -> None:
    """RFC 9112 section 2.2 lets empty lines stand before a request; there is no end to them, but to client_header_timeout."""
    floods = [ground.connect() for _ in range(2)]
    over = threading.Event()
    threads = [threading.Thread(target=_flood, args=(sock, over)) for sock in floods]
    for thread in threads:
        thread.start()
    try:
        began = time.monotonic()
        for _ in range(20):
            assert ground.get(b"/between").endswith(b"pong")
        assert time.monotonic() - began < 4  # a flood of two took all of the worker's time
        # They are ended by client_header_timeout (2 s), though bytes come all the time.
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive()
    finally:
        over.set()
        for thread in threads:
            thread.join(20)
        for sock in floods:
            sock.close()
    log = ground.error_log()
    assert log.count("no complete request head within 2s (client_header_timeout)") == 2


def _flood(sock: socket.socket, over: threading.Event) -> None:
    data = b"\r\n" * 32768
    try:
        while not over.is_set():
            sock.sendall(data)
    except OSError:
        pass
