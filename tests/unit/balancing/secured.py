"""A server with TLS on loopback, in the reactor of its client."""

from __future__ import annotations

import socket
from pathlib import Path

from portico.balancing.peer import Peer
from portico.net.certificates import self_signed
from portico.net.reactor import NetworkSignal, Reactor
from portico.net.tls import ServerTLS, TLSTransport, wrap
from portico.net.tls_context import ServerSettings, server_tls


def certificate_for(directory: Path, *names: str) -> tuple[str, str]:
    """Write a certificate and its key; return their paths."""
    paths = (directory / "certificate.pem", directory / "certificate.key")
    for path, pem in zip(paths, self_signed(list(names), 1), strict=True):
        path.write_bytes(pem)
    return str(paths[0]), str(paths[1])


def tls_of(pair: tuple[str, str], protocols: int | None = None) -> ServerTLS:
    settings = ServerSettings()
    settings.certificates = [pair[0]]
    settings.keys = [pair[1]]
    if protocols is not None:
        settings.protocols = protocols
    return server_tls(settings)


class Listening:
    """A listening socket, and the peer that it is. What connects is accepted by `accept`."""

    def __init__(self, backlog: int = 16) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0), backlog=backlog)
        host, port = self.sock.getsockname()
        self.peer = Peer(f"{host}:{port}".encode(), socket.AF_INET, (host, port))

    def accept(self) -> socket.socket:
        self.sock.settimeout(5)
        accepted = self.sock.accept()[0]
        accepted.settimeout(5)
        return accepted

    def secure(self, reactor: Reactor, tls: ServerTLS) -> TLSTransport:
        """Accept a connection and shake hands on it, in a task of the reactor."""
        accepted = self.accept()
        accepted.setblocking(False)
        transport = wrap(reactor, accepted, tls)
        transport.register()
        reactor.spawn(_shake(transport))
        return transport

    def close(self) -> None:
        self.sock.close()


async def _shake(transport: TLSTransport) -> None:
    try:
        await transport.handshake(5.0)
    except (OSError, NetworkSignal):
        transport.close()
