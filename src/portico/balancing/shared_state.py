"""The state of a group's peers in memory shared by the workers (the ``zone`` directive of an upstream).

Each peer has a row that it finds by its *id*, a number made of server and address: workers that resolve a
name at different moments, or in another order, still mean the same row.  A row is claimed when a peer comes
into the group. When the table is full the row that was unused the longest is given to the new peer; whoever
still uses it notices by the id and claims another.  Times are stored in milliseconds.
"""

from typing import Final, final

from portico.balancing.peer import Peer
from portico.zones.lock import Lock
from portico.zones.table import SharedTable

_ID: Final = 0
_CONNECTIONS: Final = 3
_FAILS: Final = 4
_CHECKED: Final = 6
COLUMNS: Final = 7  # id, current_weight, effective_weight, connections, fails, accessed, checked


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
        """Find a row for each of the group's peers, which are ``peers`` from now on, and load what other workers put there."""
        self.peers = peers
        self.lock.acquire()
        try:
            for peer in peers:
                self._find(peer)
                self.load_one(peer)
                weight = peer.settings.weight
                if peer.effective_weight > weight:  # the row is from a time when the weight was larger
                    peer.effective_weight = weight
                    self.store_one(peer)
            self._look_for_a_run()
        finally:
            self.lock.release()

    def load(self) -> None:
        """Copy the rows into the peers, all of the group."""
        if self.first < 0:
            for peer in self.peers:
                self.load_one(peer)
            return
        rows = self.table.read(self.first, COLUMNS * len(self.peers))
        at = 0
        for peer in self.peers:
            if rows[at] == peer.id:
                _set_state(peer, rows, at)
            else:
                self.load_one(peer)
            at += COLUMNS

    def store(self) -> None:
        """Copy the peers into the rows, all of the group."""
        if self.first < 0:
            for peer in self.peers:
                self.store_one(peer)
            return
        rows: list[int] = []
        for peer in self.peers:
            _append_state(peer, rows)
        self.table.write(self.first, rows)

    def uncount(self, peer: Peer) -> bool:
        """Uncount a connection: the usual end of an attempt, so only what that needs.

        Return False, with nothing done, when there are failures to look at or the row is another peer's by now.
        """
        table = self.table
        slot = peer.slot
        if table.get(slot, _ID) != peer.id or table.get(slot, _FAILS):
            return False
        peer.connections = table.get(slot, _CONNECTIONS) - 1
        table.set(slot, _CONNECTIONS, peer.connections)
        return True

    def load_one(self, peer: Peer) -> None:
        """Copy the row of one peer into it."""
        row = self.table.read(peer.slot, COLUMNS)
        if row[_ID] != peer.id:  # the row was given to another peer meanwhile
            self._find(peer)
            row = self.table.read(peer.slot, COLUMNS)
        _set_state(peer, row, 0)

    def store_one(self, peer: Peer) -> None:
        """Copy one peer into its row."""
        row: list[int] = []
        _append_state(peer, row)
        self.table.write(peer.slot, row)

    def _find(self, peer: Peer) -> None:
        """Set the peer's slot: its own, else a free one, else that of the peer that was unused the longest."""
        table = self.table
        chosen, oldest = -1, 0
        for slot in range(table.slots):
            found = table.get(slot, _ID)
            if found == peer.id:
                peer.slot = slot
                return
            if found == 0:
                chosen = slot
                break
            if table.get(slot, _CONNECTIONS) <= 0:
                checked = table.get(slot, _CHECKED)
                if chosen < 0 or checked < oldest:
                    chosen, oldest = slot, checked
        peer.slot = max(chosen, 0)
        self.store_one(peer)
        self._look_for_a_run()

    def _look_for_a_run(self) -> None:
        """See whether the rows of all peers lie side by side."""
        first = self.peers[0].slot if self.peers else -1
        for place, peer in enumerate(self.peers):
            if peer.slot != first + place:
                first = -1
                break
        self.first = first


def _set_state(peer: Peer, rows: tuple[int, ...], at: int) -> None:
    peer.current_weight = rows[at + 1]
    peer.effective_weight = rows[at + 2]
    peer.connections = rows[at + _CONNECTIONS]
    peer.fails = rows[at + _FAILS]
    peer.accessed = rows[at + 5] / 1000.0
    peer.checked = rows[at + _CHECKED] / 1000.0


def _append_state(peer: Peer, rows: list[int]) -> None:
    rows.append(peer.id)
    rows.append(peer.current_weight)
    rows.append(peer.effective_weight)
    rows.append(peer.connections)
    rows.append(peer.fails)
    rows.append(_milliseconds(peer.accessed))
    rows.append(_milliseconds(peer.checked))


def _milliseconds(seconds: float) -> int:
    return int(seconds * 1000.0 + 0.5)  # rounded: truncated, a time would age by one at each copy out and in
