"""Counts by key in shared memory, of which every process holds its own part: a process that dies takes its part along.

What `limit_conn` counts. A key (as a fingerprint, see states.py) has a row for each process that counts something for it; the key's
count is the sum of its rows. A row is 48 bytes and lives as long as its count is not 0.

    row    first second | owner count | chain | bucket
    row 0  dirty used   | free        |       | bucket

Rows of one bucket (first modulo rows) are chained; so are the rows that are free. `dirty` is raised while chains change, as in
states.py.
"""

from collections.abc import Callable
from typing import Final, final

from portico.zones.lock import Lock
from portico.zones.table import SharedTable

COLUMNS: Final = 6
_SECOND: Final = 1
_OWNER: Final = 2
_COUNT: Final = 3
_CHAIN: Final = 4
_BUCKET: Final = 5

_DIRTY: Final = 0  # of row 0
_USED: Final = 1
_FREE: Final = 2

REACHED: Final = 0  # what `take` says in place of a row
FULL: Final = -1


@final
class Counts:
    """The counts of one zone. Takes and gives back the zone's lock itself."""

    def __init__(self, table: SharedTable) -> None:
        if table.columns != COLUMNS or table.locks != 1 or table.slots < 2:
            raise ValueError(f"counts are kept in a table of {COLUMNS} columns with one lock")
        self.slots = table.slots
        self.lock: Lock = table.lock_of(0)
        self._cells = table.cells()

    def take(self, first: int, second: int, owner: int, limit: int) -> int:
        """Count one more for the key unless `limit` are counted. The row to `give` back, REACHED, or FULL."""
        self._enter()
        try:
            cells = self._cells
            total = 0
            own = 0
            slot = cells[first % self.slots * COLUMNS + _BUCKET]
            while slot:
                at = slot * COLUMNS
                if cells[at] == first and cells[at + _SECOND] == second:
                    total += cells[at + _COUNT]
                    if cells[at + _OWNER] == owner:
                        own = slot
                slot = cells[at + _CHAIN]
            if total >= limit:
                return REACHED
            if own == 0:
                return self._add(first, second, owner)
            cells[own * COLUMNS + _COUNT] += 1
            return own
        finally:
            self.lock.release()

    def give(self, slot: int, owner: int) -> None:
        """One less in a row that `take` of this owner gave."""
        self._enter()
        try:
            cells = self._cells
            at = slot * COLUMNS
            if cells[at + _OWNER] != owner or cells[at + _COUNT] <= 0:
                return
            if cells[at + _COUNT] > 1:
                cells[at + _COUNT] -= 1
            else:
                self._remove(slot)
        finally:
            self.lock.release()

    def count(self, first: int, second: int) -> int:
        """How many are counted for a key."""
        return sum(self._cells[slot * COLUMNS + _COUNT] for slot in self._rows_of(first, second))

    def owners(self, first: int, second: int) -> list[int]:
        """Who counts something for a key."""
        return [self._cells[slot * COLUMNS + _OWNER] for slot in self._rows_of(first, second)]

    def bury(self, is_alive: Callable[[int], bool]) -> int:
        """Forget what is counted for owners that are not alive; how many owners those were."""
        self._enter()
        try:
            cells = self._cells
            rows = [slot for slot in range(1, cells[_USED] + 1) if cells[slot * COLUMNS + _COUNT] > 0]
            owners = {cells[slot * COLUMNS + _OWNER] for slot in rows}
            dead = {owner for owner in owners if not is_alive(owner)}
            if dead:
                cells[_DIRTY] = 1
                for slot in rows:
                    if cells[slot * COLUMNS + _OWNER] in dead:
                        cells[slot * COLUMNS + _COUNT] = 0
                self._rebuild()
            return len(dead)
        finally:
            self.lock.release()

    def _enter(self) -> None:
        self.lock.acquire()
        if self._cells[_DIRTY]:
            self._rebuild()

    def _rows_of(self, first: int, second: int) -> list[int]:
        self._enter()
        try:
            cells = self._cells
            found: list[int] = []
            slot = cells[first % self.slots * COLUMNS + _BUCKET]
            while slot:
                if cells[slot * COLUMNS] == first and cells[slot * COLUMNS + _SECOND] == second:
                    found.append(slot)
                slot = cells[slot * COLUMNS + _CHAIN]
            return found
        finally:
            self.lock.release()

    def _add(self, first: int, second: int, owner: int) -> int:
        cells = self._cells
        slot = cells[_FREE]
        if slot == 0 and cells[_USED] + 1 >= self.slots:
            return FULL
        cells[_DIRTY] = 1
        if slot:
            cells[_FREE] = cells[slot * COLUMNS + _CHAIN]
        else:
            slot = cells[_USED] + 1
            cells[_USED] = slot
        at = slot * COLUMNS
        cells[at] = first
        cells[at + _SECOND] = second
        cells[at + _OWNER] = owner
        cells[at + _COUNT] = 1
        self._chain(slot)
        cells[_DIRTY] = 0
        return slot

    def _remove(self, slot: int) -> None:
        cells = self._cells
        cells[_DIRTY] = 1
        cell = cells[slot * COLUMNS] % self.slots * COLUMNS + _BUCKET
        while cells[cell] != slot:
            cell = cells[cell] * COLUMNS + _CHAIN
        cells[cell] = cells[slot * COLUMNS + _CHAIN]
        self._free(slot)
        cells[_DIRTY] = 0

    def _free(self, slot: int) -> None:
        cells = self._cells
        cells[slot * COLUMNS + _COUNT] = 0
        cells[slot * COLUMNS + _CHAIN] = cells[_FREE]
        cells[_FREE] = slot

    def _chain(self, slot: int) -> None:
        cells = self._cells
        bucket = cells[slot * COLUMNS] % self.slots * COLUMNS + _BUCKET
        cells[slot * COLUMNS + _CHAIN] = cells[bucket]
        cells[bucket] = slot

    def _rebuild(self) -> None:
        """Somebody died while chains were changed, or was buried: make them from the rows."""
        cells = self._cells
        for slot in range(self.slots):
            cells[slot * COLUMNS + _BUCKET] = 0
        cells[_FREE] = 0
        for slot in range(1, cells[_USED] + 1):
            if cells[slot * COLUMNS + _COUNT] > 0:
                self._chain(slot)
            else:
                self._free(slot)
        cells[_DIRTY] = 0
