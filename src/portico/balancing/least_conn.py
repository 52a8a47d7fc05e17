"""``least_conn``: the peer with the fewest connections for its weight; among equals, round robin."""

from typing import final

from portico.balancing.balancer import Balancer
from portico.balancing.peer import Peer


@final
class LeastConn(Balancer):
    """nginx's ``ngx_http_upstream_least_conn_module``; without a zone it knows this worker's connections only."""

    def choose(self, peers: list[Peer], key: bytes, tried: list[Peer] | None, now: float) -> Peer | None:
        best: Peer | None = None
        equals = 0
        for peer in peers:
            if (tried is not None and peer in tried) or not peer.is_available(now):
                continue
            # The connections divided by the weight are compared crosswise.
            difference = -1
            if best is not None:
                difference = peer.connections * best.settings.weight - best.connections * peer.settings.weight
            if difference < 0:
                best = peer
                equals = 1
            elif difference == 0:
                equals += 1
        if best is None or equals == 1:
            return best
        return _in_turn(best, peers, tried, now)


def _in_turn(first: Peer, peers: list[Peer], tried: list[Peer] | None, now: float) -> Peer:
    """Return the next in turn among ``first`` and the peers after it that are as little loaded."""
    best = first
    total = 0
    weight = first.settings.weight
    is_before_first = True
    for peer in peers:
        if peer is first:
            is_before_first = False
        if is_before_first or (tried is not None and peer in tried):
            continue
        if peer.connections * weight != first.connections * peer.settings.weight or not peer.is_available(now):
            continue
        total += peer.gain_weight()
        if peer.current_weight > best.current_weight:
            best = peer
    best.current_weight -= total
    return best
