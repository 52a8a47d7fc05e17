"""The state of a group's peers in memory shared by the workers (the ``zone`` directive of an upstream).

Each peer has a row that it finds by its *identity*, a number made of server and address: workers that
resolve a name at different moments, or in another order, still mean the same row.  A row is claimed when a
peer comes into the group. When the table is full the row that was unused the longest goes; whoever still
had it notices by the identity and claims another.  Times are kept in milliseconds.
"""

import zlib
from typing import Final, final

from portico.balancing.peer import Peer
from portico.zones.lock import Lock
from portico.zones.table import SharedTable

_IDENTITY: Final = 0
_CONNECTIONS: Final = 3
_FAILS: Final = 4
_CHECKED: Final = 6
COLUMNS: Final = 7  # identity, current_weight, effective_weight, connections, fails, accessed, checked


@final
class SharedState:
    """Copies the rows of a group's peers in and out; all but ``claim`` with ``lock`` held."""

    def __init__(self, table: SharedTable) -> None:
        if table.columns != COLUMNS or table.locks != 1:
            raise ValueError(f"an upstream zone is a table of {COLUMNS} columns with one lock")
        self.table = table
        self.lock: Lock = table.lock_of(0)
        self.peers: list[Peer] = []
        self.first = -1  # the slot of the first peer when all lie side by side: one copy for all

    def claim(self, peers: list[Peer]) -> None:
        """These are the group's peers now: give each its row, and what other workers put there."""
        self.peers = peers
        seen: dict[int, int] = {}
        for peer in peers:
            base = identity(peer)
            number = seen.get(base, 0)  # the same server written twice is two peers
            seen[base] = number + 1
            peer.identity = base + number
        self.lock.acquire()
        try:
            for peer in peers:
                self._find(peer)
                self.load_one(peer)
                if peer.effective_weight > peer.weight:  # the row is from a time when the weight was larger
                    peer.effective_weight = peer.weight
                    self.store_one(peer)
            self._look_for_a_run()
        finally:
            self.lock.release()

    def load(self) -> None:
        """Rows → peers, all of the group."""
        if self.first < 0:
            for peer in self.peers:
                self.load_one(peer)
            return
        rows = self.table.read(self.first, COLUMNS * len(self.peers))
        at = 0
        for peer in self.peers:
            if rows[at] == peer.identity:
                _take(peer, rows, at)
            else:
                self.load_one(peer)
            at += COLUMNS

    def store(self) -> None:
        """Peers → rows, all of the group."""
        if self.first < 0:
            for peer in self.peers:
                self.store_one(peer)
            return
        rows: list[int] = []
        for peer in self.peers:
            _give(peer, rows)
        self.table.write(self.first, rows)

    def uncount(self, peer: Peer) -> bool:
        """One connection less; the usual end of a request, so only what it needs.

        False, and nothing done, when there are failures to think about or the row is another peer's by now.
        """
        table = self.table
        slot = peer.slot
        if table.get(slot, _IDENTITY) != peer.identity or table.get(slot, _FAILS):
            return False
        peer.connections = table.get(slot, _CONNECTIONS) - 1
        table.set(slot, _CONNECTIONS, peer.connections)
        return True

    def load_one(self, peer: Peer) -> None:
        """Row → peer."""
        row = self.table.read(peer.slot, COLUMNS)
        if row[0] != peer.identity:  # the row was given to another peer meanwhile
            self._find(peer)
            row = self.table.read(peer.slot, COLUMNS)
        _take(peer, row, 0)

    def store_one(self, peer: Peer) -> None:
        """Peer → row."""
        row: list[int] = []
        _give(peer, row)
        self.table.write(peer.slot, row)

    def _find(self, peer: Peer) -> None:
        """Set the peer's slot: its own, else a free one, else that of the peer unused the longest."""
        table = self.table
        victim, oldest = -1, 0
        for slot in range(table.slots):
            found = table.get(slot, _IDENTITY)
            if found == peer.identity:
                peer.slot = slot
                return
            if found == 0:
                victim = slot
                break
            if table.get(slot, _CONNECTIONS) <= 0:
                checked = table.get(slot, _CHECKED)
                if victim < 0 or checked < oldest:
                    victim, oldest = slot, checked
        peer.slot = max(victim, 0)
        self.store_one(peer)
        self._look_for_a_run()

    def _look_for_a_run(self) -> None:
        first = self.peers[0].slot if self.peers else -1
        for peer in self.peers:
            if peer.slot != first + peer.index:
                first = -1
                break
        self.first = first


def _take(peer: Peer, rows: tuple[int, ...], at: int) -> None:
    peer.current_weight = rows[at + 1]
    peer.effective_weight = rows[at + 2]
    peer.connections = rows[at + _CONNECTIONS]
    peer.fails = rows[at + _FAILS]
    peer.accessed = rows[at + 5] / 1000.0
    peer.checked = rows[at + _CHECKED] / 1000.0


def _give(peer: Peer, rows: list[int]) -> None:
    rows.append(peer.identity)
    rows.append(peer.current_weight)
    rows.append(peer.effective_weight)
    rows.append(peer.connections)
    rows.append(peer.fails)
    rows.append(_milliseconds(peer.accessed))
    rows.append(_milliseconds(peer.checked))


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000.0 + 0.5)  # rounded: cut off, a time would age by one at each copy out and in


def identity(peer: Peer) -> int:
    """A number that names the peer's server and address in every worker; never 0, with room above."""
    high = zlib.crc32(peer.server)
    low = zlib.crc32(peer.name, high)
    return ((high << 32 | low) & 0x3FFFFFFFFFFFFFFF) + 1
