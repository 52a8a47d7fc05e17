"""The supervisor's signals, with real processes: what stops, what goes on, and what is logged."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.processes import children, free_port, pid_in, wait_until
from tests.system.supervised import Supervised, alive, is_gone, say


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Supervised]:
    supervised = Supervised(tmp_path)
    yield supervised
    supervised.stop()


def test_start_is_told_in_nginx_words(server: Supervised) -> None:
    server.start()
    word, pid, _ = server.ask()
    assert word == "one"
    assert int(pid) in server.workers()
    assert server.pid_path.read_text() == f"{server.pid}\n"
    log = server.log()
    for words in ('using the "epoll" event method', "portico/", "OS: Linux ", "getrlimit(RLIMIT_NOFILE): "):
        assert f"[notice] {server.pid}#{server.pid}: {words}" in log
    assert log.count("start worker process ") == 2


def _accepts(server: Supervised) -> bool:
    try:
        server.connect().close()
    except OSError:
        return False
    return True


def test_quit_finishes_what_is_in_flight(server: Supervised) -> None:
    server.start()
    with server.connect() as client:
        first = say(client, "hi")
        server.signal(signal.SIGQUIT)
        server.await_log("gracefully shutting down", 2)
        assert say(client, "hi") == first
        wait_until(lambda: not _accepts(server), what="the listening sockets closed in all processes")
    assert server.process is not None and server.process.wait() == 0
    assert not server.pid_path.exists()
    log = server.log()
    assert f"signal 3 (SIGQUIT) received from {os.getpid()}, shutting down" in log
    assert log.count("exited with code 0") == 2
    assert log.rstrip().endswith(f"{server.pid}#{server.pid}: exit")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_term_ends_at_once(server: Supervised, number: int) -> None:
    server.start()
    workers = server.workers()
    with server.connect() as client:
        say(client, "hi")
        server.signal(number)
        assert server.process is not None and server.process.wait(5) == 0
        assert client.recv(10) == b""
    assert not server.pid_path.exists()
    assert all(is_gone(pid) for pid in workers)


def test_a_worker_that_ignores_term_is_killed(server: Supervised) -> None:
    server.start()
    stuck = server.workers()[0]
    os.kill(stuck, signal.SIGSTOP)
    server.signal(signal.SIGTERM)
    assert server.process is not None and server.process.wait(8) == 0
    assert f"worker process {stuck} exited on signal 9" in server.log()


def test_reload_replaces_the_workers(server: Supervised) -> None:
    server.start()
    before = server.workers()
    with server.connect() as client:
        old = say(client, "hi")
        server.configure("two")
        server.signal(signal.SIGHUP)
        wait_until(lambda: server.serves("two"), what="the new configuration")
        server.await_log("gracefully shutting down", 2)
        assert say(client, "hi") == old  # served by the old worker to the end
    wait_until(lambda: all(is_gone(pid) for pid in before), what="the end of the old workers")
    assert len(server.workers()) == 2
    assert f"signal 1 (SIGHUP) received from {os.getpid()}, reconfiguring" in server.log()


def test_no_connection_is_lost_over_reloads_and_no_descriptor_leaks(server: Supervised) -> None:
    other = free_port()
    shared = f"listen 127.0.0.1:{server.port} reuseport; listen unix:{server.prefix}/s;"
    server.configure("w0", listen=shared)
    server.start()
    open_before = server.descriptors()
    for turn in range(1, 6):
        server.configure(f"w{turn}", listen=shared + (f"listen 127.0.0.1:{other};" if turn % 2 else ""))
        server.signal(signal.SIGHUP)
        while server.ask()[0] != f"w{turn}":  # every one of these connections must be answered
            pass
        server.await_log("worker process", 0)
        wait_until(lambda: len(server.workers()) == 2, what="two workers")
    server.configure("last", listen=shared)
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.serves("last") and len(server.workers()) == 2)
    assert server.descriptors() == open_before
    wait_until(lambda: not _connects(other), what="the end of a listener that is not listed any more")


def _connects(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("nonsense on;", 'unknown directive "nonsense" in '),
        ("word unopenable;", "the memory is full"),
        ("error_log /nonexistent/log;", 'open() "/nonexistent/log" failed (2: No such file or directory)'),
        ("pid /nonexistent/pid;", 'open() "/nonexistent/pid" failed (2: No such file or directory)'),
    ],
)
def test_a_bad_reload_changes_nothing(server: Supervised, change: str, told: str) -> None:
    server.start()
    before, descriptors = server.workers(), server.descriptors()
    text = (server.prefix / "conf").read_text()
    (server.prefix / "conf").write_text(
        text.replace("word one;", change) if change.startswith("word") else change + text
    )
    server.signal(signal.SIGHUP)
    server.await_log(told)
    assert server.ask()[0] == "one"
    assert server.workers() == before
    wait_until(lambda: server.descriptors() == descriptors, what="what the bad one had opened to be closed")


def test_reload_moves_the_pid_file(server: Supervised) -> None:
    server.start()
    server.configure("two", extra="pid other.pid;")
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.serves("two"))
    assert (server.prefix / "other.pid").read_text() == f"{server.pid}\n"
    assert not server.pid_path.exists()


def test_usr1_opens_the_logs_anew(server: Supervised) -> None:
    server.start()
    moved = server.log_path.rename(server.prefix / "moved")
    server.signal(signal.SIGUSR1)
    wait_until(lambda: moved.read_text().count(": reopening logs") == 3, what="everyone to reopen")
    wait_until(server.log_path.exists)
    server.ask("crash")
    server.await_log("exited with code 3")
    assert "exited with code 3" not in moved.read_text()


def test_dead_workers_are_replaced(server: Supervised) -> None:
    server.start()
    for turn in range(1, 4):
        victim = server.workers()[0]
        os.kill(victim, signal.SIGKILL)
        server.await_log(f"[alert] {server.pid}#{server.pid}: worker process {victim} exited on signal 9")
        server.await_log("start worker process ", 2 + turn)
        wait_until(lambda: len(server.workers()) == 2)
    assert server.serves()


def test_a_worker_that_cannot_serve_is_not_started_in_a_hurry(server: Supervised) -> None:
    server.start()
    server.configure("fatal")
    server.signal(signal.SIGHUP)
    server.await_log("RuntimeError: cannot serve", 6)
    # Two workers, each at once, after 0.1, 0.2, 0.4 … seconds: the log stays short.
    assert server.log().count("RuntimeError: cannot serve") < 20
    assert server.serves("one")  # the old ones stay while no new one serves
    server.configure("two")
    server.signal(signal.SIGHUP)
    wait_until(lambda: server.serves("two"))


def test_winch_stops_the_workers_and_hup_starts_them(server: Supervised) -> None:
    server.start()
    server.signal(signal.SIGWINCH)
    wait_until(lambda: not server.workers(), what="the end of the workers")
    server.signal(signal.SIGHUP)
    wait_until(lambda: len(server.workers()) == 2 and server.serves())


def test_workers_do_not_outlive_a_killed_supervisor(server: Supervised) -> None:
    server.start()
    workers = server.workers()
    server.signal(signal.SIGKILL)
    wait_until(lambda: not any(alive(pid) for pid in workers), what="the end of the workers")
    assert server.pid_path.exists()
    assert server.process is not None
    server.process.wait()
    server.pid_path.unlink()  # or `start` would take the stale one for the new
    server.started.clear()
    server.start()


def test_the_upgrade_goes_through(server: Supervised) -> None:
    server.start()
    old = server.pid
    old_pid_path = Path(f"{server.pid_path}.oldbin")
    server.configure("two")
    server.signal(signal.SIGUSR2)
    wait_until(lambda: pid_in(server.pid_path) not in (0, old))
    new = int(server.pid_path.read_text())
    server.started.append(new)
    assert int(old_pid_path.read_text()) == old
    assert 'using inherited sockets from "' in server.log()
    server.signal(signal.SIGUSR2, old)
    server.await_log("the changing binary signal is ignored")
    server.signal(signal.SIGWINCH, old)
    wait_until(lambda: children(old) == [new], what="the end of the old workers")
    assert server.ask()[0] == "two"
    server.signal(signal.SIGQUIT, old)
    assert server.process is not None and server.process.wait() == 0
    assert server.ask()[0] == "two"
    assert not old_pid_path.exists()
    assert int(server.pid_path.read_text()) == new
    server.signal(signal.SIGQUIT, new)
    wait_until(lambda: not alive(new))
    assert not server.pid_path.exists()


def test_the_upgrade_is_taken_back(server: Supervised) -> None:
    path = server.prefix / "s"
    server.configure("one", listen=f"listen 127.0.0.1:{server.port}; listen unix:{path};")
    server.start()
    old = server.pid
    server.signal(signal.SIGUSR2)
    wait_until(lambda: pid_in(server.pid_path) not in (0, old))
    new = int(server.pid_path.read_text())
    server.started.insert(0, new)
    server.signal(signal.SIGWINCH, old)
    wait_until(lambda: children(old) == [new])
    server.signal(signal.SIGHUP, old)
    wait_until(lambda: len(children(old)) == 3, what="the workers of the old program")
    server.signal(signal.SIGQUIT, new)
    server.await_log(f"new binary process {new} exited with code 0")
    wait_until(lambda: pid_in(server.pid_path) == old, what="the pid file of the old program")
    assert server.ask()[0] == "one"
    assert path.exists()


def test_a_new_binary_that_fails_gives_the_pid_file_back(server: Supervised) -> None:
    server.start()
    server.configure("unopenable")
    server.signal(signal.SIGUSR2)
    server.await_log("exited with code 1")
    wait_until(server.pid_path.exists)
    assert int(server.pid_path.read_text()) == server.pid
    assert server.ask()[0] == "one"
