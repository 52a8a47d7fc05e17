"""``random`` and ``random two``: a random peer by weight; with ``two``, the less loaded of two random ones.

It suits several proxies that know nothing of each other's load: they do not all pick the same peer.
"""

import random
from bisect import bisect_right
from collections.abc import Callable
from typing import final

from portico.balancing.balancer import Balancer
from portico.balancing.hash import REHASHES
from portico.balancing.peer import Peer
from portico.balancing.round_robin import round_robin
from portico.zones.table import SharedTable


@final
class Random(Balancer):
    """nginx's ``ngx_http_upstream_random_module``; ``chance`` returns numbers from 0 to below 1."""

    def __init__(
        self,
        peers: list[Peer],
        backup: list[Peer] | None = None,
        zone: SharedTable | None = None,
        two: bool = False,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.two = two
        self.chance = chance
        self.starts: list[int] = []  # where each peer's share of the total weight begins
        super().__init__(peers, backup, zone)

    def prepare(self) -> None:
        self.starts = []
        start = 0
        for peer in self.peers:
            self.starts.append(start)
            start += peer.settings.weight

    def choose(self, peers: list[Peer], key: bytes, tried: list[Peer] | None, now: float) -> Peer | None:
        if peers is not self.peers or len(peers) < 2:
            return round_robin(peers, tried, now)
        first: Peer | None = None
        for _ in range(REHASHES + 1):
            peer = peers[bisect_right(self.starts, int(self.chance() * self.total_weight)) - 1]
            if peer is first or (tried is not None and peer in tried) or not peer.is_available(now):
                continue
            if not self.two:
                return peer
            if first is not None:
                return _less_loaded(first, peer)
            first = peer
        return round_robin(peers, tried, now)


def _less_loaded(first: Peer, second: Peer) -> Peer:
    """Return the one with fewer connections for its weight; the second when they are equal, as in nginx."""
    first_load = first.connections * second.settings.weight  # compared crosswise
    second_load = second.connections * first.settings.weight
    return first if second_load > first_load else second
