"""Connecting to a peer: what comes of it, and who is to blame when nothing does."""

from __future__ import annotations

import errno
import os
import resource
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.balancing.ends import SocketOutcome, reset
from tests.unit.balancing.secured import Listening, certificate_for, tls_of

from portico.balancing.connect import HandshakeFailed, NoConnection, connect
from portico.balancing.peer import Peer
from portico.balancing.pool import PeerConnection
from portico.balancing.tls import PeerTLSSettings, UpstreamTLS
from portico.net.reactor import Reactor, Shutdown, UpstreamFailed, UpstreamTimeout


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    yield made
    assert len(made.owned) == 0, "a connection was left behind"


@pytest.fixture
def listening() -> Iterator[Listening]:
    made = Listening()
    yield made
    made.close()


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return certificate_for(tmp_path_factory.mktemp("pki"), "a.test")


def attempt(
    reactor: Reactor, peer: Peer, tls: UpstreamTLS | None = None, name: bytes = b"a.test", seconds: float = 5.0
) -> SocketOutcome:
    return SocketOutcome(reactor, connect(reactor, peer, tls, name, seconds))


def client_tls(trusted: str = "") -> UpstreamTLS:
    settings = PeerTLSSettings()
    settings.verify = bool(trusted)
    settings.trusted_certificate = trusted
    return UpstreamTLS(settings)


def test_a_connection_over_tcp(reactor: Reactor, listening: Listening) -> None:
    connection = attempt(reactor, listening.peer).wait().value
    assert isinstance(connection, PeerConnection)
    assert connection.peer is listening.peer and (connection.active, connection.requests) == (1, 1)
    assert connection.transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    connection.transport.send(b"hello")
    with listening.accept() as far:
        assert far.recv(5) == b"hello"
    connection.close()


def test_a_connection_over_a_unix_socket(reactor: Reactor, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        connection = attempt(reactor, Peer(b"unix:" + path.encode(), socket.AF_UNIX, path)).wait().value
    assert isinstance(connection, PeerConnection)
    connection.close()


# -- the peer is to blame -------------------------------------------------------------------------------------------------


def test_nobody_listens(reactor: Reactor, listening: Listening) -> None:
    listening.close()
    error = attempt(reactor, listening.peer).wait().error
    assert isinstance(error, UpstreamFailed) and error.errno == errno.ECONNREFUSED


@pytest.mark.parametrize(("path", "number"), [("/nowhere", errno.ENOENT), ("/" + "x" * 200, errno.ENAMETOOLONG)])
def test_a_path_that_leads_nowhere(reactor: Reactor, path: str, number: int) -> None:
    error = attempt(reactor, Peer(b"unix:" + path.encode(), socket.AF_UNIX, path)).wait().error
    assert isinstance(error, UpstreamFailed) and error.errno == number


def test_a_family_that_there_is_not(reactor: Reactor) -> None:
    error = attempt(reactor, Peer(b"?", 9999, ("127.0.0.1", 80))).wait().error
    assert isinstance(error, UpstreamFailed) and error.errno == errno.EAFNOSUPPORT


def test_a_peer_that_does_not_accept(reactor: Reactor) -> None:
    full = Listening(0)
    waiting = [socket.socket() for _ in range(3)]
    for each in waiting:  # the queue is full after one or two
        each.setblocking(False)
        each.connect_ex(full.sock.getsockname())
    assert isinstance(attempt(reactor, full.peer, seconds=0.1).wait().error, UpstreamTimeout)
    for each in waiting:
        each.close()
    full.close()


# -- we are ---------------------------------------------------------------------------------------------------------------


def test_no_descriptor_is_left(reactor: Reactor, listening: Listening) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, before[1]))
    try:
        error = attempt(reactor, listening.peer).wait().error
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert isinstance(error, NoConnection) and error.reason.startswith(f"socket() failed ({errno.EMFILE}: ")


