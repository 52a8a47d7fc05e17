"""States by key in shared memory: two numbers for each key, the one used longest ago goes first.

What `limit_req` stores of each client. A key is not stored itself, whatever its length, but as 128 bits of keyed hash (SipHash with
the supervisor's random secret: nobody can choose keys that collide). A state takes 64 bytes; a megabyte holds 16383 of them.

    row    first second | newer older | last excess        (rows.py)
"""

from typing import Final, final

from portico.zones.rows import DIRECTORY, PAYLOAD, Rows
from portico.zones.table import SharedTable

_LAST: Final = PAYLOAD
_EXCESS: Final = 5
COLUMNS: Final = 6 + DIRECTORY


def fingerprint(key: bytes) -> tuple[int, int]:
    """Return 128 bits that stand for `key` in every process of one supervisor."""
    return hash(key), hash(key + b"\0")


@final
class States:
    """The states of one zone. Everything between `enter` and `leave`: `enter(); try: … finally: leave()`."""

    def __init__(self, table: SharedTable) -> None:
        self.last = 0  # of the state found last
        self.excess = 0
        self._rows = Rows(table, COLUMNS, age=_LAST)
        self._cells = self._rows.cells

    def enter(self) -> None:
        """Acquire the zone's lock."""
        self._rows.enter()

    def leave(self) -> None:
        """Release it."""
        self._rows.leave()

    def find(self, first: int, second: int) -> int:
        """Return the row of a key, now the one used last, with its numbers in `last` and `excess`; 0: there is none."""
        row = self._rows.find(first, second)
        if row:
            self.last = self._cells[row + _LAST]
            self.excess = self._cells[row + _EXCESS]
            self._rows.freshen(row)
        return row

    def put(self, row: int, last: int, excess: int) -> None:
        """Set the numbers of a row that was found."""
        self._cells[row + _LAST] = last
        self._cells[row + _EXCESS] = excess

    def add(self, first: int, second: int, last: int, excess: int) -> None:
        """Add a key that is not there yet. When every row is used, the state used longest ago is removed."""
        rows = self._rows
        if not rows.has_room():
            rows.remove(rows.oldest())
        self.put(rows.add(first, second), last, excess)

    def used(self) -> int:
        """Return how many keys are stored; walks through all of them."""
        return len(self._rows.used())
