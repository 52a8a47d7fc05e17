"""States by key in shared memory: two numbers for each key, the one used longest ago goes first.

What `limit_req` remembers of each client. A key is not kept itself, whatever its length, but as 128 bits of keyed hash (SipHash with
the supervisor's random secret: nobody can choose keys that collide). A state is a row of 64 bytes; a megabyte holds 16383 of them.

    row    first second | last excess | chain | newer older | bucket
    row 0  dirty used   |             |       | oldest newest | bucket

Rows of one bucket (first modulo rows) are chained. All rows form one ring, ordered by use, through row 0. Chains and ring change in
several stores, and the writer may die between two of them: it raises `dirty` before and lowers it after, and whoever finds it raised
makes both anew from the rows.
"""

from typing import Final, final

from portico.zones.lock import Lock
from portico.zones.table import SharedTable

COLUMNS: Final = 8
_SECOND: Final = 1
_LAST: Final = 2
_EXCESS: Final = 3
_CHAIN: Final = 4
_NEWER: Final = 5
_OLDER: Final = 6
_BUCKET: Final = 7

_DIRTY: Final = 0  # of row 0
_USED: Final = 1
_OLDEST: Final = _NEWER  # the ring closes in row 0
_NEWEST: Final = _OLDER


def fingerprint(key: bytes) -> tuple[int, int]:
    """128 bits that stand for `key` in every process of one supervisor."""
    return hash(key), hash(key + b"\0")


@final
class States:
    """The states of one zone. Everything between `enter` and `leave`: `enter(); try: … finally: leave()`."""

    def __init__(self, table: SharedTable) -> None:
        if table.columns != COLUMNS or table.locks != 1 or table.slots < 2:
            raise ValueError(f"states are kept in a table of {COLUMNS} columns with one lock")
        self.slots = table.slots
        self.lock: Lock = table.lock_of(0)
        self.last = 0  # of the state found last
        self.excess = 0
        self._cells = table.cells()

    def enter(self) -> None:
        """Take the zone's lock."""
        self.lock.acquire()
        if self._cells[_DIRTY]:
            self._rebuild()

    def leave(self) -> None:
        """Give it back."""
        self.lock.release()

    def find(self, first: int, second: int) -> int:
        """The row of a key, now the one used last, with its numbers in `last` and `excess`; 0: there is none."""
        cells = self._cells
        slot = cells[first % self.slots * COLUMNS + _BUCKET]
        while slot:
            at = slot * COLUMNS
            if cells[at] == first and cells[at + _SECOND] == second:
                self.last = cells[at + _LAST]
                self.excess = cells[at + _EXCESS]
                if cells[at + _NEWER]:
                    self._freshen(slot)
                return slot
            slot = cells[at + _CHAIN]
        return 0

    def put(self, slot: int, last: int, excess: int) -> None:
        """Set the numbers of a row that was found."""
        cells = self._cells
        cells[slot * COLUMNS + _LAST] = last
        cells[slot * COLUMNS + _EXCESS] = excess

    def add(self, first: int, second: int, last: int, excess: int) -> None:
        """A key that is not there yet. When every row is used, the state used longest ago is forgotten."""
        cells = self._cells
        cells[_DIRTY] = 1
        slot = cells[_USED] + 1
        if slot < self.slots:
            cells[_USED] = slot
        else:
            slot = cells[_OLDEST]
            self._unchain(slot)
            self._unring(slot)
        at = slot * COLUMNS
        cells[at] = first
        cells[at + _SECOND] = second
        cells[at + _LAST] = last
        cells[at + _EXCESS] = excess
        self._chain(slot, first)
        self._ring(slot)
        cells[_DIRTY] = 0

    def used(self) -> int:
        """How many keys are remembered."""
        return self._cells[_USED]

    def _freshen(self, slot: int) -> None:
        cells = self._cells
        cells[_DIRTY] = 1
        self._unring(slot)
        self._ring(slot)
        cells[_DIRTY] = 0

    def _ring(self, slot: int) -> None:
        """Put a row in as the newest."""
        cells = self._cells
        at = slot * COLUMNS
        newest = cells[_NEWEST]
        cells[at + _OLDER] = newest
        cells[at + _NEWER] = 0
        cells[newest * COLUMNS + _NEWER] = slot
        cells[_NEWEST] = slot

    def _unring(self, slot: int) -> None:
        cells = self._cells
        at = slot * COLUMNS
        newer = cells[at + _NEWER]
        older = cells[at + _OLDER]
        cells[newer * COLUMNS + _OLDER] = older
        cells[older * COLUMNS + _NEWER] = newer

    def _chain(self, slot: int, first: int) -> None:
        cells = self._cells
        bucket = first % self.slots * COLUMNS + _BUCKET
        cells[slot * COLUMNS + _CHAIN] = cells[bucket]
        cells[bucket] = slot

    def _unchain(self, slot: int) -> None:
        cells = self._cells
        cell = cells[slot * COLUMNS] % self.slots * COLUMNS + _BUCKET
        while cells[cell] != slot:
            cell = cells[cell] * COLUMNS + _CHAIN
        cells[cell] = cells[slot * COLUMNS + _CHAIN]

    def _rebuild(self) -> None:
        """Somebody died while chains and ring were changed: make them from the rows."""
        cells = self._cells
        for slot in range(self.slots):
            cells[slot * COLUMNS + _BUCKET] = 0
        cells[_OLDEST] = 0
        cells[_NEWEST] = 0
        for _, slot in sorted((cells[slot * COLUMNS + _LAST], slot) for slot in range(1, cells[_USED] + 1)):
            self._chain(slot, cells[slot * COLUMNS])
            self._ring(slot)
        cells[_DIRTY] = 0
