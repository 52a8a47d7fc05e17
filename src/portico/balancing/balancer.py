"""What all ways of balancing share: the group of peers, backups, counting, the shared zone.

A balancer knows no HTTP and does no I/O.  For each attempt of a request::

    peer = balancer.pick(key, tried, now)          # None: no live upstreams
    try: …
    finally: balancer.free(peer, failed, now)
    tried = [*(tried or ()), peer]                 # for the next attempt of the same request

``pick`` is a function of the group's state, ``key`` and ``tried`` only: nothing is kept per request.  What
a request has tried it remembers as the peers themselves: ``replace`` may change their places meanwhile.

With a *zone* the state of the peers lives in a shared table.  A pick then takes the table's lock, copies
the rows into the peers, decides exactly as without a zone, and copies them back: one algorithm, two places
of truth.
"""

from portico.balancing.peer import Peer
from portico.balancing.shared_state import SharedState
from portico.zones.table import SharedTable


class Balancer:
    """Base of the balancing methods, each of which has its own ``choose``.

    ``peers`` are the primaries, ``backup`` those used only when no primary is available; both in configured
    order. ``zone`` is a table made with ``shared_state.COLUMNS`` columns, when the group's state is shared
    by the workers.
    """

    def __init__(
        self, peers: list[Peer], backup: list[Peer] | None = None, zone: SharedTable | None = None
    ) -> None:
        self.peers: list[Peer] = []
        self.backup: list[Peer] = []
        self.total_weight = 0
        self._tries = 0
        self.single: Peer | None = None  # the only peer of the group: never balanced, never marked as failed
        self.shared: SharedState | None = None if zone is None else SharedState(zone)
        self._assign(peers, backup or [])

    def pick(self, key: bytes, tried: list[Peer] | None, now: float) -> Peer | None:
        """The peer for an attempt, its connection counted; None when no peer is available ("no live
        upstreams").

        ``key`` is what the method hashes: the ``hash`` key, or for ``ip_hash`` the client's packed address;
        else unused. ``tried`` has the peers that this request tried already; None at its first attempt.
        """
        if self.shared is not None:
            return self._pick_shared(self.shared, key, tried, now)
        peer = self.single
        if peer is None:
            return self._pick(key, tried, now)
        if peer.down or (peer.max_conns and peer.connections >= peer.max_conns):
            return None
        peer.connections += 1
        return peer

    def free(self, peer: Peer, failed: bool, now: float) -> bool:
        """End of an attempt: uncount the connection and count a failure.

        True when the failure took the peer out of use ("upstream server temporarily disabled").
        """
        if self.shared is not None:
            return self._free_shared(self.shared, peer, failed, now)
        peer.connections -= 1
        if peer is self.single:
            return False
        if failed:
            return peer.failed(now)
        if peer.fails:
            peer.worked()
        return False

    def replace(self, peers: list[Peer], backup: list[Peer] | None = None) -> None:
        """Change the group's peers while it runs (a name resolved anew).

        A peer whose server and address were there before stays the object that it was, with its
        state.  Attempts in flight to a peer that is gone end as usual.
        """
        self._assign(_carry_over(self.peers, peers), _carry_over(self.backup, backup or []))

    def most_tries(self) -> int:
        """Return how many attempts a request may make at most: one for each peer that is not ``down``
        (nginx: ``ngx_http_upstream_tries``).
        """
        return self._tries

    def choose(self, peers: list[Peer], key: bytes, tried: list[Peer] | None, now: float) -> Peer | None:
        """The method's choice among ``peers`` (the primaries, or the backups when they have their turn)."""
        raise NotImplementedError

    def prepare(self) -> None:
        """The list of peers changed: compute anew what the method derives from it."""

    def _assign(self, peers: list[Peer], backup: list[Peer]) -> None:
        self.peers = peers
        self.backup = backup
        self.total_weight = sum([peer.weight for peer in peers])
        self.single = peers[0] if len(peers) == 1 and not backup else None
        self._tries = len([peer for peer in peers + backup if not peer.down])
        for index, peer in enumerate(peers + backup):
            peer.index = index
        if self.shared is not None:
            self.shared.claim(peers + backup)
        self.prepare()

    def _pick(self, key: bytes, tried: list[Peer] | None, now: float) -> Peer | None:
        peer = self.choose(self.peers, key, tried, now) if self.peers else None
        if peer is None:
            if not self.backup:
                return None
            peer = self.choose(self.backup, key, tried, now)
            if peer is None:
                return None
        peer.connections += 1
        if now - peer.checked > peer.fail_timeout:
            peer.checked = now
        return peer

    def _pick_shared(self, shared: SharedState, key: bytes, tried: list[Peer] | None, now: float) -> Peer | None:
        shared.lock.acquire()
        try:
            shared.load()
            single = self.single
            if single is None:
                peer = self._pick(key, tried, now)
            elif single.down or (single.max_conns and single.connections >= single.max_conns):
                peer = None
            else:
                peer = single
                peer.connections += 1
            if peer is not None:
                shared.store()
            return peer
        finally:
            shared.lock.release()

    def _free_shared(self, shared: SharedState, peer: Peer, failed: bool, now: float) -> bool:
        shared.lock.acquire()
        try:
            if not failed and shared.uncount(peer):
                return False
            shared.load_one(peer)
            disabled = False
            peer.connections -= 1
            if peer is not self.single:
                if failed:
                    disabled = peer.failed(now)
                elif peer.fails:
                    peer.worked()
            shared.store_one(peer)
            return disabled
        finally:
            shared.lock.release()


def _carry_over(old: list[Peer], new: list[Peer]) -> list[Peer]:
    """``new`` with the peers that ``old`` has too, by server and address, replaced by the old objects."""
    known: dict[tuple[bytes, bytes], list[Peer]] = {}
    for peer in old:
        known.setdefault((peer.server, peer.name), []).append(peer)
    result = []
    for peer in new:
        same = known.get((peer.server, peer.name))
        if same:
            kept = same.pop(0)
            kept.configure(peer)
            result.append(kept)
        else:
            result.append(peer)
    return result
