"""The same story told to nginx and to Portico: exit codes, pid files and what the masters log must be the same.

Each story runs with the whole program on either side; the error logs are compared line by line, without what
is a machine's own affair (times, pids, who is woken by which signal) and without Portico's additions to a
line (the place in the configuration, who holds a port).
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.processes import NGINX, PORTICO, Process, children, free_port, listening, pid_in, text_of, wait_until
from tests.system.supervised import alive, is_gone

pytestmark = pytest.mark.skipif(not shutil.which(NGINX), reason="nginx is not installed")

CONF = """\
pid logs/some.pid;
error_log logs/error.log notice;
worker_processes 1;
{main}
events {{ }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    server {{ listen 127.0.0.1:{port}; return 200 {word}; }}
}}
"""
NGINX_ONLY = "    fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;\n"


class Server:
    """One of the two programs in a directory of its own."""

    def __init__(self, name: str, folder: Path, port: int, main: str) -> None:
        self.name = name
        self.program = (NGINX,) if name == "nginx" else PORTICO
        self.folder = folder
        self.port = port
        self.main = main
        self.pids: list[int] = []
        self.foreground: Process | None = None
        (folder / "logs").mkdir(parents=True)
        self.configure("one")

    def configure(self, word: str) -> None:
        text = CONF.format(main=self.main, port=self.port, word=word)
        (self.folder / "nginx.conf").write_text(text if self.name == "nginx" else text.replace(NGINX_ONLY, ""))

    def argv(self, *more: str) -> list[str]:
        return [*self.program, "-p", f"{self.folder}/", "-c", "nginx.conf", "-e", "early.log", *more]

    def run(self, *more: str) -> int:
        """To its end, as with -s; what it prints stays in `printed`."""
        done = subprocess.run(self.argv(*more), capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        self.printed = done.stderr
        return done.returncode

    def start(self) -> None:
        self.foreground = Process(self.argv(), self.folder / "output")
        self.await_pid()
        self.await_worker()

    def await_pid(self, other: int = 0) -> int:
        """The pid in the pid file, once there is one that is not `other`."""
        path = self.folder / "logs" / "some.pid"

        def read() -> int:
            found = pid_in(path)
            return found if found != other else 0

        self.pids.append(wait_until(read, what=f"{self.name}'s pid file"))
        return self.pids[-1]

    @property
    def pid(self) -> int:
        return self.pids[-1]

    def await_worker(self, other: int = 0) -> int:
        """The pid of the only worker, once that is alone and not `other`, and serves."""

        def only() -> int:
            found = [child for child in children(self.pid) if child not in self.pids]
            return found[0] if len(found) == 1 and found[0] != other and self.answers() else 0

        return wait_until(only, what=f"{self.name}'s worker")

    def answers(self) -> bool:
        """Whether a worker serves; that the supervisor listens says nothing about that."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=5) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                return client.recv(4096).startswith(b"HTTP/1.1 200 ")
        except OSError:
            return False

    def await_log(self, text: str, times: int = 1) -> None:
        wait_until(lambda: self.raw_log().count(text) >= times, what=f"{text!r} in\n{self.raw_log()}")

    def raw_log(self) -> str:
        return text_of(self.folder / "logs" / "error.log")

    def log(self) -> list[str]:
        return shape(self.raw_log(), self.folder)

    def files(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "logs").iterdir())

    def stop(self) -> None:
        for pid in self.pids:
            if alive(pid):
                os.kill(pid, signal.SIGTERM)
        if self.foreground is not None:
            self.foreground.stop()
        for pid in self.pids:
            wait_until(lambda pid=pid: not alive(pid), what=f"the end of {pid}")


