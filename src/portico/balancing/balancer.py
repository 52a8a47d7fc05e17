"""The base of all balancing methods: primaries and backups, counting of connections and failures, the shared zone.

A balancer knows no HTTP and does no I/O.  For each attempt of a request::

    peer = balancer.pick(key, tried, now)          # None: no live upstreams
    try: …
    finally: balancer.free(peer, failed, now)
    tried = [*(tried or ()), peer]                 # for the next attempt of the same request

``pick`` is a function of the group's state, ``key`` and ``tried`` only: nothing is stored per request.  A request
holds the peers that it has tried as objects: ``replace`` may change their order meanwhile, but whoever
holds a peer holds the same one as the balancer as long as it is in the group.

With a *zone* the state of the peers lives in a shared table.  A pick then acquires the table's lock, copies
the rows into the peers, decides exactly as without a zone, and copies them back: one algorithm, whether the
state is this process's or shared.
"""

from portico.balancing.peer import Peer
from portico.balancing.shared_state import SharedState
from portico.zones.table import SharedTable


class Balancer:
    """Base of the balancing methods, each of which has its own ``choose``.

    ``peers`` are the primaries, ``backup`` those used only when no primary is available; both in configured
    order, and no two with the same id. ``zone`` is a table made with ``shared_state.COLUMNS`` columns, when the
    group's state is shared by the workers.
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
        """Choose the peer for an attempt and count a connection to it; return None when no peer is available ("no
        live upstreams").

        ``key`` is what the method hashes: the ``hash`` key, or for ``ip_hash`` the client's packed address;
        else unused. ``tried`` has the peers that this request has tried already; None at its first attempt.
        """
        if self.shared is not None:
            return self._pick_shared(self.shared, key, tried, now)
        peer = self.single
        if peer is None:
            return self._pick(key, tried, now)
        if peer.connections >= peer.limit:
            return None
        peer.connections += 1
        return peer

    def free(self, peer: Peer, failed: bool, now: float) -> bool:
        """End an attempt: uncount its connection, and count it if it has failed.

        Return True when the failure took the peer out of use ("upstream server temporarily disabled").
        """
        if self.shared is not None:
            return self._free_shared(self.shared, peer, failed, now)
        peer.connections -= 1
        if peer is self.single:
            return False
        if failed:
            return peer.count_failure(now)
        if peer.fails:
            peer.count_success()
        return False

    def replace(self, peers: list[Peer], backup: list[Peer] | None = None) -> None:
        """Change the group's peers while it runs (a name was resolved anew).

        A peer whose id was there before stays the object that it was, with its state, and follows the settings
        of the new one.  Attempts in flight to a peer that is gone end as usual.
        """
        known = {peer.id: peer for peer in self.peers + self.backup}
        self._assign(_with_known(peers, known), _with_known(backup or [], known))

    def most_tries(self) -> int:
        """Return how many attempts a request may make at most: one for each peer that is not ``down``
        (nginx: ``ngx_http_upstream_tries``).
        """
        return self._tries

    def choose(self, peers: list[Peer], key: bytes, tried: list[Peer] | None, now: float) -> Peer | None:
        """Return the method's choice among ``peers`` (the primaries, or the backups when it is their turn), if any."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Compute what the method derives from the list of peers; called whenever it has changed."""

    def _assign(self, peers: list[Peer], backup: list[Peer]) -> None:
        self.peers = peers
        self.backup = backup
        self.total_weight = sum([peer.settings.weight for peer in peers])
        self.single = peers[0] if len(peers) == 1 and not backup else None
        self._tries = len([peer for peer in peers + backup if not peer.settings.down])
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
        if now - peer.checked > peer.settings.fail_timeout:
            peer.checked = now
        return peer

    def _pick_shared(self, shared: SharedState, key: bytes, tried: list[Peer] | None, now: float) -> Peer | None:
        shared.lock.acquire()
        try:
            shared.load()
            single = self.single
            if single is None:
                peer = self._pick(key, tried, now)
            elif single.connections < single.limit:
                peer = single
                peer.connections += 1
            else:
                peer = None
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
                    disabled = peer.count_failure(now)
                elif peer.fails:
                    peer.count_success()
            shared.store_one(peer)
            return disabled
        finally:
            shared.lock.release()


def _with_known(peers: list[Peer], known: dict[int, Peer]) -> list[Peer]:
    """Return ``peers`` with the object that is known already in the place of a new one of the same id."""
    result = []
    for peer in peers:
        old = known.get(peer.id)
        if old is not None and old is not peer:
            old.change_settings(peer.settings)
            peer = old
        result.append(peer)
    return result
