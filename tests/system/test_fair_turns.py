"""A client that keeps its connection busy does not keep the worker: others have their turn."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.processes import wait_until
from tests.system.attack_ground import Ground

REQUEST = b"GET /%b HTTP/1.1\r\nHost: x\r\n\r\n"
MANY = 1200  # requests that are in the kernel's buffer before the first is read: tens of milliseconds of work


@pytest.fixture
def ground(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    made = Ground(tmp_path_factory.mktemp("turns"), "location / { return 200 pong; }", server="keepalive_requests 100000;")
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
        os.kill(ground.worker, signal.SIGSTOP)
        try:
            wait_until(lambda: _is_stopped(ground.worker), what="the worker's sleep")
            one.sendall(REQUEST % b"one" * MANY)
            other.sendall(REQUEST % b"other" * MANY)
        finally:
            os.kill(ground.worker, signal.SIGCONT)
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


def _is_stopped(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
