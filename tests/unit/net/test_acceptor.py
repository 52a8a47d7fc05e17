"""Accepting connections, whatever they are for: how many at a time, what is said when it fails, and who is refused."""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.worker.served import Logged, is_closed, line

from portico.net.acceptor import Acceptor
from portico.net.reactor import Reactor
from portico.net.shortage import Shortage
from portico.worker.runtime import Runtime

PAUSE = 0.6  # seconds: a pause is over


class Listening(socket.socket):
    """A listening socket whose next accepts fail as the test wants it."""

    failures: list[int]

    def _accept(self) -> tuple[int, object]:
        if self.failures:
            number = self.failures.pop(0)
            raise OSError(number, os.strerror(number))
        return super()._accept()  # type: ignore[misc,no-any-return]


class Host:
    """A reactor with one acceptor, and those whom it has accepted."""

    def __init__(self, folder: Path, multi_accept: bool = False) -> None:
        self.logged = Logged(folder)
        self.reactor = Reactor()
        self.shortage = Shortage(self.reactor, self.logged.log)
        self.sock = Listening(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.failures = []
        self.sock.bind(("127.0.0.1", 0))
        self.sock.listen()
        self.accepted: list[socket.socket] = []
        self.addresses: list[tuple[str, int] | None] = []
        self.clients: list[socket.socket] = []
        self.acceptor = Acceptor(self.reactor, self.sock, self.shortage, self._on_accept, multi_accept)
        self.acceptor.open()

    def _on_accept(self, sock: socket.socket, address: tuple[str, int] | None) -> None:
        self.accepted.append(sock)
        self.addresses.append(address)

    def connect(self, count: int = 1, failures: tuple[int, ...] = ()) -> None:
        """Let clients connect, then let the events at hand be served, once."""
        self.sock.failures.extend(failures)
        for _ in range(count):
            client = socket.create_connection(self.sock.getsockname())
            client.setblocking(False)
            self.clients.append(client)
        self.turn()

    def turn(self) -> None:
        self.reactor.dispatch(0.0)

    def later(self, seconds: float) -> None:
        """Let that time pass, for the timers."""
        self.reactor.now += seconds
        self.reactor.timers.run(self.reactor.now)

    def close(self) -> None:
        self.acceptor.close()
        self.shortage.close()
        self.reactor.epoll.close()
        for sock in [self.sock, *self.accepted, *self.clients]:
            sock.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    made = Host(tmp_path)
    yield made
    made.close()


def test_a_connection_comes_with_its_address_and_does_not_block(host: Host) -> None:
    host.connect()
    (sock,), (client,) = host.accepted, host.clients
    assert host.addresses == [client.getsockname()]
    with pytest.raises(BlockingIOError):
        sock.recv(1)
    assert not os.get_inheritable(sock.fileno())


def test_a_unix_socket_has_no_addresses(tmp_path: Path) -> None:
    reactor = Reactor()
    found: list[tuple[socket.socket, tuple[str, int] | None]] = []
    shortage = Shortage(reactor, Logged(tmp_path).log)
    with socket.socket(socket.AF_UNIX) as sock, socket.socket(socket.AF_UNIX) as client:
        sock.bind(str(tmp_path / "socket"))
        sock.listen()
        acceptor = Acceptor(reactor, sock, shortage, lambda accepted, address: found.append((accepted, address)), False)
        acceptor.open()
        client.connect(str(tmp_path / "socket"))
        reactor.dispatch(0.0)
        ((accepted, address),) = found
        assert address is None
        accepted.close()
        acceptor.close()
    shortage.close()


def test_one_for_each_event_so_that_others_get_theirs(host: Host) -> None:
    host.connect(3)
    assert len(host.accepted) == 1
    host.turn()
    assert len(host.accepted) == 2


def test_all_with_multi_accept(tmp_path: Path) -> None:
    host = Host(tmp_path, multi_accept=True)
    host.connect(3)
    assert len(host.accepted) == 3
    host.close()


def test_a_client_that_has_left_is_passed_over(tmp_path: Path) -> None:
    host = Host(tmp_path, multi_accept=True)
    host.connect(2, failures=(errno.ECONNABORTED, errno.ECONNABORTED))
    assert len(host.accepted) == 2 and host.logged.lines() == []
    host.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_without_descriptors_what_is_idle_gives_way(host: Host, number: int) -> None:
    pipe = host.reactor.pipes.acquire()
    assert pipe is not None
    host.reactor.pipes.release(pipe)
    host.connect(failures=(number,))
    host.turn()
    assert len(host.accepted) == 1 and host.logged.lines() == []
    assert host.reactor.pipes.close_idle(1) == 0  # it has been closed


def test_without_descriptors_and_nobody_idle_the_client_is_refused_at_once(host: Host) -> None:
    host.connect(2, failures=(errno.EMFILE,))
    assert host.accepted == [] and [is_closed(client) for client in host.clients] == [True, False]
    assert host.logged.lines() == [
        f"[crit] accept4() failed ({errno.EMFILE}: Too many open files): a client is refused; worker_rlimit_nofile may be too low"
    ]
    host.turn()  # no pause: the next one is accepted
    assert len(host.accepted) == 1


def test_what_cannot_even_be_refused_waits(host: Host) -> None:
    host.connect(failures=(errno.EMFILE, errno.EMFILE))
    host.turn()
    assert host.accepted == [] and not is_closed(host.clients[0])
    host.later(PAUSE)
    host.turn()
    assert len(host.accepted) == 1


@pytest.mark.parametrize("number", [errno.ENOMEM, errno.ENOBUFS])
def test_without_memory_there_is_a_pause(host: Host, number: int) -> None:
    host.connect(failures=(number,))
    host.turn()
    assert host.accepted == [] and host.logged.lines() == [f"[alert] accept4() failed ({number}: {os.strerror(number)})"]
    host.later(PAUSE)
    host.turn()
    assert len(host.accepted) == 1


def test_any_other_failure_is_of_that_connection(host: Host) -> None:
    """Such as EPERM, of a firewall."""
    host.connect(failures=(errno.EPERM,))
    assert host.accepted == [] and host.logged.lines() == ["[alert] accept4() failed (1: Operation not permitted)"]
    host.turn()
    assert len(host.accepted) == 1


def test_one_line_a_second_unless_it_is_worse(host: Host) -> None:
    host.shortage.log(4, "an error")
    host.shortage.log(4, "another one")
    host.shortage.log(2, "an alert")
    host.shortage.log(4, "an error again")
    host.reactor.now += 1.0
    host.shortage.log(4, "a second later")
    assert host.logged.lines() == ["[error] an error", "[alert] an alert", "[error] a second later"]


def test_where_there_is_no_room_the_connection_is_closed(host: Host) -> None:
    host.reactor.room.set_limit(1, "")  # the listening socket
    host.connect()
    assert host.accepted == [] and is_closed(host.clients[0])


def test_where_room_can_be_made_it_is_accepted(host: Host) -> None:
    runtime = Runtime(host.reactor, host.logged.log, 9, 0)
    _, far = line(runtime)  # idle
    host.reactor.room.set_limit(2, "")
    host.connect()
    assert len(host.accepted) == 1 and is_closed(far)
    far.close()
    runtime.close()


def test_closed_it_accepts_nothing(host: Host) -> None:
    host.acceptor.close()
    host.connect()
    assert host.accepted == [] and not is_closed(host.clients[0])  # another worker has the socket, too


def test_closed_in_a_pause_it_stays_closed(host: Host) -> None:
    host.connect(failures=(errno.ENOMEM,))
    host.acceptor.close()
    host.later(PAUSE)
    host.turn()
    assert host.accepted == [] and host.reactor.owned == {}
