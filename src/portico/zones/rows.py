"""Rows found by a key in shared memory: what lies under the states and counts of clients, and under a cache's index.

A key is 128 bits, and a row is named by the place of its first cell. A table of `slots` rows of `width + 2` columns is laid out as

    row 0                                dirty reached | oldest newest | the owner's
    rows of `width` cells                key, its two halves | newer older | the owner's
    directory of 2 × slots - 3 cells     tag and row
    3 cells                              free, count, secret

The directory is probed cell by cell from the key's own place on, and half of it is always empty. It stands apart from the rows, and
a cell has enough of the key to be recognised: to find one row among a million, the processor touches one place of the directory
and the row itself. What takes long in a lookup is the memory that it has to wait for. Where clients have a say in the keys, a
key's place depends on the table's secret (the tag is a multiply-shift hash, Dietzfelbinger et al. 1997): nobody can choose keys that
stand in each other's way.

Measured (bench/cache_entries.py): a lookup among a million rows takes 1.3 µs, among a thousand 0.9; chains through the rows
waited for up to 0.3 µs more, and pages of 2 MB, where a system allows them for shared memory, gain 0.1 µs.

Rows in use form a ring by use through row 0, for owners that ask for it; those that were freed are chained. All of that
changes in several stores, and the writer may be killed between two of them: it raises `dirty` before and lowers it after, and whoever
finds it raised makes everything anew from the rows. A key's second half is stored last and cleared first: a row without it is free.
"""

from __future__ import annotations

import secrets
from typing import Final, final

from portico.zones.lock import Lock
from portico.zones.table import SharedTable

DIRECTORY: Final = 2  # columns of a table that are not the rows' but the directory's
SECOND: Final = 1  # of a row: the key's second half, after its first
NEWER: Final = 2
OLDER: Final = 3
PAYLOAD: Final = 4  # where the owner's columns begin, in rows that form a ring

DIRTY: Final = 0  # of row 0
_REACHED: Final = 1  # the last row that was ever used
_OLDEST: Final = NEWER  # the ring closes in row 0
_NEWEST: Final = OLDER

_TAG: Final = (1 << 29) - 1  # with the row beside it a cell stays a small integer to mypyc
_TAG_AT: Final = 35  # the upper 29 of 64 bits
_SHIFT: Final = 32
_ROW: Final = (1 << _SHIFT) - 1


