"""A connection to a peer, and the pool of those that can carry another request.

Neither knows what protocol is spoken. Whether a connection can carry another request is for the connection to say (`is_available`):
one that carries requests one after the other is in the pool only while it is idle; one that carries several at once (`concurrency`)
stays in the pool, and is handed out again, until it has as many as it can carry.

An idle connection that its peer closes, or that receives bytes nobody asked for, leaves the pool at once, so that a connection that
is acquired was alive at the last look.
"""

from __future__ import annotations

from itertools import islice
from typing import final

from portico.balancing.local import LocalAddress
from portico.balancing.peer import Peer
from portico.balancing.tls import UpstreamTLS
from portico.net.reactor import ConnectionFailed
from portico.net.room import IdleHolder, Room
from portico.net.transport import READ_SIZE, Transport, Watcher


@final
class PeerConnection(Watcher):
    """A connected transport to `peer`. It is made for a request, which counts."""

    def __init__(self, transport: Transport, peer: Peer, tls: UpstreamTLS | None, tls_name: bytes) -> None:
        self.transport = transport
        self.peer = peer
        self.tls = tls
        self.tls_name = tls_name
        self.local: LocalAddress | None = None  # what it was bound to; None: to nothing
        self.active = 1  # requests in progress
        self.concurrency = 1  # how many it can carry at once: what the protocol allows
        self.requests = 1  # all that it was used for
        self.started: float = transport.reactor.now
        self.pool: Pool | None = None  # the pool that it is in
        self.state: object = None  # what the protocol that is spoken on it has to remember

    def is_available(self) -> bool:
        """Return whether it can carry another request now."""
        return self.active < self.concurrency

    def close(self) -> None:
        """Close at once, and leave the pool."""
        if self.pool is not None:
            self.pool.remove(self)
        self.transport.close()

    def on_peer_closed(self, transport: Transport) -> None:
        """Close: see Watcher.on_peer_closed."""
        self.close()

    def on_unread_data(self, transport: Transport) -> None:
        """Close: nobody has asked for it. See Watcher.on_unread_data."""
        self.close()

    def on_idle_timeout(self, transport: Transport) -> None:
        """Close: see Watcher.on_idle_timeout."""
        self.close()


@final
class Pool(IdleHolder):
    """The connections to the peers of one group, in one worker, that can carry another request.

    `most` idle connections are kept (the least recently used goes first), each for `timeout` seconds of idleness, `requests`
    requests and `time` seconds of age: the `keepalive*` directives of an upstream.
    """

    def __init__(self, most: int, timeout: float, requests: int, time: float) -> None:
        self.most = most
        self.timeout = timeout
        self.requests = requests
        self.time = time
        self._room: Room | None = None  # known since the first connection was released
        self._closed = False
        self._idle: dict[PeerConnection, None] = {}  # those without a request, the longest idle first
        self._by_peer: dict[Peer, list[PeerConnection]] = {}  # all, the most recently used last

    def acquire(
        self, peer: Peer, tls: UpstreamTLS | None, tls_name: bytes, local: LocalAddress | None = None
    ) -> PeerConnection | None:
        """Return a connection to `peer`, with this TLS and from this address, for one more request, the most recently used; None when
        there is none.
        """
        connections = self._by_peer.get(peer)
        if not connections:
            return None
        place = len(connections) - 1
        connection = connections[place]
        while (
            tls is not connection.tls
            or (tls is not None and connection.tls_name != tls_name)
            or (local is not connection.local and (local is None or not local.is_same(connection.local)))
        ):
            place -= 1
            if place < 0:
                return None
            connection = connections[place]
        if connection.active == 0:
            self._end_idleness(connection)
        connection.active += 1
        connection.requests += 1
        if not connection.is_available():
            connection.pool = None
            connections.pop(place)
        return connection

    def acquire_checked(
        self, peer: Peer, tls: UpstreamTLS | None, tls_name: bytes, local: LocalAddress | None = None
    ) -> PeerConnection | None:
        """Acquire a connection for what cannot be sent twice: it is looked at once more, as its events may be still to come."""
        while True:
            connection = self.acquire(peer, tls, tls_name, local)
            if connection is None:
                return None
            try:
                if connection.active > 1 or connection.transport.peek() is None:
                    return connection
            except ConnectionFailed:
                pass  # it was reset while it was idle
            connection.close()

    def release(self, connection: PeerConnection) -> None:
        """End a request that went well on its connection, which becomes idle, or is closed when it has served enough."""
        connection.active -= 1
        if connection.active == 0:
            if not self._is_reusable(connection):
                connection.close()
                return
            self._begin_idleness(connection)
        if connection.pool is None and connection.is_available():
            connection.pool = self
            connections = self._by_peer.get(connection.peer)
            if connections is None:
                if len(self._by_peer) > 2 * self.most:
                    self._forget_peers()
                self._by_peer[connection.peer] = [connection]
            else:
                connections.append(connection)

    def _forget_peers(self) -> None:
        """Forget those without a connection: they may have left the group."""
        for peer in [peer for peer, connections in self._by_peer.items() if not connections]:
            del self._by_peer[peer]

    def remove(self, connection: PeerConnection) -> None:
        """Remove a connection from this pool without closing it."""
        if connection in self._idle:
            self._end_idleness(connection)
        connection.pool = None
        connections = self._by_peer[connection.peer]
        connections.remove(connection)
        if not connections:
            del self._by_peer[connection.peer]

    def close_idle(self, count: int) -> int:
        """See IdleHolder.close_idle."""
        oldest = list(islice(self._idle, count))
        for connection in oldest:
            connection.close()
        return len(oldest)

    def close(self) -> None:
        """Close every idle connection, and from now on those that are released."""
        self._closed = True
        for connection in list(self._idle):
            connection.close()
        if self._room is not None:
            self._room.remove(self)
            self._room = None

    def _is_reusable(self, connection: PeerConnection) -> bool:
        """Return whether a connection without a request may wait for another."""
        transport = connection.transport
        return not (
            self.most == 0
            or self._closed
            or transport.closed
            or transport.peer_closed
            or (transport.ready and _has_more(transport))
            or connection.requests >= self.requests
            or transport.reactor.now - connection.started >= self.time
        )

    def _begin_idleness(self, connection: PeerConnection) -> None:
        transport = connection.transport
        reactor = transport.reactor
        if len(self._idle) >= self.most:
            for oldest in self._idle:
                oldest.close()
                break
        if self._room is None:
            self._room = reactor.room
            self._room.add(self)
        self._idle[connection] = None
        reactor.idle += 1
        transport.idle = True
        transport.watcher = connection
        transport.set_deadline(self.timeout)

    def _end_idleness(self, connection: PeerConnection) -> None:
        transport = connection.transport
        del self._idle[connection]
        transport.reactor.idle -= 1
        transport.idle = False
        transport.watcher = None
        transport.clear_deadline()


def _has_more(transport: Transport) -> bool:
    """Return whether more was sent than the response: no event tells of what came with its last bytes, and the next request would
    take it for its own response. nginx's keepalive module looks in the same case. (A TLS ticket is no content: recv passes over it.)
    """
    try:
        return transport.recv(READ_SIZE) is not None
    except ConnectionFailed:
        return True
