"""``hash KEY`` and ``hash KEY consistent``: a key stays with one peer.

Both choose as nginx does (``ngx_http_upstream_hash_module``), so a fleet can change from one to the other
and keep its caches: the plain form as Cache::Memcached, the consistent form as Cache::Memcached::Fast
(ketama).

nginx remembers its position in the chain of rehashes for the next attempt of the same request.  Here ``pick``
starts the chain anew each time and passes over the peers that were tried: the first time that the chain comes
to a tried peer is when it was picked, so only the second time counts as skipped.
"""

import zlib
from bisect import bisect_left
from typing import Final, final

from portico.balancing.balancer import Balancer
from portico.balancing.peer import Peer
from portico.balancing.round_robin import round_robin
from portico.zones.table import SharedTable

REHASHES: Final = 20  # unavailable peers met before round robin takes over
POINTS: Final = 160  # on the ring, for each unit of weight


@final
class Hash(Balancer):
    """``hash KEY``: the hash modulo the total weight.  A change of the number of peers moves most keys."""

    def choose(self, peers: list[Peer], key: bytes, tried: list[Peer] | None, now: float) -> Peer | None:
        if peers is not self.peers or not key:
            return round_robin(peers, tried, now)
        value = 0
        seen: list[Peer] = []
        skipped = 0
        rehash = 0
        while skipped <= REHASHES:
            text = b"%d%b" % (rehash, key) if rehash else key
            value = (value + ((zlib.crc32(text) >> 16) & 0x7FFF)) & 0xFFFFFFFF
            rehash += 1
            peer = peer_at(peers, value % self.total_weight)
            if (tried is None or peer not in tried) and peer.is_available(now):
                return peer
            skipped += note_unusable(peer, tried, seen)
        return round_robin(peers, tried, now)


@final
class ConsistentHash(Balancer):
    """``hash KEY consistent``: a ring of points; a peer that comes or goes moves only its own share of the keys.

    The ring is of *servers*: the addresses of one name share its points and take turns.
    """

    def __init__(
        self, peers: list[Peer], backup: list[Peer] | None = None, zone: SharedTable | None = None
    ) -> None:
        self.points: list[int] = []  # the ring, ascending
        self.owners: list[list[Peer]] = []  # the peers of each point's server
        super().__init__(peers, backup, zone)

    def prepare(self) -> None:
        servers: dict[bytes, list[Peer]] = {}
        weights: dict[bytes, int] = {}
        for peer in self.peers:
            servers.setdefault(peer.server, []).append(peer)
            weights[peer.server] = max(weights.get(peer.server, 0), peer.settings.weight)
        ring: dict[int, list[Peer]] = {}
        for server, owners in servers.items():
            for point in ring_points(server, weights[server]):
                ring.setdefault(point, owners)
        self.points = sorted(ring)
        self.owners = [ring[point] for point in self.points]

    def choose(self, peers: list[Peer], key: bytes, tried: list[Peer] | None, now: float) -> Peer | None:
        if peers is not self.peers or not key:
            return round_robin(peers, tried, now)
        size = len(self.points)
        place = bisect_left(self.points, zlib.crc32(key))
        for step in range(REHASHES + 1):
            peer = round_robin(self.owners[(place + step) % size], tried, now)
            if peer is not None:
                return peer
        return round_robin(peers, tried, now)


def peer_at(peers: list[Peer], place: int) -> Peer:
    """Return the peer that ``place`` falls on when each is as wide as its weight."""
    for peer in peers:
        place -= peer.settings.weight
        if place < 0:
            return peer
    return peers[-1]


def note_unusable(peer: Peer, tried: list[Peer] | None, seen: list[Peer]) -> int:
    """Return 1 when a peer that cannot be picked counts as skipped; 0 when a tried one is met for the first time.

    ``seen`` has the tried peers that were met. It is called only for peers that cannot be picked, so that a pick whose first
    peer is available costs no further call.
    """
    if tried is None or peer not in tried or peer in seen:
        return 1
    seen.append(peer)
    return 0


def ring_points(server: bytes, weight: int) -> list[int]:
    """Return the points of a server on the ring: crc32(HOST \\0 PORT PREVIOUS_POINT), little endian."""
    host, port = _host_and_port(server)
    base = zlib.crc32(host + b"\0" + port)
    point = 0
    points = []
    for _ in range(weight * POINTS):
        point = zlib.crc32(point.to_bytes(4, "little"), base)
        points.append(point)
    return points


def _host_and_port(server: bytes) -> tuple[bytes, bytes]:
    if server[:5].lower() == b"unix:":
        return server[5:], b""
    host, colon, port = server.rpartition(b":")
    if colon and (port.isdigit() or not port):
        return host, port
    return server, b""
