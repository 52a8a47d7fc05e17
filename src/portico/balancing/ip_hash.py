"""``ip_hash``: clients of one network (the first three octets of IPv4, all of IPv6) stay with one peer."""

from typing import Final, final

from portico.balancing.balancer import Balancer
from portico.balancing.hash import REHASHES, note_unusable, peer_at
from portico.balancing.peer import Peer
from portico.balancing.round_robin import round_robin

_NO_ADDRESS: Final = b"\0\0\0"


@final
class IpHash(Balancer):
    """nginx's ``ngx_http_upstream_ip_hash_module``.

    The key of ``pick`` is the client's packed address: 4 or 16 bytes; all other clients (unix) count as one network.
    """

    def choose(self, peers: list[Peer], key: bytes, tried: list[Peer] | None, now: float) -> Peer | None:
        if peers is not self.peers:  # nginx allows no backups here; should there be some, they take turns
            return round_robin(peers, tried, now)
        address = _network(key)
        value = 89
        seen: list[Peer] = []
        skipped = 0
        while skipped <= REHASHES:
            for octet in address:
                value = (value * 113 + octet) % 6271
            peer = peer_at(peers, value % self.total_weight)
            if (tried is None or peer not in tried) and peer.is_available(now):
                return peer
            skipped += note_unusable(peer, tried, seen)
        return round_robin(peers, tried, now)


def _network(address: bytes) -> bytes:
    size = len(address)
    if size == 4:
        return address[:3]
    return address if size == 16 else _NO_ADDRESS
