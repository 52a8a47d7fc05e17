"""Starting: errors that reach the caller, ports in use, the background, privileges, `-s`."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.processes import Process, children, free_port, pid_in, wait_until
from tests.system.supervised import Supervised, alive

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="changing the user needs root")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Supervised]:
    supervised = Supervised(tmp_path)
    yield supervised
    supervised.stop()


def test_a_port_in_use_names_who_holds_it(tmp_path: Path) -> None:
    """Also a port that is shared with others, and a Unix socket; all at once, as each is tried for 2.5 s."""
    folders = [tmp_path / name for name in ("alone", "shared", "unix")]
    for folder in folders:
        folder.mkdir()
    servers = [Supervised(folder) for folder in folders]
    path = servers[2].prefix / "s"
    with ExitStack() as holders:
        for server, extra in zip(servers[:2], ("", " reuseport"), strict=True):
            server.configure(listen=f"listen 127.0.0.1:{server.port}{extra};")
            holder = holders.enter_context(socket.socket())
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            holder.bind(("127.0.0.1", server.port))
            holder.listen()
        servers[2].configure(listen=f"listen 127.0.0.1:{servers[2].port}; listen unix:{path};")
        living = holders.enter_context(socket.socket(socket.AF_UNIX))
        living.bind(str(path))
        living.listen()
        with ThreadPoolExecutor(3) as threads:
            results = list(threads.map(lambda server: server.run(), servers))
        assert path.exists()
    for server, result in zip(servers, results, strict=True):
        assert result.returncode == 1
        address = f"unix:{path}" if server is servers[2] else f"127.0.0.1:{server.port}"
        assert result.stderr.startswith(f"portico: [emerg] bind() to {address} failed (98: Address already in use)")
        assert f"held by process {os.getpid()} (" in result.stderr
        assert result.stderr.endswith("portico: [emerg] still could not bind()\n")
        assert server.log().count("try again to bind() after 500ms") == 5
        assert not server.pid_path.exists()


def test_a_port_that_becomes_free_is_taken(server: Supervised) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", server.port))
        holder.listen()
        server.process = Process(server.argv(), server.prefix / "output")
        server.await_log("try again to bind()")
        assert not server.pid_path.exists()
    server.await_pid()
    assert server.ask()[0] == "one"


def test_a_stale_unix_socket_is_replaced(server: Supervised) -> None:
    path = server.prefix / "s"
    server.configure(listen=f"listen 127.0.0.1:{server.port}; listen unix:{path};")
    with socket.socket(socket.AF_UNIX) as holder:
        holder.bind(str(path))
        holder.listen()
    server.start()
    assert path.stat().st_mode & 0o777 == 0o666
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"hi\n")
        assert client.recv(100).startswith(b"one ")
    server.signal(signal.SIGQUIT)
    assert server.process is not None and server.process.wait() == 0
    assert not path.exists()


def test_a_stale_pid_file_is_replaced(server: Supervised) -> None:
    server.pid_path.write_text("1\n")
    server.process = Process(server.argv(), server.prefix / "output")
    wait_until(lambda: pid_in(server.pid_path) == server.process.pid)  # type: ignore[union-attr]
    server.await_pid()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("}", 'portico: [emerg] unexpected "}" in '),
        ("nonsense 1;", 'portico: [emerg] unknown directive "nonsense" in '),
        ("error_log /nonexistent/x;", 'portico: [emerg] open() "/nonexistent/x" failed (2: '),
        ("pid /nonexistent/x;", 'portico: [emerg] open() "/nonexistent/x" failed (2: '),
        (
            "daemon on; pid /nonexistent/x;",
            'portico: [emerg] open() "/nonexistent/x" failed (2: ',
        ),
        ("working_directory /nonexistent;", "no worker process can be started"),
        ("daemon on; working_directory /nonexistent;", 'chdir("/nonexistent") failed (2: '),
    ],
)
def test_what_prevents_the_start_is_printed(server: Supervised, change: str, told: str) -> None:
    server.configure(extra=change)
    result = server.run()
    assert told in result.stderr
    assert result.returncode == 1
    assert not server.pid_path.exists()


def test_in_the_background(server: Supervised) -> None:
    server.configure(extra="daemon on;")
    result = server.run()
    assert (result.returncode, result.stderr, result.stdout) == (0, "", "")
    pid = server.await_pid()  # there already
    assert server.ask()[0] == "one"
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    assert int(fields[3]) not in (pid, os.getsid(0))  # its own session, of which it is not the leader
    assert int(fields[4]) == 0  # no terminal
    assert os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    assert os.readlink(f"/proc/{pid}/fd/2") == str(server.log_path)
    server.signal(signal.SIGQUIT)
    wait_until(lambda: not alive(pid))


def test_signals_by_name(server: Supervised) -> None:
    assert server.run("-s", "reload").returncode == 1
    server.start()
    server.configure("two")
    assert server.run("-s", "reload").returncode == 0
    wait_until(lambda: server.serves("two"))
    assert server.run("-s", "reopen").returncode == 0
    server.await_log(": reopening logs", 3)
    assert server.run("-s", "quit").returncode == 0
    assert server.process is not None and server.process.wait() == 0
    result = server.run("-s", "stop")
    assert result.returncode == 1
    told = f'portico: [error] open() "{server.pid_path}" failed (2: No such file or directory)\n'
    assert result.stderr == told


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", 'portico: [error] invalid PID number "" in "'),
        ("abc\n", 'portico: [error] invalid PID number "abc" in "'),
        ("0\n", 'portico: [error] invalid PID number "0" in "'),
        ("4194305\n", "portico: [alert] kill(4194305, 15) failed (3: No such process)"),
    ],
)
def test_a_pid_file_that_leads_nowhere(server: Supervised, content: str, told: str) -> None:
    server.pid_path.write_text(content)
    result = server.run("-s", "stop")
    assert result.returncode == 1
    assert result.stderr.startswith(told)


def test_a_single_process(server: Supervised) -> None:
    server.main = "worker_processes 4; master_process off;"
    server.configure()
    server.start()
    pid = server.ask()[1]
    assert int(pid) == server.pid
    assert children(server.pid) == []
    descriptors = server.descriptors()
    (server.prefix / "conf").write_text("nonsense;")
    server.signal(signal.SIGHUP)
    server.await_log('unknown directive "nonsense"')
    assert "signal 1 (SIGHUP) received, reconfiguring" in server.log()
    server.configure("two")
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.serves("two"))
    wait_until(lambda: server.descriptors() <= descriptors, what="descriptors to be given back")
    server.signal(signal.SIGUSR1)
    server.await_log("reopening logs")
    server.signal(signal.SIGQUIT)
    assert server.process is not None and server.process.wait() == 0
    assert not server.pid_path.exists()


def test_a_worker_has_only_its_own_descriptors(server: Supervised) -> None:
    server.configure(listen=f"listen 127.0.0.1:{server.port} reuseport; listen 127.0.0.1:{free_port()};")
    server.start()
    names = server.ask("fds")
    listening = {f"socket:[{inode}]" for inode in _listening_inodes()}
    assert len([name for name in names if name in listening]) == 2  # of three


def _listening_inodes() -> list[str]:
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    return [line.split()[9] for line in lines if line.split()[3] == "0A"]


def test_the_environment_of_workers(server: Supervised, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KEPT", "1")
    monkeypatch.setenv("DROPPED", "1")
    monkeypatch.setenv("TZ", "UTC")
    server.configure(extra="env KEPT; env GIVEN=2;")
    server.start()
    assert [server.ask(f"env {name}") for name in ("KEPT", "DROPPED", "GIVEN", "TZ")] == [
        ["1"],
        ["None"],
        ["2"],
        ["UTC"],
    ]


@needs_root
def test_workers_drop_privileges_and_can_still_reopen_their_log() -> None:
    prefix = Path(tempfile.mkdtemp())  # not tmp_path: that is closed to other users
    prefix.chmod(0o755)
    server = Supervised(prefix)
    try:
        server.main = "worker_processes 1; user nobody; worker_rlimit_nofile 500; worker_priority 3;"
        server.configure()
        server.start()
        (worker,) = server.workers()
        status = Path(f"/proc/{worker}/status").read_text()
        nobody = os.stat(f"/proc/{worker}").st_uid
        assert f"Uid:\t{nobody}\t{nobody}\t{nobody}\t{nobody}\n" in status
        assert nobody != 0 and "Groups:\t0" not in status
        assert os.getpriority(os.PRIO_PROCESS, worker) == 3
        limits = Path(f"/proc/{worker}/limits").read_text()
        assert any(line.split()[:5] == ["Max", "open", "files", "500", "500"] for line in limits.splitlines())
        server.log_path.unlink()
        server.signal(signal.SIGUSR1)
        wait_until(lambda: server.log_path.exists() and server.log_path.stat().st_uid == nobody, what="the new log, given away")

        def reopened() -> bool:  # a signal that comes while one is pending is lost: ask again
            os.kill(worker, signal.SIGUSR1)
            return "reopening logs" in server.log()

        wait_until(reopened)
        assert "Permission denied" not in server.log()
    finally:
        server.stop()
        shutil.rmtree(prefix)
