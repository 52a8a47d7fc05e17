"""Connecting to a peer: the socket, and the TLS handshake.

It knows nothing of what is spoken afterwards. Each failure has a type that says whether the peer is to blame.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from typing import Final, final

from portico.balancing.local import LocalAddress
from portico.balancing.peer import Peer
from portico.balancing.pool import PeerConnection
from portico.balancing.tls import UpstreamTLS
from portico.net.reactor import IN, OUT, RDHUP, Reactor, Timeout, UpstreamFailed
from portico.net.transport import Transport

_EXHAUSTED: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NAME_MISMATCH: Final = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


@final
class HandshakeFailed(Exception):
    """The TLS handshake with a peer failed: `reason` in nginx's words."""

    def __init__(self, reason: str, timed_out: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timed_out = timed_out


@final
class NoConnection(Exception):
    """This worker has no connection, descriptor, memory or address for an upstream: `reason` says which. No peer is to blame."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def connect(
    reactor: Reactor, peer: Peer, tls: UpstreamTLS | None, tls_name: bytes, seconds: float, local: LocalAddress | None = None
) -> PeerConnection:
    """Connect to `peer`, from `local` where that is given, and shake hands where there is `tls`; each of the two may take `seconds`.

    Raises UpstreamFailed, UpstreamTimeout, HandshakeFailed; and NoConnection, for which the peer is not to blame.
    """
    sock = _new_socket(reactor, peer)
    connected = _start(sock, peer, local)
    transport: Transport = Transport(reactor, sock, True)
    try:
        transport.wants_out = True
        transport.ready = False  # registered before anything can have come: an event will tell
        reactor.add(transport, IN | OUT | RDHUP)
        if not connected:
            await transport.writable(seconds)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code != 0:
                raise UpstreamFailed(code, os.strerror(code))
        if tls is not None:
            transport = await _secure(reactor, transport.detach(), peer, tls, tls_name, seconds)
    except BaseException:
        transport.close()
        raise
    connection = PeerConnection(transport, peer, tls, tls_name)
    connection.local = local
    return connection


def _new_socket(reactor: Reactor, peer: Peer) -> socket.socket:
    """Return a socket for a connection to `peer`. Raises NoConnection; UpstreamFailed where there is no such address family."""
    if not reactor.room.make():
        raise NoConnection(f"{reactor.room.reason} are not enough")
    made_room = False
    while True:
        try:
            return socket.socket(peer.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            if error.errno not in _EXHAUSTED:
                raise UpstreamFailed(error.errno or 0, error.strerror or str(error)) from None
            if made_room or error.errno not in (errno.EMFILE, errno.ENFILE) or not reactor.room.free_some():
                raise NoConnection(f"socket() failed ({error.errno}: {error.strerror})") from None
        made_room = True


def _start(sock: socket.socket, peer: Peer, local: LocalAddress | None) -> bool:
    """Begin to connect; return whether that is done already. Raises UpstreamFailed and NoConnection, with the socket closed."""
    if local is not None:
        try:
            local.bind(sock)
        except OSError as refused:  # ours, not the peer's: the next one would not do better
            sock.close()
            raise NoConnection(refused.strerror or str(refused)) from None
    try:
        if peer.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(peer.address)
    except OSError as error:  # the path of a Unix socket is too long
        sock.close()
        raise UpstreamFailed(error.errno or errno.ENAMETOOLONG, error.strerror or str(error)) from None
    except BaseException:
        sock.close()
        raise
    if code not in (0, errno.EINPROGRESS):
        sock.close()
        raise UpstreamFailed(code, os.strerror(code))
    return code == 0


async def _secure(
    reactor: Reactor, sock: socket.socket, peer: Peer, tls: UpstreamTLS, name: bytes, seconds: float
) -> Transport:
    """Shake hands on a connected socket. Raises HandshakeFailed, with the socket closed."""
    try:
        secured = tls.wrap(reactor, sock, name, peer.name)
    except BaseException as error:
        sock.close()
        if isinstance(error, OSError):
            raise HandshakeFailed(_reason(error, name), False) from None
        raise
    try:
        secured.register()
        await secured.handshake(seconds)
        return secured
    except Timeout:
        secured.close()
        raise HandshakeFailed("upstream timed out (110: Connection timed out)", True) from None
    except OSError as refused:
        secured.close()
        raise HandshakeFailed(_reason(refused, name), False) from None
    except BaseException:
        secured.close()
        raise


def _reason(error: OSError, name: bytes) -> str:
    """Return nginx's words for a handshake that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _NAME_MISMATCH:
            return f'upstream SSL certificate does not match "{name.decode("utf-8", "backslashreplace")}"'
        return f"upstream SSL certificate verify error: ({error.verify_code}:{error.verify_message})"
    if isinstance(error, ssl.SSLEOFError):
        return "peer closed connection in SSL handshake"
    if isinstance(error, ssl.SSLError):
        return f"SSL_do_handshake() failed (SSL: {error.strerror or error})"
    return f"SSL_do_handshake() failed ({error.errno}: {error.strerror})"
