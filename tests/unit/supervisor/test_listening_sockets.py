"""Listening sockets: sharing, taking over, giving back; and the pid file."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from tests.processes import free_port, open_descriptors, wait_until

from portico.config.diagnostics import ConfigError
from portico.errorlog import ErrorLog, LogFiles, LogTarget
from portico.net.listen import ListenSpec
from portico.supervisor import pidfile
from portico.supervisor.port_owner import port_owner
from portico.supervisor.report import Report
from portico.supervisor.signals import Received
from portico.supervisor.sockets import Sockets, inherit, open_sockets

SO_PROTOCOL = 38  # of socket(7)


def multipath_is_there() -> bool:
    try:
        socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_MPTCP).close()
    except OSError:
        return False
    return True


def protocol_of(opened: socket.socket) -> int:
    return opened.getsockopt(socket.SOL_SOCKET, SO_PROTOCOL)


@pytest.fixture
def report(tmp_path: Path) -> Report:
    files = LogFiles()
    log = ErrorLog([LogTarget(8, str(tmp_path / "log"), None, None)], files)
    files.open()
    return Report(log, starting=False)


def tcp(port: int, reuseport: bool = False, host: str = "127.0.0.1") -> ListenSpec:
    spec = ListenSpec(socket.AF_INET6 if ":" in host else socket.AF_INET, (host, port))
    spec.reuseport = reuseport
    return spec


def numbers(sockets: Sockets, worker: int) -> list[int]:
    return [opened.fileno() for _, opened in sockets.of_worker(worker)]


def test_one_socket_for_all_or_one_for_each(report: Report) -> None:
    sockets = open_sockets([tcp(free_port()), tcp(free_port(), reuseport=True)], 2, None, report)
    first, second = numbers(sockets, 0), numbers(sockets, 1)
    assert len(first) == len(second) == 2
    assert first[0] == second[0] and first[1] != second[1]
    assert not any(os.get_inheritable(opened.fileno()) for opened in sockets.all())
    sockets.close(unlink=True)


@pytest.mark.parametrize("nodelay", [True, False])
def test_accepted_connections_inherit_nodelay(report: Report, nodelay: bool) -> None:
    """Of the configuration that runs: a reload may change it."""
    spec = tcp(free_port())
    spec.nodelay = not nodelay
    before = open_sockets([spec], 1, None, report)
    spec.nodelay = nodelay
    sockets = open_sockets([spec], 1, before, report)
    (opened,) = sockets.all()
    with socket.create_connection(opened.getsockname()), opened.accept()[0] as accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == nodelay
    sockets.close(unlink=True)


def test_no_socket_of_reuseport_is_ever_left_unserved(report: Report) -> None:
    """Connections wait in its queue, whatever happens to the number of workers or to the parameter."""
    port = free_port()
    sockets = open_sockets([tcp(port)], 2, None, report)
    kept = set(numbers(sockets, 0))
    for workers, reuseport in ((2, True), (3, True), (1, True), (2, False), (4, True)):
        fresh = open_sockets([tcp(port, reuseport)], workers, sockets, report)
        sockets.close(unlink=True, keep=fresh)
        sockets = fresh
        served = {number for worker in range(workers) for number in numbers(sockets, worker)}
        assert served == {opened.fileno() for opened in sockets.all()}
        assert served >= kept
        kept = served
    for _ in range(20):
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    sockets.close(unlink=True)


@pytest.mark.skipif(not multipath_is_there(), reason="this kernel has no Multipath TCP")
def test_multipath_comes_and_goes_with_a_reload(report: Report) -> None:
    """The socket of the other protocol serves until the old workers are gone."""
    spec, plain = tcp(free_port()), socket.IPPROTO_TCP
    sockets = open_sockets([spec], 1, None, report)
    for multipath in (True, True, False):
        before = sockets.all()
        spec = tcp(sockets.all()[0].getsockname()[1])
        spec.multipath = multipath
        fresh = open_sockets([spec], 1, sockets, report)
        assert [protocol_of(opened) for opened in fresh.all()] == [socket.IPPROTO_MPTCP if multipath else plain]
        assert all(opened.fileno() >= 0 for opened in before)
        sockets.close(unlink=True, keep=fresh)
        sockets = fresh
        socket.create_connection(sockets.all()[0].getsockname(), timeout=1).close()
    sockets.close(unlink=True)


def test_multipath_where_there_is_none_is_explained(report: Report, tmp_path: Path) -> None:
    spec = ListenSpec(socket.AF_UNIX, str(tmp_path / "socket"))
    spec.multipath = True
    with pytest.raises(ConfigError, match="no Multipath TCP"):
        open_sockets([spec], 1, None, report)


def test_a_failure_leaves_nothing_open_and_the_running_ones_alone(report: Report, tmp_path: Path) -> None:
    port, unix = free_port(), ListenSpec(socket.AF_UNIX, str(tmp_path / "s"))
    running = open_sockets([tcp(port)], 1, None, report)
    before = open_descriptors()
    impossible = ListenSpec(socket.AF_UNIX, "/nonexistent/s")
    with pytest.raises(ConfigError, match=r"bind\(\) to unix:/nonexistent/s failed \(2: No such file"):
        open_sockets([tcp(port, reuseport=True), unix, impossible], 3, running, report)
    assert open_descriptors() == before
    assert not (tmp_path / "s").exists()
    socket.create_connection(("127.0.0.1", port), timeout=1).close()
    running.close(unlink=True)


def test_a_test_forgives_what_is_in_use(report: Report, tmp_path: Path) -> None:
    port, path = free_port(), tmp_path / "s"
    specs = [tcp(port), ListenSpec(socket.AF_UNIX, str(path))]
    running = open_sockets(specs, 1, None, report)
    open_sockets(specs, 1, None, report, testing=True).close(unlink=True)
    assert path.exists()
    running.close(unlink=True)
    assert not path.exists()


def test_ipv6_is_found_again_however_it_was_written(report: Report) -> None:
    port = free_port()
    first = open_sockets([tcp(port, host="::1")], 1, None, report)
    inherited = inherit([os.dup(first.all()[0].fileno())])
    second = open_sockets([tcp(port, host="0:0:0:0:0:0:0:1")], 1, inherited, report)
    assert second.all() == inherited.all()
    first.close(unlink=True)
    second.close(unlink=True)


def test_inheriting_what_is_no_socket() -> None:
    reading, writing = os.pipe()
    assert inherit([reading, 9999]).all() == []
    os.close(reading)
    os.close(writing)


def test_options(report: Report) -> None:
    spec = tcp(free_port())
    spec.so_keepalive, spec.keepidle, spec.keepcnt, spec.deferred, spec.rcvbuf = 1, 100, 7, True, 20000
    sockets = open_sockets([spec], 1, None, report)
    (opened,) = sockets.all()
    assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 100
    assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == 7
    assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT) > 0
    assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) == 40000  # the kernel doubles it
    sockets.close(unlink=True)


def test_options_larger_than_the_system_takes(report: Report) -> None:
    spec = tcp(free_port())
    spec.so_keepalive, spec.backlog, spec.rcvbuf, spec.sndbuf, spec.fastopen = 1, 1 << 40, 1 << 62, 1 << 31, 1 << 40
    sockets = open_sockets([spec], 1, None, report)
    (opened,) = sockets.all()
    assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN) == 1
    sockets.close(unlink=True)


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "::"])
def test_who_holds_a_port(bound: str) -> None:
    port = free_port()
    with socket.socket(socket.AF_INET6 if ":" in bound else socket.AF_INET) as holder:
        holder.bind((bound, port))
        holder.listen()
        # /proc/net/tcp is no snapshot: while other sockets come and go a read of it may miss one
        wait_until(lambda: port_owner(tcp(port)).startswith(f"process {os.getpid()} ("))
    assert not port_owner(tcp(port)).startswith(f"process {os.getpid()} (")


def test_the_pid_file(tmp_path: Path) -> None:
    path = str(tmp_path / "pid")
    pidfile.write(path, 123)
    assert pidfile.read(path) == 123
    assert os.listdir(tmp_path) == ["pid"]
    pidfile.remove(path, 124)
    assert os.path.exists(path)  # another's
    pidfile.remove(path, 123)
    assert not os.path.exists(path)
    pidfile.remove(path, 123)
    with pytest.raises(ConfigError, match=r'open\(\) "/nonexistent/x" failed \(2: '):
        pidfile.check("/nonexistent/x")
    pidfile.check(path)  # need not be there
    with pytest.raises(ConfigError, match=rf'open\(\) "{tmp_path}" failed \(21: Is a directory\)'):
        pidfile.check(str(tmp_path))
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(ConfigError, match=rf'open\(\) "{folder}" failed \(21: Is a directory\)'):
        pidfile.write(str(folder), 123)
    assert os.listdir(tmp_path) == ["folder"]


def test_a_device_stays_what_it_is(tmp_path: Path) -> None:
    """`pid /dev/null;`, on a device of our own where we may make one."""
    device = tmp_path / "null"
    try:
        os.mknod(device, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("only root makes devices")
    path = str(device)
    pidfile.check(path)
    pidfile.write(path, 123)
    pidfile.move(path, path + pidfile.OLD_SUFFIX)
    pidfile.move(path + pidfile.OLD_SUFFIX, path)
    pidfile.remove(path, 123)
    assert stat.S_ISCHR(device.stat().st_mode) and os.listdir(tmp_path) == ["null"]


def test_signals_are_told_as_by_nginx() -> None:
    assert (
        Received(1, 77, True).describe(", reconfiguring")
        == "signal 1 (SIGHUP) received from 77, reconfiguring"
    )
    assert Received(29, 0, True).describe() == "signal 29 (SIGIO) received"
