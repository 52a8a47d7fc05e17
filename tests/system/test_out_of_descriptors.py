"""Too many connections, too few descriptors: idle connections give way, nobody waits for a pause, and upstreams are not blamed."""

from __future__ import annotations

import os
import resource
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest
from tests.processes import free_port, wait_until
from tests.system.attack_ground import OK, Ground, drain
from tests.system.queues import queued

from portico.net.certificates import self_signed

LOCATIONS = """
    location /ping { return 200 pong; }
    location /files/ { alias html/; }
    location /app { proxy_http_version 1.1; proxy_set_header Connection ""; proxy_pass http://app; }
    location /pair { proxy_pass http://pair; }
"""
HTTP = "upstream pair { server 127.0.0.1:BACKEND; server localhost:BACKEND; }"
LIMITS = "client_header_timeout 60s; keepalive_timeout 60s;"
FLOOD = 400


@contextmanager
def ground(folder_of: pytest.TempPathFactory, **options: object) -> Iterator[Ground]:
    given: dict[str, object] = {"http": HTTP, "server": LIMITS, **options}
    made = Ground(folder_of.mktemp("ground"), str(given.pop("locations", LOCATIONS)), **given)  # type: ignore[arg-type]
    try:
        yield made
        made.check()
    finally:
        made.close()


def begun(made: Ground, stack: ExitStack, data: bytes = b"G") -> socket.socket:
    """A connection with the beginning of a request, which the worker has read (so it is not idle), unless it has refused it."""
    sock = stack.enter_context(made.connect())
    near, far = sock.getsockname(), sock.getpeername()
    try:
        sock.sendall(data)
    except OSError:
        return sock
    wait_until(lambda: (queued(far, near) <= 0 and queued(near, far) <= 0) or not is_open(sock), what="the worker reads")
    return sock


def is_open(sock: socket.socket) -> bool:
    """Whether the other end has neither closed nor reset the connection."""
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    if not poll.poll(0):
        return True
    try:
        return sock.recv(1, socket.MSG_PEEK) != b""
    except OSError:
        return False


def open_ones(socks: list[socket.socket]) -> int:
    return sum(1 for sock in socks if is_open(sock))


def test_silent_connections_give_way(tmp_path_factory: pytest.TempPathFactory) -> None:
    """More silent clients than the process may open files: every request is still served, at once."""
    with ground(tmp_path_factory, connections=1024, rlimit=256) as made, ExitStack() as stack:
        silent = [stack.enter_context(made.connect()) for _ in range(FLOOD)]
        wait_until(lambda: open_ones(silent) < 256, what="room for others")
        began = time.monotonic()
        for number in range(60):
            assert made.get(b"/ping").endswith(b"pong")
            assert made.get(b"/files/pics/a").endswith(b"picture")
            assert made.get(b"/app/%d" % number).startswith(b"HTTP/1.1 200")
        assert time.monotonic() - began < 10
        assert open_ones(silent) > 100  # no more than was needed
        assert made.descriptors() < 256 - 8
        log = made.error_log()
        assert "256 open files (worker_rlimit_nofile) leave room for, are not enough, idle connections are closed" in log
        assert "Too many open files" not in log
        assert log.count("are not enough") < 30  # at most one line a second


