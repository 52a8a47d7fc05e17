"""TLS to peers: the name that is sent and verified, and sessions that are resumed with the peer that gave them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.balancing.ends import SocketOutcome
from tests.unit.balancing.secured import Listening, certificate_for, tls_of

from portico.balancing.connect import connect
from portico.balancing.peer import Peer
from portico.balancing.pool import PeerConnection
from portico.balancing.tls import MOST_SESSIONS, PeerTLSSettings, UpstreamTLS, host_of
from portico.net.reactor import Reactor
from portico.net.tls import ServerTLS, TLSTransport
from portico.net.tls_context import TLSV1_2, TLSV1_3


@pytest.mark.parametrize(
    ("name", "host"),
    [
        (b"a.test", "a.test"), (b"a.test:443", "a.test"), (b"[::1]:443", "::1"), (b"::1", "::1"), (b"\xff", ""), (b".a.test", ""),
        (b".", ""), (b"a\0b", ""),
    ],
)
def test_names_of_peers(name: bytes, host: str) -> None:
    assert host_of(name) == host


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return certificate_for(tmp_path_factory.mktemp("pki"), "a.test")


@pytest.fixture
def listening() -> Iterator[Listening]:
    made = Listening()
    yield made
    made.close()


def client_tls(session_reuse: bool = True, server_name: bool = False) -> UpstreamTLS:
    settings = PeerTLSSettings()
    settings.session_reuse = session_reuse
    settings.server_name = server_name
    return UpstreamTLS(settings)


async def read_byte(connection: PeerConnection) -> None:
    while connection.transport.recv(1) is None:
        await connection.transport.readable(5.0)


def ask(listening: Listening, server: ServerTLS, tls: UpstreamTLS, peer: Peer | None = None, name: bytes = b"a.test") -> TLSTransport:
    """Connect, read a byte, close; return the server's end, for what it knows of the handshake."""
    reactor = Reactor()
    attempted = SocketOutcome(reactor, connect(reactor, peer or listening.peer, tls, name, 5.0))
    far = listening.secure(reactor, server)
    connection = attempted.wait().value
    assert isinstance(connection, PeerConnection), attempted.error
    far.send(b"x")  # with TLS 1.3 the session comes before it
    assert SocketOutcome(reactor, read_byte(connection)).wait().error is None
    connection.close()
    far.close()
    return far


@pytest.mark.parametrize("protocols", [TLSV1_2, TLSV1_3])
def test_a_session_is_of_a_peer_and_a_name(listening: Listening, pair: tuple[str, str], protocols: int) -> None:
    server, tls = tls_of(pair, protocols), client_tls()
    elsewhere = Peer(b"another address", listening.peer.family, listening.peer.address)
    assert not ask(listening, server, tls).tls.session_reused
    assert ask(listening, server, tls).tls.session_reused
    assert not ask(listening, server, tls, name=b"b.test").tls.session_reused
    assert not ask(listening, server, tls, elsewhere).tls.session_reused
    assert ask(listening, server, tls).tls.session_reused


def test_sessions_are_not_resumed_where_that_is_off(listening: Listening, pair: tuple[str, str]) -> None:
    server, tls = tls_of(pair), client_tls(session_reuse=False)
    assert not any(ask(listening, server, tls).tls.session_reused for _ in range(2))


def test_settings_do_not_share_sessions(listening: Listening, pair: tuple[str, str]) -> None:
    server = tls_of(pair)
    assert not any(ask(listening, server, client_tls()).tls.session_reused for _ in range(2))


def test_sessions_are_bounded_and_the_oldest_goes(listening: Listening, pair: tuple[str, str]) -> None:
    server, tls = tls_of(pair), client_tls()
    ask(listening, server, tls)
    reactor = Reactor()
    attempted = SocketOutcome(reactor, connect(reactor, listening.peer, tls, b"b.test", 5.0))
    far = listening.secure(reactor, server)
    connection = attempted.wait().value
    assert isinstance(connection, PeerConnection) and isinstance(connection.transport, TLSTransport)
    far.send(b"x")
    SocketOutcome(reactor, read_byte(connection)).wait()
    for number in range(MOST_SESSIONS - 1):
        connection.transport.store_key = b"%d" % number
        tls.keep(connection.transport)
    assert ask(listening, server, tls).tls.session_reused  # it is the newest again
    for number in range(MOST_SESSIONS):
        connection.transport.store_key = b"other %d" % number
        tls.keep(connection.transport)
    assert not ask(listening, server, tls).tls.session_reused
    connection.close()
    far.close()


@pytest.mark.parametrize(
    ("server_name", "name", "sent"), [(True, b"a.test:443", b"a.test"), (False, b"a.test", b""), (True, b"\xff", b"")]
)
def test_the_name_is_sent_where_that_is_on(
    listening: Listening, pair: tuple[str, str], server_name: bool, name: bytes, sent: bytes
) -> None:
    assert ask(listening, tls_of(pair), client_tls(server_name=server_name), name=name).server_name == sent
