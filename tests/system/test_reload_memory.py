"""Reloads add nothing up: memory, descriptors, mappings and threads of the supervisor and of the newest worker.

Few reloads in the suite. PORTICO_SOAK_RELOADS=500 asks for that many of each kind.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.processes import Process, children, free_port, pid_in, portico, wait_until
from tests.system.supervised import alive

from portico.net.certificates import self_signed

ASKED = int(os.environ.get("PORTICO_SOAK_RELOADS", "0"))
RELOADS = ASKED or 14
SETTLED = 20 if ASKED else 6  # reloads after which the memory allocator has all that it ever needs
FAILURES = ASKED or 12
UPGRADES = ASKED // 10 or 3

LOCATIONS = 250
MAPPED = 3000
ONE_PLAN_MB = 7.0  # what this configuration takes
GROWTH_MB = ONE_PLAN_MB / 2

MAIN = """\
user root;
worker_processes {workers};
master_process {master};
pid {folder}/portico.pid;
error_log {folder}/error.log notice;
events {{ }}
http {{
    access_log {folder}/access.log combined buffer=64k flush=1s;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    proxy_cache_path {folder}/cache keys_zone=cache:{zone}k;
    limit_req_zone $binary_remote_addr zone=requests:{zone}k rate=100r/s;
    limit_conn_zone $binary_remote_addr zone=connections:1m;
    map $arg_key $mapped {{ default none; ~^(?<start>a+)(?!b) $start;
{map}    }}
    geo $region {{ default none; 192.0.2.0/24 one; }}
    split_clients $remote_addr $part {{ 50% a; * b; }}
    upstream peers {{ zone peers 64k; server 127.0.0.1:9; server 127.0.0.1:9 backup; keepalive 4; }}
    server {{
        listen 127.0.0.1:{port};
        location = /generation {{ return 200 "{generation}\\n"; }}
        location /limited {{ limit_req zone=requests; limit_conn connections 9; proxy_pass http://peers; proxy_cache cache; }}
        location /guarded {{ auth_basic closed; auth_basic_user_file {folder}/users; gzip on; }}
        location ~ ^/(?<name>[a-z]+)/(\\d+)$ {{ rewrite ^/(.*)$ /other/$1 last; }}
        location /conditional {{ if ($mapped = "value1") {{ return 204; }} }}
{locations}    }}
    server {{
        listen 127.0.0.1:{tls} ssl;
        ssl_certificate {folder}/certificate.pem;
        ssl_certificate_key {folder}/key.pem;
        server_name a.example *.b.example ~^c(?<number>\\d+)\\.example$;
    }}
    {more}
}}
"""
LOCATION = """\
        location /l{0}/ {{ proxy_pass http://peers; proxy_set_header X-Number n{0}-$mapped; add_header X-Location l{0}; }}
"""


class Reloaded:
    """Portico with a large configuration, and what it uses."""

    def __init__(self, folder: Path, master: bool = True) -> None:
        self.folder = folder
        self.master = master
        self.port, self.tls = free_port(), free_port()
        self.generation = 0
        self.zone = 512
        certificate, key = self_signed(["a.example"], 2)
        (folder / "certificate.pem").write_bytes(certificate)
        (folder / "key.pem").write_bytes(key)
        (folder / "users").write_text("")
        self.conf = folder / "nginx.conf"
        self.configure()
        self.process: Process = portico(folder, self.conf)

    def configure(self, more: str = "") -> None:
        """Write a configuration that differs from all before it; every other time the zones are of another size."""
        self.generation += 1
        self.zone = 1536 - self.zone
        text = MAIN.format(
            workers=1,
            master="on" if self.master else "off",
            folder=self.folder,
            port=self.port,
            tls=self.tls,
            zone=self.zone,
            generation=self.generation,
            map="".join(f"        key{n} value{n};\n" for n in range(MAPPED)),
            locations="".join(LOCATION.format(n) for n in range(LOCATIONS)),
            more=more,
        )
        self.conf.write_text(text)

    def start(self) -> Reloaded:
        self.process.wait_listening(self.port)
        wait_until(lambda: self.serves(self.pid), what="the first answer")
        return self

    @property
    def pid(self) -> int:
        return self.process.pid

    def worker(self, supervisor: int) -> int:
        """The one process that serves; 0 while there are several."""
        if not self.master:
            return supervisor
        workers = children(supervisor)
        return workers[0] if len(workers) == 1 else 0

    def serves(self, supervisor: int) -> bool:
        """Whether the last configuration is in force: only its worker is there, and answers."""
        return bool(self.worker(supervisor)) and self.ask() == str(self.generation)

    def ask(self) -> str:
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
                client.sendall(b"GET /generation HTTP/1.0\r\n\r\n")
                received = b"".join(iter(lambda: client.recv(4096), b""))
        except OSError:
            return ""
        return received.rpartition(b"\r\n\r\n")[2].decode().strip()

    def reload(self) -> None:
        self.configure()
        os.kill(self.pid, signal.SIGHUP)
        wait_until(lambda: self.serves(self.pid), 20, f"reload {self.generation}")

    def usage(self) -> dict[str, float]:
        """What grows when something is not given back."""
        used: dict[str, float] = {}
        for name, pid in (("supervisor", self.pid), ("worker", self.worker(self.pid))):
            used[f"{name} memory"] = _resident_mb(pid)
            used[f"{name} descriptors"] = len(os.listdir(f"/proc/{pid}/fd"))
            used[f"{name} threads"] = len(os.listdir(f"/proc/{pid}/task"))
            used[f"{name} shared mappings"] = _shared_mappings(pid)
        return used

    def log(self) -> str:
        return (self.folder / "error.log").read_text()

    def stop(self) -> None:
        self.process.stop()
        assert "Traceback" not in self.log() + self.process.output()


def _resident_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def _shared_mappings(pid: int) -> int:
    """Those of the zones, and nothing else that Portico maps, are shared and writable."""
    lines = Path(f"/proc/{pid}/maps").read_text().splitlines()
    return sum(line.split()[1].startswith("rw-s") for line in lines)


def grown(before: dict[str, float], after: dict[str, float]) -> str:
    """What is more than it was; "" when nothing is."""
    for name, value in after.items():
        if value > before[name] + (GROWTH_MB if name.endswith("memory") else 0):
            return f"{name} grew from {before[name]:g} to {value:g}: {before} {after}"
    return ""


def assert_flat(before: dict[str, float], after: dict[str, float]) -> None:
    more = grown(before, after)
    assert not more, more


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Reloaded]:
    running = Reloaded(tmp_path)
    try:
        yield running.start()
    finally:
        running.stop()


@pytest.fixture
def single(tmp_path: Path) -> Iterator[Reloaded]:
    running = Reloaded(tmp_path, master=False)
    try:
        yield running.start()
    finally:
        running.stop()


def _reload_and_compare(server: Reloaded) -> None:
    # The size of the zones takes turns, so both numbers are even.
    for _ in range(SETTLED):
        server.reload()
    settled = server.usage()
    for _ in range(RELOADS - SETTLED):
        server.reload()
    assert_flat(settled, server.usage())


@pytest.mark.timeout(60 + 2 * RELOADS)
def test_a_reload_gives_back_the_old_configuration(server: Reloaded) -> None:
    started = server.usage()
    _reload_and_compare(server)
    # Two plans exist for a moment during a reload, and what the second took is used by the third.
    assert server.usage()["worker memory"] < started["worker memory"] + 2 * ONE_PLAN_MB


@pytest.mark.timeout(60 + 2 * RELOADS)
def test_a_single_process_gives_back_the_old_configuration(single: Reloaded) -> None:
    _reload_and_compare(single)


@pytest.mark.timeout(60 + 2 * FAILURES)
def test_a_reload_that_fails_leaves_nothing(server: Reloaded) -> None:
    """In turns for a mistake in the text and for an address that cannot be bound."""
    worker = server.worker(server.pid)
    generation = server.generation
    settled: dict[str, float] = {}
    for turn in range(1, FAILURES + 1):
        server.configure("nonsense;" if turn % 2 else "server { listen 192.0.2.1:81; }")
        os.kill(server.pid, signal.SIGHUP)
        wait_until(lambda turn=turn: server.log().count("[emerg]") == turn, 20, f"failure {turn}")
        if turn == min(SETTLED, FAILURES // 2):
            settled = server.usage()
    # The line is written before what was made for the new configuration is released.
    wait_until(lambda: grown(settled, server.usage()) == "" or None, what=f"nothing is left: {grown(settled, server.usage())}")
    assert (server.worker(server.pid), server.ask()) == (worker, str(generation))


def test_opening_the_logs_anew_leaves_nothing(server: Reloaded) -> None:
    settled: dict[str, float] = {}
    for turn in range(1, 101):
        os.kill(server.pid, signal.SIGUSR1)
        # "received …, reopening logs" and "reopening logs" in the supervisor, and the latter in the worker.
        wait_until(lambda turn=turn: server.log().count("reopening logs") == 3 * turn, what=f"reopening {turn}")
        if turn == 50:
            settled = server.usage()
    assert_flat(settled, server.usage())


@pytest.mark.timeout(60 + 5 * UPGRADES)
def test_an_upgrade_that_is_taken_back_leaves_nothing(server: Reloaded) -> None:
    pid_file, old_pid_file = server.folder / "portico.pid", server.folder / "portico.pid.oldbin"
    settled: dict[str, float] = {}
    for turn in range(1, UPGRADES + 1):
        os.kill(server.pid, signal.SIGUSR2)
        wait_until(old_pid_file.exists, 20, "the pid file's move")
        fresh = wait_until(lambda: pid_in(pid_file), 20, "the new pid file")
        try:
            wait_until(lambda fresh=fresh: children(fresh), 20, "the new program's worker")
        finally:
            os.kill(fresh, signal.SIGQUIT)
            wait_until(lambda fresh=fresh: not alive(fresh), 20, "the end of the new program")
        wait_until(lambda: pid_in(pid_file) == server.pid, 20, "the pid file's return")
        if turn == 1:
            settled = server.usage()
    assert_flat(settled, server.usage())
