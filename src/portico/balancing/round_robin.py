"""Smooth weighted round robin, nginx's default.

At each pick every available peer's ``current_weight`` grows by its effective weight; the largest is picked
and has the sum of all subtracted.  Weights 5, 1, 1 give a a b a c a a instead of a a a a a b c.
"""

from typing import final

from portico.balancing.balancer import Balancer
from portico.balancing.peer import Peer


@final
class RoundRobin(Balancer):
    """The method of a group that names none."""

    def choose(self, peers: list[Peer], key: bytes, tried: list[Peer] | None, now: float) -> Peer | None:
        return round_robin(peers, tried, now)


def round_robin(peers: list[Peer], tried: list[Peer] | None, now: float) -> Peer | None:
    """Return the next of ``peers`` in turn that is available; the other methods end here when their own choice fails."""
    best: Peer | None = None
    total = 0
    for peer in peers:
        if (tried is not None and peer in tried) or not peer.is_available(now):
            continue
        total += peer.gain_weight()
        if best is None or peer.current_weight > best.current_weight:
            best = peer
    if best is not None:
        best.current_weight -= total
    return best
