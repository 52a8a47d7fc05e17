"""A connection to a peer, and the pool of those that wait for their next request.

Neither knows what protocol is spoken. An idle connection that its peer closes, or that receives bytes nobody asked for, leaves the
pool at once, so that what is taken out of it was alive at the last look.
"""

from __future__ import annotations

import errno
import os
import socket
import ssl
from itertools import islice
from typing import Final, final

from portico.balancing.peer import Peer
from portico.balancing.tls import UpstreamTLS
from portico.net.reactor import IN, OUT, RDHUP, ConnectionFailed, Reactor, Timeout, UpstreamFailed
from portico.net.room import IdleHolder, Room
from portico.net.transport import READ_SIZE, Transport, Watcher

_WANT: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_HOSTNAME_MISMATCH: Final = (62, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, X509_V_ERR_IP_ADDRESS_MISMATCH


@final
class HandshakeFailed(Exception):
    """The TLS handshake with a peer came to nothing: `reason` in nginx's words."""

    def __init__(self, reason: str, timed_out: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.timed_out = timed_out


@final
class NoConnection(Exception):
    """This worker has no connection, descriptor or memory left for an upstream: `reason` says which. No peer is to blame."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@final
class PeerConnection(Watcher):
    """A connected transport to `peer`, with what was read from it and not used yet."""

    def __init__(self, transport: Transport, peer: Peer, tls: UpstreamTLS | None, tls_name: bytes) -> None:
        self.transport = transport
        self.peer = peer
        self.tls = tls
        self.tls_name = tls_name
        self.buffer: bytes = b""
        self.requests = 0
        self.spent = False  # the request was not read to its end: no other can follow it
        self.started: float = transport.reactor.now
        self.pool: Pool | None = None  # set while idle
        # the last response head and what it came to (see exchange.py)
        self.last_head: bytes = b""
        self.last_parsed: object = None
        self.finished: object = None  # what a handler has made of that header section for its clients

    def close(self) -> None:
        """Close at once."""
        self.pool = None
        self.transport.close()

    def on_peer_closed(self, transport: Transport) -> None:
        self._leave()

    def on_unread_data(self, transport: Transport) -> None:
        self._leave()

    def on_idle_timeout(self, transport: Transport) -> None:
        self._leave()

    def _leave(self) -> None:
        pool = self.pool
        if pool is not None:
            pool.drop(self)


@final
class Pool(IdleHolder):
    """Idle connections to the peers of one group, in one worker.

    `most` idle connections are kept (the least recently used goes first), each for `timeout` seconds of idleness, `requests`
    requests and `time` seconds of age: the `keepalive*` directives of an upstream.
    """

    def __init__(self, most: int, timeout: float, requests: int, time: float) -> None:
        self.most = most
        self.timeout = timeout
        self.requests = requests
        self.time = time
        self._room: Room | None = None  # known since the first connection was given back
        self._closed = False
        self._idle: dict[PeerConnection, None] = {}
        self._by_peer: dict[Peer, list[PeerConnection]] = {}

    def take(self, peer: Peer, tls: UpstreamTLS | None, tls_name: bytes) -> PeerConnection | None:
        """The most recently used idle connection to `peer` with this TLS, None when there is none."""
        stack = self._by_peer.get(peer)
        if not stack:
            return None
        if tls is None and stack[-1].tls is None:
            connection = stack.pop()
        else:
            for index in range(len(stack) - 1, -1, -1):
                connection = stack[index]
                if connection.tls is tls and connection.tls_name == tls_name:
                    del stack[index]
                    break
            else:
                return None
        del self._idle[connection]
        connection.pool = None
        transport = connection.transport
        transport.idle = False
        transport.reactor.idle -= 1
        transport.watcher = None
        transport.clear_deadline()
        return connection

    def take_checked(self, peer: Peer, tls: UpstreamTLS | None, tls_name: bytes) -> PeerConnection | None:
        """As `take`, for what cannot be sent twice: the connection is looked at once more, as no event may have told yet."""
        while True:
            connection = self.take(peer, tls, tls_name)
            if connection is None:
                return None
            try:
                if connection.transport.peek() is None:
                    return connection
            except ConnectionFailed:
                pass  # it was reset while it was idle
            connection.close()

    def give_back(self, connection: PeerConnection) -> None:
        """Keep a connection whose exchange ended cleanly, or close it when it has served enough."""
        transport = connection.transport
        now = transport.reactor.now
        if (
            self.most == 0
            or self._closed
            or connection.spent
            or transport.closed
            or transport.peer_closed
            or connection.buffer
            or (transport.ready and _has_more(transport))
            or connection.requests >= self.requests
            or now - connection.started >= self.time
        ):
            connection.close()
            return
        if len(self._idle) >= self.most:
            for oldest in self._idle:
                self.drop(oldest)
                break
        if self._room is None:
            self._room = transport.reactor.room
            self._room.add(self)
        connection.pool = self
        self._idle[connection] = None
        stack = self._by_peer.get(connection.peer)
        if stack is None:
            self._by_peer[connection.peer] = [connection]
        else:
            stack.append(connection)
        transport.idle = True
        transport.reactor.idle += 1
        transport.watcher = connection
        transport.set_deadline(self.timeout)

    def drop(self, connection: PeerConnection) -> None:
        """Close an idle connection."""
        if connection in self._idle:
            del self._idle[connection]
            connection.transport.reactor.idle -= 1
            stack = self._by_peer[connection.peer]
            stack.remove(connection)
            if not stack:
                del self._by_peer[connection.peer]
        connection.close()

    def close_idle(self, count: int) -> int:
        """See IdleHolder.close_idle."""
        oldest = list(islice(self._idle, count))
        for connection in oldest:
            self.drop(connection)
        return len(oldest)

    def close(self) -> None:
        """Close every idle connection, and from now on those that are given back."""
        self._closed = True
        for connection in list(self._idle):
            self.drop(connection)
        if self._room is not None:
            self._room.remove(self)
            self._room = None


def _has_more(transport: Transport) -> bool:
    """Whether more was sent than the answer: no event tells of what came with its last bytes, and the next request would take
    it for its own answer. nginx's keepalive module looks in the same case. (A TLS ticket is no content: recv passes over it.)
    """
    try:
        return transport.recv(READ_SIZE) is not None
    except ConnectionFailed:
        return True


def _new_socket(reactor: Reactor, peer: Peer) -> socket.socket:
    """Return a socket for a connection to `peer`. Raises NoConnection; UpstreamFailed where its family is not to be had."""
    if not reactor.room.make():
        raise NoConnection(f"{reactor.room.reason} are not enough")
    made_room = False
    while True:
        try:
            return socket.socket(peer.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
        except OSError as error:
            if error.errno not in _WANT:
                raise UpstreamFailed(error.errno or 0, error.strerror or str(error)) from None
            if made_room or error.errno not in (errno.EMFILE, errno.ENFILE) or not reactor.room.free_some():
                raise NoConnection(f"socket() failed ({error.errno}: {error.strerror})") from None
        made_room = True


async def connect(
    reactor: Reactor, peer: Peer, tls: UpstreamTLS | None, tls_name: bytes, seconds: float
) -> PeerConnection:
    """Connect to `peer` (and shake hands) within `seconds` a step.

    Raises UpstreamFailed, UpstreamTimeout, HandshakeFailed; and NoConnection, for which the peer is not to blame.
    """
    sock = _new_socket(reactor, peer)
    try:
        if peer.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(peer.address)
        if code not in (0, errno.EINPROGRESS):
            raise UpstreamFailed(code, os.strerror(code))
    except OSError as error:  # the path of a Unix socket is too long
        sock.close()
        raise UpstreamFailed(error.errno or errno.ENAMETOOLONG, error.strerror or str(error)) from None
    except BaseException:
        sock.close()
        raise
    transport: Transport = Transport(reactor, sock, True)
    try:
        transport.wants_out = True
        transport.ready = False  # registered before anything can have come: an event will tell
        reactor.add(transport, IN | OUT | RDHUP)
        if code != 0:
            await transport.writable(seconds)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if code != 0:
                raise UpstreamFailed(code, os.strerror(code))
        if tls is not None:
            transport = await _secure(reactor, transport.detach(), peer, tls, tls_name, seconds)
    except BaseException:
        transport.close()
        raise
    return PeerConnection(transport, peer, tls, tls_name)


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
    """nginx's words for a handshake that failed."""
    if isinstance(error, ssl.SSLCertVerificationError):
        if error.verify_code in _HOSTNAME_MISMATCH:
            return f'upstream SSL certificate does not match "{name.decode("utf-8", "backslashreplace")}"'
        return f"upstream SSL certificate verify error: ({error.verify_code}:{error.verify_message})"
    if isinstance(error, ssl.SSLEOFError):
        return "peer closed connection in SSL handshake"
    if isinstance(error, ssl.SSLError):
        return f"SSL_do_handshake() failed (SSL: {error.strerror or error})"
    return f"SSL_do_handshake() failed ({error.errno}: {error.strerror})"