def shape(log: str, folder: Path) -> list[str]:
    """nginx's lines without what must differ, process by process: whose line is first is a matter of the scheduler."""
    by_process: dict[str, list[str]] = {}
    for line in log.splitlines():
        text = line.partition(": ")[2].replace(str(folder), "PREFIX")
        if re.search(r"SIGCHLD|SIGIO|^OS: |event method|^getrlimit|^(nginx|portico)/|try again", text):
            continue
        text = re.sub(r" in PREFIX/nginx\.conf:\d+.*", "", text)
        text = re.sub(r"\b(process|from) \d+", r"\1 N", text)
        start = re.search(r"(\[\w+\]) (\d+)#", line)
        assert start, line
        lines = by_process.setdefault(start[2], [])
        lines.append(f"{start[1]} {re.sub(r'127[.]0[.]0[.]1:[0-9]+', 'ADDRESS', text)}")
    return [line for lines in by_process.values() for line in lines]


@pytest.fixture
def both(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], tuple[Server, Server]]]:
    servers: list[Server] = []

    def make(main: str) -> tuple[Server, Server]:
        servers.extend(Server(name, tmp_path / name, free_port(), main) for name in ("nginx", "portico"))
        return servers[0], servers[1]

    yield make
    for server in servers:
        server.stop()


Both = Callable[[str], tuple[Server, Server]]


def test_reload_reopen_and_quit_by_name(both: Both) -> None:
    servers = both("daemon off;")
    for server in servers:
        server.start()
        worker = server.await_worker()
        assert server.run("-s", "reload") == 0
        server.await_worker(other=worker)
        server.await_log("exited with code 0")
        assert server.run("-s", "reopen") == 0
        server.await_log(": reopening logs", 2)
        assert server.run("-s", "quit") == 0
        assert server.foreground is not None and server.foreground.wait() == 0
        assert server.files() == ["error.log"]
    nginx, portico = servers
    assert portico.log() == nginx.log()
    assert [line for line in portico.log() if "SIG" in line] == [
        "[notice] signal 1 (SIGHUP) received from N, reconfiguring",
        "[notice] signal 10 (SIGUSR1) received from N, reopening logs",
        "[notice] signal 3 (SIGQUIT) received from N, shutting down",
    ]
    early = [shape((server.folder / "early.log").read_text(), server.folder) for server in servers]
    assert early[1] == early[0] == ["[notice] signal process started"] * 3


def test_a_second_start_disturbs_nothing(both: Both) -> None:
    servers = both("daemon off;")
    for server in servers:
        server.start()
    with ThreadPoolExecutor(2) as threads:  # each tries to bind for 2.5 s
        assert list(threads.map(lambda server: server.run(), servers)) == [1, 1]
    for server in servers:
        assert server.printed.startswith(f"{server.name}: [emerg] bind() to 127.0.0.1:{server.port} failed (98: ")
        assert server.printed.endswith(f"{server.name}: [emerg] still could not bind()\n")
        assert (server.folder / "logs" / "some.pid").read_text() == f"{server.pid}\n"
        assert server.run("-t") == 0  # its port is in use, most likely by the very server whose next configuration this is
        assert listening(server.port) and server.pid == server.pids[0]


def test_in_the_background_and_back(both: Both) -> None:
    servers = both("daemon on;")
    for server in servers:
        assert (server.run(), server.printed) == (0, "")
        pid = server.await_pid()
        assert [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in range(3)] == [
            "/dev/null", "/dev/null", f"{server.folder}/logs/error.log",
        ]  # fmt: skip
        server.await_worker()
        assert server.run("-s", "stop") == 0
        wait_until(lambda pid=pid: not alive(pid), what="its end")
        assert server.files() == ["error.log"]
        assert server.run("-s", "stop") == 1
        assert server.printed == (
            f'{server.name}: [error] open() "{server.folder}/logs/some.pid" failed (2: No such file or directory)\n'
        )
    assert servers[1].log() == servers[0].log()