@final
class Rows:
    """The rows of one table. Everything between `enter` and `leave`: `enter(); try: … finally: leave()`."""

    def __init__(self, table: SharedTable, columns: int, age: int = 0, summed: int = 0, mixed: bool = False) -> None:
        """Use `table` for rows. `age`: a column to order the ring by when it is made anew; 0: there is no ring.

        `summed`: a column of which row 0 has the sum; it is changed by `set_summed` only. `mixed`: the keys are no secret hashes.
        """
        if table.columns != columns or table.locks != 1 or table.slots < 3:
            raise ValueError(f"rows are kept in a table of {columns} columns with one lock")
        self.width = columns - DIRECTORY
        self.most = table.slots - 1  # rows
        self.cells = table.cells()
        self._lock: Lock = table.lock_of(0)
        self._age = age
        self._summed = summed
        self._directory = table.slots * self.width
        self._places = DIRECTORY * table.slots - 3
        self._end = self._directory + self._places
        self._free = self._end
        self._count = self._end + 1
        secret = self._end + 2
        if self.cells[secret] == 0:
            self.cells[secret] = secrets.randbits(62) << 1 | 1
        self._secret = self.cells[secret] if mixed else 0
        self._place = 0  # in the directory, of what `_match` found last

    def enter(self) -> None:
        """Acquire the lock, and rebuild the rows if a process died while it changed them."""
        self._lock.acquire()
        if self.cells[DIRTY]:
            try:
                self.rebuild()
            except BaseException:
                self._lock.release()
                raise

    def leave(self) -> None:
        """Release the lock."""
        self._lock.release()

    # -- with the lock held ------------------------------------------------------------------------------------------------

    def find(self, first: int, second: int) -> int:
        """Return the row of a key; 0: there is none."""
        tag = self._tag(first)
        return self._match(first, second, tag, self._home(tag))

    def find_all(self, first: int, second: int) -> list[int]:
        """Return the rows of a key, for owners that have several for one."""
        rows: list[int] = []
        tag = self._tag(first)
        row = self._match(first, second, tag, self._home(tag))
        while row:
            rows.append(row)
            row = self._match(first, second, tag, self._after(self._place))
        return rows

    def _match(self, first: int, second: int, tag: int, place: int) -> int:
        """Return the first row of a key from `place` of the directory on and note its place; 0: there is none up to the next gap."""
        cells = self.cells
        while True:
            found = cells[place]
            if found == 0:
                return 0
            if found >> _SHIFT == tag:
                row = found & _ROW
                if cells[row] == first and cells[row + SECOND] == second:
                    self._place = place
                    return row
            place = self._after(place)

    def has_room(self, spare: int = 0) -> bool:
        """Return whether `add` finds a row, and `spare` more are left then."""
        return self.cells[self._count] + spare < self.most

    def add(self, first: int, second: int) -> int:
        """Return a row for a key, its other columns 0, as the newest of the ring. Needs room."""
        cells = self.cells
        cells[DIRTY] = 1
        row = cells[self._free]
        if row:
            cells[self._free] = cells[row]
        else:
            row = cells[_REACHED] + self.width
            cells[_REACHED] = row
        for cell in range(row + NEWER, row + self.width):
            cells[cell] = 0
        cells[row] = first
        cells[row + SECOND] = second
        cells[self._count] += 1
        self._hash_insert(row, first)
        if self._age:
            self._ring(row)
        cells[DIRTY] = 0
        return row

    def remove(self, row: int) -> None:
        """Free a row."""
        cells = self.cells
        cells[DIRTY] = 1
        self._hash_remove(row)
        if self._age:
            self._unring(row)
        if self._summed:
            cells[self._summed] -= cells[row + self._summed]
        cells[self._count] -= 1
        self._free_row(row)
        cells[DIRTY] = 0

    def freshen(self, row: int) -> None:
        """Make it the newest of the ring."""
        cells = self.cells
        if cells[_NEWEST] == row:
            return
        cells[DIRTY] = 1
        self._unring(row)
        self._ring(row)
        cells[DIRTY] = 0

    def oldest(self) -> int:
        """Return the row used longest ago; 0: none is used."""
        return self.cells[_OLDEST]

    def newest(self) -> int:
        """Return the row used last; 0: none is used."""
        return self.cells[_NEWEST]

    def newer(self, row: int) -> int:
        """Return the row that was used next after this one; 0: none."""
        return self.cells[row + NEWER]

    def set_summed(self, row: int, value: int) -> None:
        """Set the column of which row 0 has the sum."""
        cells = self.cells
        cells[DIRTY] = 1
        cells[self._summed] += value - cells[row + self._summed]
        cells[row + self._summed] = value
        cells[DIRTY] = 0

    def used(self) -> list[int]:
        """Return all rows that stand for a key; walks through every one."""
        cells = self.cells
        return [row for row in range(self.width, cells[_REACHED] + 1, self.width) if cells[row + SECOND]]

    def between(self, start: int, count: int) -> tuple[range, int]:
        """Return `count` rows from `start` on (0: from the first one), used or not, and where to go on; 0: those were all."""
        start = max(start, self.width)
        last = self.cells[_REACHED]
        end = start + count * self.width
        return range(start, min(end, last + 1), self.width), end if end <= last else 0

    def rebuild(self) -> None:
        """Make directory, ring, free rows and the sum anew from the rows, as somebody died while they were changed."""
        cells = self.cells
        cells[DIRTY] = 1
        for cell in range(self._directory, self._end):
            cells[cell] = 0
        cells[_OLDEST] = cells[_NEWEST] = cells[self._free] = cells[self._count] = 0
        if self._summed:
            cells[self._summed] = 0
        last = cells[_REACHED]
        rows = list(range(self.width, last + 1, self.width))
        if self._age:
            rows.sort(key=self._age_of)
        for row in rows:
            if not cells[row + SECOND]:
                self._free_row(row)
                continue
            cells[self._count] += 1
            self._hash_insert(row, cells[row])
            if self._age:
                self._ring(row)
            if self._summed:
                cells[self._summed] += cells[row + self._summed]
        cells[DIRTY] = 0

    def _age_of(self, row: int) -> int:
        return self.cells[row + self._age]

    def _tag(self, first: int) -> int:
        return first * self._secret >> _TAG_AT & _TAG if self._secret else first & _TAG

    def _home(self, tag: int) -> int:
        """Return where in the directory a key belongs."""
        return self._directory + tag % self._places

    def _after(self, place: int) -> int:
        """Return the next place of the directory."""
        place += 1
        return place if place < self._end else self._directory

    # -- while dirty -------------------------------------------------------------------------------------------------------

    def _hash_insert(self, row: int, first: int) -> None:
        """Insert a row into the first gap of the directory from its own place on."""
        cells = self.cells
        tag = self._tag(first)
        place = self._home(tag)
        while cells[place]:
            place = self._after(place)
        cells[place] = tag << _SHIFT | row

    def _hash_remove(self, row: int) -> None:
        """Remove a row from the directory; what collided with it moves up (Knuth, TAOCP section 6.4, algorithm R)."""
        cells = self.cells
        tag = self._tag(cells[row])
        wanted = tag << _SHIFT | row
        gap = self._home(tag)
        while cells[gap] != wanted:
            if cells[gap] == 0:
                raise RuntimeError("a row is missing in its directory")
            gap = self._after(gap)
        place = self._after(gap)
        while cells[place]:
            found = cells[place]
            home = self._home(found >> _SHIFT)
            is_between = gap < home <= place if gap < place else gap < home or home <= place
            if not is_between:
                cells[gap] = found
                gap = place
            place = self._after(place)
        cells[gap] = 0

    def _free_row(self, row: int) -> None:
        cells = self.cells
        cells[row + SECOND] = 0
        cells[row] = cells[self._free]
        cells[self._free] = row

    def _ring(self, row: int) -> None:
        """Put a row in as the newest."""
        cells = self.cells
        newest = cells[_NEWEST]
        cells[row + OLDER] = newest
        cells[row + NEWER] = 0
        cells[newest + NEWER] = row
        cells[_NEWEST] = row

    def _unring(self, row: int) -> None:
        cells = self.cells
        newer = cells[row + NEWER]
        older = cells[row + OLDER]
        cells[newer + OLDER] = older
        cells[older + NEWER] = newer
