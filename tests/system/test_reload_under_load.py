"""Under load: reloads, a log reopen, an upgrade in place and a killed worker lose no request."""

from __future__ import annotations

import http.client
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.processes import Process, children, free_port, pid_in, portico, text_of, wait_until
from tests.system.supervised import alive

WRK = shutil.which("wrk")
LOAD_SECONDS = 50  # at most: wrk is told to stop as soon as the last signal has had its effect
WORKERS = 2

CONF = """
user root;
worker_processes {workers};
pid {prefix}/portico.pid;
error_log {prefix}/error.log notice;
events {{ }}
http {{
    access_log {prefix}/access.log;
    upstream application {{ server 127.0.0.1:{application}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{ proxy_pass http://application; }}
        location = /generation {{ return 200 {generation}; }}
        location = /large {{ proxy_pass http://127.0.0.1:{files}; }}
    }}
    server {{
        listen 127.0.0.1:{files};
        root {prefix};
    }}
}}
"""


class Loaded:
    """Portico in front of a demo application. `pid` is the supervisor that has the pid file."""

    def __init__(self, prefix: Path) -> None:
        self.prefix = prefix
        self.port, self.application, self.files = free_port(), free_port(), free_port()
        (prefix / "large").write_bytes(bytes(1_000_000))
        self.conf = prefix / "nginx.conf"
        self.started: list[int] = []
        self.generation = 0
        self.configure()
        demo = [sys.executable, "-m", "portico.demo", "one", str(self.application)]
        self.backend = subprocess.Popen(demo, stdin=subprocess.PIPE)
        self.process = portico(prefix, self.conf)

    def configure(self) -> None:
        self.generation += 1
        self.conf.write_text(
            CONF.format(
                workers=WORKERS,
                prefix=self.prefix,
                application=self.application,
                files=self.files,
                port=self.port,
                generation=self.generation,
            )
        )

    def start(self) -> None:
        self.process.wait_listening(self.port, self.application)
        pid = self.pid()
        self.started.append(pid)
        wait_until(lambda: len(children(pid)) == WORKERS, what="the workers")  # the pid file is there before they are

    def pid(self) -> int:
        return wait_until(lambda: pid_in(self.prefix / "portico.pid"), what="the pid file")

    def ask(self, path: str = "/generation") -> str:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == 200
            return response.read().decode()
        finally:
            connection.close()

    def reload(self) -> None:
        """Until the new workers alone are there."""
        pid = self.pid()
        before = set(children(pid))
        self.configure()
        os.kill(pid, signal.SIGHUP)
        wait_until(lambda: self.renewed(pid, before), 20, f"reload {self.generation}\n{self.log()}")
        assert self.ask() == str(self.generation)

    def renewed(self, pid: int, before: set[int]) -> bool:
        now = children(pid)
        return len(now) == WORKERS and not before.intersection(now)

    def log(self) -> str:
        return (self.prefix / "error.log").read_text()

    def stop(self) -> None:
        for pid in reversed(self.started):
            if alive(pid):
                os.kill(pid, signal.SIGTERM)
                wait_until(lambda pid=pid: not alive(pid), what=f"the end of {pid}")  # type: ignore[misc]
        self.process.stop()
        assert self.backend.stdin is not None
        self.backend.stdin.close()
        self.backend.wait(5)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Loaded]:
    if WRK is None:
        pytest.skip("wrk is not installed")
    loaded = Loaded(tmp_path)
    try:
        loaded.start()
        yield loaded
    finally:
        loaded.stop()


class Load:
    """wrk, from `with` until the end of its block; then `requests`, and `losses` in its own words."""

    def __init__(self, server: Loaded, path: str = "/hello") -> None:
        url = f"http://127.0.0.1:{server.port}{path}"
        argv = [WRK or "wrk", "-t1", "-c16", f"-d{LOAD_SECONDS}s", "--timeout", "10s", url]
        self.process = Process(argv, server.prefix / "wrk")
        self.requests = 0
        self.losses: list[str] = []

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *error: object) -> None:
        assert error[0] is not None or self.process.alive(), "the load ended before the last signal"
        self.process.stop(signal.SIGINT, 15)
        report = self.process.output()
        found = re.search(r"(\d+) requests in", report)
        self.requests = int(found[1]) if found else 0
        self.losses = re.findall(r"Socket errors:.*|Non-2xx.*", report)


def test_reloads_reopen_and_upgrade_lose_no_request(server: Loaded) -> None:
    with Load(server) as load:
        for _ in range(20):
            server.reload()
        reopen(server)
        upgrade(server)
        server.reload()
    assert load.losses == []
    assert load.requests > 1000
    assert "[alert]" not in server.log()
    assert "[error]" not in server.log()


def test_reloads_in_the_middle_of_long_answers_lose_none(server: Loaded) -> None:
    with Load(server, "/large") as load:
        for _ in range(10):
            server.reload()
    assert load.losses == []
    assert load.requests > 100
    assert "[alert]" not in server.log()
    assert "[error]" not in server.log()


def reopen(server: Loaded) -> None:
    """A log rotation: the old file is moved away, USR1, and the lines go to the new one."""
    log = server.prefix / "access.log"
    log.rename(server.prefix / "access.log.1")
    os.kill(server.pid(), signal.SIGUSR1)
    wait_until(lambda: text_of(log), what="lines in the new access log")


def upgrade(server: Loaded) -> None:
    """USR2 starts the new binary, WINCH sends the old workers away, QUIT the old supervisor."""
    old = server.pid()
    os.kill(old, signal.SIGUSR2)
    wait_until(lambda: server.pid() != old, 20, "the new binary's pid file")
    new = server.pid()
    server.started.append(new)
    wait_until(lambda: len(children(new)) == WORKERS, what="the new binary's workers")
    os.kill(old, signal.SIGWINCH)
    wait_until(lambda: set(children(old)) <= {new}, 20, "the end of the old workers")
    os.kill(old, signal.SIGQUIT)
    assert server.process.wait(10) == 0
    assert server.pid() == new


def test_a_killed_worker_is_replaced(server: Loaded) -> None:
    """What it was serving is lost, of course: at most one request for each of its connections."""
    pid = server.pid()
    with Load(server) as load:
        wait_until(lambda: (server.prefix / "access.log").stat().st_size > 0, what="requests in the log")
        victim = children(pid)[0]
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in children(pid) and len(children(pid)) == WORKERS, what="a new worker")
        assert server.ask("/hello")
        settled = (server.prefix / "access.log").stat().st_size
        wait_until(lambda: (server.prefix / "access.log").stat().st_size > settled + 50_000, what="service")
    assert f"worker process {victim} exited on signal 9" in server.log()
    assert load.requests > 100
    lost = [int(number) for line in load.losses for number in re.findall(r"\d+", line.removeprefix("Non-2xx"))]
    assert sum(lost) <= 16, load.losses