def test_a_worker_that_is_killed(both: Both) -> None:
    servers = both("daemon off;")
    for server in servers:
        server.start()
        worker = server.await_worker()
        os.kill(worker, signal.SIGKILL)
        server.await_worker(other=worker)
        wait_until(lambda pid=worker: is_gone(pid), what="no zombie")
        os.kill(server.pid, signal.SIGTERM)
        assert server.foreground is not None and server.foreground.wait() == 0
        assert "[alert] worker process N exited on signal 9" in server.log()
    assert servers[1].log() == servers[0].log()


def test_a_bad_reload(both: Both) -> None:
    servers = both("daemon off;")
    for server in servers:
        server.start()
        worker = server.await_worker()
        (server.folder / "nginx.conf").write_text("nonsense;\n")
        assert server.run("-s", "reload") == 1  # -s reads the configuration too, for the pid file's name
        assert server.printed.startswith(f'{server.name}: [emerg] unknown directive "nonsense" in {server.folder}/nginx.conf:1\n')
        os.kill(server.pid, signal.SIGHUP)
        server.await_log('unknown directive "nonsense"')
        assert server.await_worker() == worker
        os.kill(server.pid, signal.SIGQUIT)
        assert server.foreground is not None and server.foreground.wait() == 0
    assert servers[1].log() == servers[0].log()


def test_an_upgrade(both: Both) -> None:
    servers = both("daemon on;")  # nginx takes USR2 only as a daemon
    for server in servers:
        assert server.run() == 0
        old = server.await_pid()
        server.await_worker()
        os.kill(old, signal.SIGUSR2)
        new = server.await_pid(other=old)
        server.await_worker()
        assert server.files() == ["error.log", "some.pid", "some.pid.oldbin"]
        os.kill(old, signal.SIGWINCH)
        wait_until(lambda old=old, new=new: children(old) == [new], what="the end of the old worker")
        os.kill(old, signal.SIGQUIT)
        wait_until(lambda old=old: not alive(old), what="the end of the old master")
        assert listening(server.port) and server.files() == ["error.log", "some.pid"]
        os.kill(new, signal.SIGQUIT)
        wait_until(lambda new=new: not alive(new), what="the end of the new master")
        assert server.files() == ["error.log"]
    assert servers[1].log() == servers[0].log()


def shown(pid: int) -> str:
    """What ps(1) shows, without the words of the command."""
    text = Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0").decode()
    return re.sub(r"^(nginx|portico): ", "NAME: ", text).partition(" process ")[0]


def test_what_ps_shows(both: Both) -> None:
    """Also of workers that have another user, and of one that stays for a request that is not finished."""
    for server in both("daemon off;"):
        server.start()
        worker = server.await_worker()
        assert shown(server.pid) == "NAME: master"
        assert shown(worker) == "NAME: worker process"
        with socket.create_connection(("127.0.0.1", server.port), timeout=5) as client:
            client.sendall(b"GET / HTTP/1.1\r\n")

            ours = (client.getsockname()[1], server.port)
            wait_until(lambda pid=worker, ours=ours: ours in connections(pid), what="the connection to be taken")
            os.kill(server.pid, signal.SIGHUP)
            leaving = Path(f"/proc/{worker}/cmdline")
            wait_until(lambda path=leaving: b"worker process is shutting down" in path.read_bytes(), what="its title")
            client.sendall(b"Host: x\r\nConnection: close\r\n\r\n")
            assert client.recv(4096).startswith(b"HTTP/1.1 200 ")
        wait_until(lambda pid=worker: is_gone(pid), what="its end")


def connections(pid: int) -> list[tuple[int, int]]:
    """The connections that the process holds, as ports: the client's, its own."""
    held = set()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            held.add(os.readlink(f"/proc/{pid}/fd/{name}"))
        except FileNotFoundError:
            pass
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return [(_port(row[2]), _port(row[1])) for row in rows if f"socket:[{row[9]}]" in held]


def _port(address: str) -> int:
    return int(address.rpartition(":")[2], 16)