def test_no_connection_is_left(reactor: Reactor, listening: Listening) -> None:
    reactor.room.set_limit(0, "0 worker_connections")
    error = attempt(reactor, listening.peer).wait().error
    assert isinstance(error, NoConnection) and error.reason == "0 worker_connections are not enough"


# -- TLS ------------------------------------------------------------------------------------------------------------------


def test_a_handshake(reactor: Reactor, listening: Listening, pair: tuple[str, str]) -> None:
    attempted = attempt(reactor, listening.peer, client_tls(pair[0]))
    far = listening.secure(reactor, tls_of(pair))
    connection = attempted.wait().value
    assert isinstance(connection, PeerConnection) and connection.transport.secure
    assert connection.tls_name == b"a.test"
    connection.close()
    far.close()


def handshake_fails(reactor: Reactor, listening: Listening, pair: tuple[str, str], tls: UpstreamTLS, name: bytes) -> str:
    attempted = attempt(reactor, listening.peer, tls, name)
    far = listening.secure(reactor, tls_of(pair))
    error = attempted.wait().error
    far.close()
    assert isinstance(error, HandshakeFailed) and not error.timed_out
    return error.reason


def test_a_certificate_of_another_name(reactor: Reactor, listening: Listening, pair: tuple[str, str]) -> None:
    reason = handshake_fails(reactor, listening, pair, client_tls(pair[0]), b"b.test")
    assert reason == 'upstream SSL certificate does not match "b.test"'


def test_a_certificate_of_nobody_known(reactor: Reactor, listening: Listening, pair: tuple[str, str], tmp_path: Path) -> None:
    other = certificate_for(tmp_path, "a.test")
    reason = handshake_fails(reactor, listening, pair, client_tls(other[0]), b"a.test")
    assert reason.startswith("upstream SSL certificate verify error: (")


def test_no_name_to_verify(reactor: Reactor, listening: Listening, pair: tuple[str, str]) -> None:
    error = attempt(reactor, listening.peer, client_tls(pair[0]), b"").wait().error
    assert isinstance(error, HandshakeFailed) and "no name to verify" in error.reason


def test_a_peer_that_speaks_no_tls(reactor: Reactor, listening: Listening) -> None:
    attempted = attempt(reactor, listening.peer, client_tls())
    with listening.accept() as far:
        far.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        error = attempted.wait().error
    assert isinstance(error, HandshakeFailed) and error.reason.startswith("SSL_do_handshake() failed (SSL: ")


@pytest.mark.parametrize(
    ("how", "reason"), [("closes", "peer closed connection in SSL handshake"), ("resets", "SSL_do_handshake() failed (104: ")]
)
def test_a_peer_that_leaves_in_the_handshake(reactor: Reactor, listening: Listening, how: str, reason: str) -> None:
    attempted = attempt(reactor, listening.peer, client_tls())
    far = listening.accept()
    reactor.dispatch(0.05)
    far.recv(65536)  # what is closed with something unread is reset
    if how == "closes":
        far.close()
    else:
        reset(far)
    error = attempted.wait().error
    assert isinstance(error, HandshakeFailed) and error.reason.startswith(reason)


def test_a_peer_that_is_silent_in_the_handshake(reactor: Reactor, listening: Listening) -> None:
    error = attempt(reactor, listening.peer, client_tls(), seconds=0.1).wait().error
    assert isinstance(error, HandshakeFailed) and error.timed_out


@pytest.mark.parametrize("tls", [None, client_tls()])
def test_what_is_thrown_into_it_leaves_nothing_open(reactor: Reactor, listening: Listening, tls: UpstreamTLS | None) -> None:
    full = Listening(0)
    waiting = [socket.socket() for _ in range(3)]
    for each in waiting:
        each.setblocking(False)
        each.connect_ex(full.sock.getsockname())
    attempted = attempt(reactor, full.peer if tls is None else listening.peer, tls)
    reactor.dispatch(0.02)
    assert not attempted.task.done
    attempted.task.throw(Shutdown())
    assert isinstance(attempted.error, Shutdown)
    for each in waiting:
        each.close()
    full.close()