def test_silent_connections_to_a_tls_or_proxy_port_give_way(tmp_path_factory: pytest.TempPathFactory) -> None:
    port = free_port()
    certificate, key = self_signed(["localhost"], 2)
    folder = tmp_path_factory.mktemp("tls")
    (folder / "cert.pem").write_bytes(certificate)
    (folder / "key.pem").write_bytes(key)
    servers = (
        f"server {{ listen 127.0.0.1:{port} ssl proxy_protocol; ssl_certificate {folder}/cert.pem; "
        f"ssl_certificate_key {folder}/key.pem; client_header_timeout 60s; }}"
    )
    with ground(tmp_path_factory, connections=64, servers=servers) as made, ExitStack() as stack:
        silent = [stack.enter_context(made.connect(port=port)) for _ in range(100)]
        for sock in silent[50:]:
            sock.sendall(b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n")  # then no TLS
        wait_until(lambda: open_ones(silent) < 64, what="room for others")
        assert made.get(b"/ping").endswith(b"pong")
        assert open_ones(silent) > 40


def test_worker_connections_is_a_limit(tmp_path_factory: pytest.TempPathFactory) -> None:
    """A connection that has sent the beginning of a request is not idle: beyond the limit new ones are refused, as in nginx."""
    with ground(tmp_path_factory, connections=32) as made, ExitStack() as stack:
        socks = [begun(made, stack) for _ in range(100)]
        wait_until(lambda: open_ones(socks) <= 32, what="no more than 32 connections")
        assert open_ones(socks) >= 28
        assert "[alert]" in made.error_log() and "32 worker_connections are not enough" in made.error_log()
        for sock in socks:
            sock.close()
        wait_until(lambda: made.get(b"/ping").endswith(b"pong"), what="room for others")


def test_upstreams_count_and_are_not_blamed(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Six clients want an upstream connection each where ten connections are allowed."""
    release = threading.Event()
    with ground(tmp_path_factory, connections=10) as made, ExitStack() as stack:

        def hold(sock: socket.socket, head: bytes) -> None:
            release.wait(20)
            sock.sendall(OK)

        made.backend.scripts[b"/pair"] = hold
        clients = [begun(made, stack, b"GET /pair HTTP/1.1\r\nHost: x\r\nConnection: close\r\n") for _ in range(6)]
        for sock in clients:
            sock.sendall(b"\r\n")
        assert select.select(clients, [], [], 10)[0]  # whoever is refused makes room for the next one
        release.set()
        answers = sorted(drain(sock)[:12] for sock in clients)
        assert answers == [b"HTTP/1.1 200"] * 5 + [b"HTTP/1.1 500"]
        log = made.error_log()
        assert log.count("10 worker_connections are not enough while connecting to upstream") == 1
        assert "temporarily disabled" not in log and "no live upstreams" not in log


def test_no_descriptor_for_a_client(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The limit is lowered below what is open: idle clients give way, then clients are refused; nothing pauses."""
    with ground(tmp_path_factory) as made, ExitStack() as stack:
        idle = [stack.enter_context(made.connect()) for _ in range(3)]
        wait_until(lambda: made.get(b"/ping").endswith(b"pong"), what="all of them known")
        soft, hard = resource.prlimit(made.worker, resource.RLIMIT_NOFILE)
        resource.prlimit(made.worker, resource.RLIMIT_NOFILE, (lowest_free(made), hard))
        try:
            for _ in range(20):
                assert made.get(b"/ping").endswith(b"pong")
            assert open_ones(idle) < 3
            busy = [begun(made, stack) for _ in range(5)]
            wait_until(lambda: open_ones(busy) < 5, what="refused clients")
            cpu = time.process_time()
            assert made.get(b"/ping") == b""
            assert time.process_time() - cpu < 1
        finally:
            resource.prlimit(made.worker, resource.RLIMIT_NOFILE, (soft, hard))
        began = time.monotonic()
        assert made.get(b"/ping").endswith(b"pong")
        assert time.monotonic() - began < 0.4
        assert "accept4() failed (24: Too many open files): a client is refused; worker_rlimit_nofile" in made.error_log()


def lowest_free(made: Ground) -> int:
    """The lowest descriptor that the worker does not use: with this as the limit it can open none."""
    used = {int(name) for name in os.listdir(f"/proc/{made.worker}/fd")}
    return next(number for number in range(1024) if number not in used)


def test_slow_downloads_leave_no_descriptors_behind(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Many locations with many slow downloads each: the pipes that carry them are one bounded pool of the worker."""
    size = 1_500_000
    data = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size
    names = [b"/slow%d" % number for number in range(5)]
    port = free_port()
    locations = "".join(f"location {name.decode()} {{ proxy_buffering off; proxy_pass http://app; }}" for name in names)
    small = f"server {{ listen 127.0.0.1:{port} sndbuf=8k; {locations} }}"  # so that the kernel holds little of a response

    with ground(tmp_path_factory, servers=small) as made, ExitStack() as stack:
        assert made.get(b"/ping").endswith(b"pong")  # it has opened all that it keeps
        before = made.descriptors()
        clients = []
        for name in names:
            made.backend.scripts[name] = lambda sock, head: sock.sendall(data)
            for _ in range(8):
                sock = stack.enter_context(socket.socket())
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
                sock.settimeout(20)
                sock.connect(("127.0.0.1", port))
                sock.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" % name)
                clients.append(sock)
        for sock in clients:  # under way; then the client reads no more for now
            got = 0
            while got < 200_000:
                got += len(sock.recv(65536))
        wait_until(lambda: pipes(made) >= 40, what="a pipe for each download")
        for sock in clients:
            assert len(drain(sock)) > size // 2
            sock.close()
        wait_until(lambda: made.descriptors() <= before + 8 + 2 * 16 + 2, what="descriptors given back")


def pipes(made: Ground) -> int:
    """How many pipes the worker has open, both ends of each."""
    names = [os.readlink(f"/proc/{made.worker}/fd/{number}") for number in os.listdir(f"/proc/{made.worker}/fd")]
    return sum(1 for name in names if name.startswith("pipe:")) // 2
