"""Counts by key in shared memory, of which every process holds its own part: a process that dies takes its part along.

What `limit_conn` counts. A key (as a fingerprint, see states.py) has a row for each process that counts something for it; the key's
count is the sum of its rows. A row takes 48 bytes and lives as long as its count is not 0.

    row    first second | owner count        (rows.py)
"""

from collections.abc import Callable
from typing import Final, final

from portico.zones.rows import DIRECTORY, Rows
from portico.zones.table import SharedTable

_OWNER: Final = 2
_COUNT: Final = 3
COLUMNS: Final = 4 + DIRECTORY

REACHED: Final = 0  # what `acquire` returns in place of a row
FULL: Final = -1


@final
class Counts:
    """The counts of one zone. Methods acquire and release the zone's lock themselves."""

    def __init__(self, table: SharedTable) -> None:
        self._rows = Rows(table, COLUMNS)
        self._cells = self._rows.cells

    def acquire(self, first: int, second: int, owner: int, limit: int) -> int:
        """Count one more for the key unless `limit` are counted. Return the row to `release`, REACHED, or FULL."""
        rows = self._rows
        cells = self._cells
        rows.enter()
        try:
            total = 0
            own = 0
            for row in rows.find_all(first, second):
                total += cells[row + _COUNT]
                if cells[row + _OWNER] == owner:
                    own = row
            if total >= limit:
                return REACHED
            if own == 0:
                if not rows.has_room():
                    return FULL
                own = rows.add(first, second)
                cells[own + _OWNER] = owner
            cells[own + _COUNT] += 1
            return own
        finally:
            rows.leave()

    def release(self, row: int, owner: int) -> None:
        """Count one less in a row that `acquire` returned to this owner."""
        cells = self._cells
        self._rows.enter()
        try:
            count = cells[row + _COUNT]
            if cells[row + _OWNER] != owner or count <= 0:
                return
            cells[row + _COUNT] = count - 1
            if count == 1:
                self._rows.remove(row)
        finally:
            self._rows.leave()

    def count(self, first: int, second: int) -> int:
        """Return how many are counted for a key."""
        self._rows.enter()
        try:
            return sum(self._cells[row + _COUNT] for row in self._rows.find_all(first, second))
        finally:
            self._rows.leave()

    def owners(self, first: int, second: int) -> list[int]:
        """Return the owners that count something for a key."""
        self._rows.enter()
        try:
            return [self._cells[row + _OWNER] for row in self._rows.find_all(first, second)]
        finally:
            self._rows.leave()

    def remove_dead(self, is_alive: Callable[[int], bool]) -> int:
        """Remove what is counted for owners that are not alive; return how many owners those were."""
        cells = self._cells
        self._rows.enter()
        try:
            used = self._rows.used()
            owners = {cells[row + _OWNER] for row in used if cells[row + _COUNT] > 0}
            dead = {owner for owner in owners if not is_alive(owner)}
            for row in used:
                if cells[row + _COUNT] <= 0 or cells[row + _OWNER] in dead:  # 0: its owner was killed before it counted
                    cells[row + _COUNT] = 0
                    self._rows.remove(row)
            return len(dead)
        finally:
            self._rows.leave()
