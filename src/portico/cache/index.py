"""Which responses a cache holds: an index in shared memory, the same for all workers.

Entries are found by the 128 bits of their key's digest. An entry takes 128 bytes, so a megabyte holds 8,191, as in nginx.

    row    first second | newer older | flags generation accessed uses valid updating error size owner since        (zones/rows.py)
    row 0               |             | wide…: loaded generation wide purges lease lease retired size

`generation` changes with every change of an entry's file, so a worker that has an entry in memory sees by one load whether it is
still the same. Times are whole seconds since the epoch, but `since`.

A row outlives its file: while a file is removed, and before the first one exists, the row says LEFT, so that no file remains of
which the index knows nothing when a worker is killed in between. That is why a few rows are spare: the row of a file that is evicted
for another one is free when the file is gone. While a file takes the place of another, the row says EXISTS and REPLACING: there is
one, the old or the new, and nobody knows until when it is fresh. It has no generation then, so no worker has it in memory.

`purges` counts purges. Above its lower 24 bits `uses` has which purge was the row's last; `wide` (of row 0) is the last of many rows,
or of one that is removed. What was requested before that must not be stored after it.
"""

from __future__ import annotations

from typing import Final, final

from portico.zones.lease import Lease
from portico.zones.rows import DIRECTORY, PAYLOAD, SECOND, Rows
from portico.zones.table import SharedTable

_FLAGS: Final = PAYLOAD
_GENERATION: Final = 5
_ACCESSED: Final = 6
_USES: Final = 7
_VALID: Final = 8
_UPDATING: Final = 9
_ERROR: Final = 10
_SIZE: Final = 11
_OWNER: Final = 12
_SINCE: Final = 13
COLUMNS: Final = 14 + DIRECTORY

_LOADED: Final = _FLAGS  # of row 0
_WIDE: Final = _ACCESSED
_PURGES: Final = _USES
_LEASE: Final = _VALID  # and the next one (zones/lease.py)
_RETIRED: Final = _ERROR

USED: Final = 1  # the row stands for a key
EXISTS: Final = 2  # there is a file
KNOWN: Final = 4  # valid, updating and error are the file's; else the file has to be read
CHECKED: Final = 8  # the file was written, or its checksum verified, since the index was made
LEFT: Final = 16  # there may be a file, which must not be used
REPLACING: Final = 32  # there is a file, and another one is taking its place
STATUS_SHIFT: Final = 8  # above it: the status of a failure that is stored without a file

_USES_BITS: Final = 24  # of the column `uses`; above them the row's last purge
_USES_MOST: Final = (1 << _USES_BITS) - 1
_TRIED: Final = 20  # rows looked at for one that nobody fetches (nginx: ngx_http_file_cache_forced_expire)
_SPARE: Final = 16  # rows at most, and of small tables one in _SPARE_PART
_SPARE_PART: Final = 128


@final
class Removed:
    """An entry that the index has evicted; its file is to be removed."""

    def __init__(self, first: int, second: int) -> None:
        self.first = first
        self.second = second


@final
class Index:
    """The index of one `keys_zone`. Methods take the lock themselves, for microseconds; none of them touches a file."""

    def __init__(self, table: SharedTable) -> None:
        self._rows = Rows(table, COLUMNS, age=_ACCESSED, summed=_SIZE, mixed=True)
        self._cells = self._rows.cells
        self.lease = Lease(table, 0, _LEASE)  # of the worker that looks after the cache
        self._spare = min(_SPARE, table.slots // _SPARE_PART)
        self._blocking: set[int] = set()  # who fetches what would have been evicted

    # -- for a worker that has the row, without a lock --------------------------------------------------------------------

    def is_same(self, row: int, first: int, generation: int) -> bool:
        """Return whether the row still stands for the file that had this generation; 0 is never the same."""
        cells = self._cells
        return cells[row + _GENERATION] == generation and generation != 0 and cells[row] == first

    def valid(self, row: int, generation: int) -> int:
        """Return until when the entry is fresh; 0 when there is another file by now, or one without a generation."""
        return self._still(row, generation, _VALID) if generation else 0

    def failing(self, row: int) -> int:
        """Return until when the failure that is stored without a file is served, in seconds since the epoch."""
        return self._cells[row + _VALID]

    def updating(self, row: int, generation: int) -> int:
        """Return until when it may be served stale while it is fetched anew (stale-while-revalidate), and while it is replaced."""
        return self._still(row, generation, _UPDATING)

    def error(self, row: int, generation: int) -> int:
        """Return until when it may be served stale when the upstream fails (stale-if-error)."""
        return self._still(row, generation, _ERROR)

    def _still(self, row: int, generation: int, column: int) -> int:
        cells = self._cells
        value = cells[row + column]
        return value if cells[row + _GENERATION] == generation else 0  # asked last: a generation never comes again

    def size(self) -> int:
        """Return the bytes of all files."""
        return self._cells[_SIZE]

    def is_loaded(self) -> bool:
        """Return whether every file that was there at the start is in the index."""
        return self._cells[_LOADED] != 0

    def purges(self) -> int:
        """Return how often something was purged: noted before the upstream is asked, and passed to `store`."""
        return self._cells[_PURGES]

    # -- use -------------------------------------------------------------------------------------------------------------

    def touch(self, row: int, first: int, generation: int, now: int) -> None:
        """Note that an entry is used: once a second it becomes the one used last."""
        cells = self._cells
        if cells[row + _ACCESSED] == now:
            return
        self._rows.enter()
        try:
            if cells[row + _GENERATION] == generation and cells[row] == first:
                cells[row + _ACCESSED] = now
                self._rows.freshen(row)
        finally:
            self._rows.leave()

    def use(self, first: int, second: int, now: int) -> tuple[int, int, int, int, Removed | None]:
        """Note a request for a key, which gets a row; return (row, flags, generation, uses with this one, what was evicted)."""
        self._rows.enter()
        try:
            cells = self._cells
            removed: Removed | None = None
            row = self._rows.find(first, second)
            if row == 0:
                row, removed = self._add(first, second)
            else:
                self._rows.freshen(row)
            cells[row + _ACCESSED] = now
            uses = cells[row + _USES]
            if uses & _USES_MOST != _USES_MOST:
                uses += 1
                cells[row + _USES] = uses
            return row, cells[row + _FLAGS], cells[row + _GENERATION], uses & _USES_MOST, removed
        finally:
            self._rows.leave()

    def look(self, first: int, second: int) -> tuple[int, int]:
        """Return (flags, generation) of a key; zeros when it has no row."""
        self._rows.enter()
        try:
            row = self._rows.find(first, second)
            return (self._cells[row + _FLAGS], self._cells[row + _GENERATION]) if row else (0, 0)
        finally:
            self._rows.leave()

    # -- who fetches -------------------------------------------------------------------------------------------------------

    def claim(self, first: int, second: int, owner: int, now_ms: int, age_ms: int) -> int:
        """Acquire the right to fetch a key; return 0, or the identity of the worker that has it, for at most `age_ms`."""
        self._rows.enter()
        try:
            row = self._rows.find(first, second)
            if row == 0:
                return 0
            cells = self._cells
            other = cells[row + _OWNER]
            if other and (age_ms <= 0 or now_ms - cells[row + _SINCE] < age_ms):
                return other
            cells[row + _OWNER] = owner
            cells[row + _SINCE] = now_ms
            return 0
        finally:
            self._rows.leave()

    def release(self, first: int, second: int, owner: int) -> None:
        """Release the right to fetch a key, if `owner` has it."""
        self._rows.enter()
        try:
            row = self._rows.find(first, second)
            if row and self._cells[row + _OWNER] == owner:
                self._cells[row + _OWNER] = 0
        finally:
            self._rows.leave()

    # -- changes -----------------------------------------------------------------------------------------------------------

    def replace(self, first: int, second: int) -> Removed | None:
        """Note that a new file is about to take a key's place: until `store` the old one is stale. Return what was evicted for it."""
        self._rows.enter()
        try:
            cells = self._cells
            removed: Removed | None = None
            row = self._rows.find(first, second)
            if row == 0:
                row, removed = self._add(first, second)
                cells[row + _USES] = 1
            cells[row + _GENERATION] = 0
            cells[row + _FLAGS] = USED | EXISTS | REPLACING if cells[row + _FLAGS] & EXISTS else USED | LEFT
            return removed
        finally:
            self._rows.leave()

    def keep(self, first: int, second: int) -> None:
        """Undo `replace`: nothing has taken the place of a key's file, and its times stand in it."""
        self._rows.enter()
        try:
            row = self._rows.find(first, second)
            if row and self._cells[row + _FLAGS] & REPLACING:
                self._set_file(row, self._cells[row + _SIZE], USED | EXISTS)
        finally:
            self._rows.leave()

    def store(
        self, first: int, second: int, size: int, valid: int, updating: int, error: int, now: int, purges: int
    ) -> tuple[int, Removed | None]:
        """Note a key's new file; return (its generation, what was evicted for it). Generation 0: it was purged since `purges`."""
        self._rows.enter()
        try:
            cells = self._cells
            removed: Removed | None = None
            row = self._rows.find(first, second)
            if self._is_purged(row, purges):
                if row:
                    self._empty(row)
                return 0, None
            if row == 0:
                row, removed = self._add(first, second)
                cells[row + _USES] = 1
            cells[row + _GENERATION] = 0  # a reader without the lock must not take these times for those of the file before
            cells[row + _VALID] = valid
            cells[row + _UPDATING] = updating
            cells[row + _ERROR] = error
            cells[row + _ACCESSED] = now
            return self._set_file(row, size, USED | EXISTS | KNOWN | CHECKED), removed
        finally:
            self._rows.leave()

    def store_failure(self, first: int, second: int, status: int, valid: int, now: int, purges: int) -> Removed | None:
        """Store an error for a key, served until `valid`, unless it was purged since `purges`; return what was evicted for it."""
        self._rows.enter()
        try:
            cells = self._cells
            removed: Removed | None = None
            row = self._rows.find(first, second)
            if self._is_purged(row, purges):
                return None
            if row == 0:
                row, removed = self._add(first, second)
            if cells[row + _FLAGS] & EXISTS:
                return removed  # a stale response is worth more
            cells[row + _VALID] = valid
            cells[row + _ACCESSED] = now
            cells[row + _FLAGS] = USED | cells[row + _FLAGS] & LEFT | status << STATUS_SHIFT
            return removed
        finally:
            self._rows.leave()

    def refresh(self, row: int, first: int, generation: int, valid: int, updating: int, error: int, checked: bool) -> bool:
        """Set new times for the file of this generation; return False when it is not there any more."""
        cells = self._cells
        wanted = KNOWN | CHECKED if checked else KNOWN
        if generation == 0:
            return False  # nobody knows which of two files it is
        if (
            cells[row + _FLAGS] & wanted == wanted
            and cells[row + _VALID] == valid
            and cells[row + _UPDATING] == updating
            and cells[row + _ERROR] == error
            and cells[row + _GENERATION] == generation
        ):
            return True  # as it is: that needs no lock
        self._rows.enter()
        try:
            if cells[row + _GENERATION] != generation or cells[row] != first:
                return False
            cells[row + _VALID] = valid
            cells[row + _UPDATING] = updating
            cells[row + _ERROR] = error
            cells[row + _FLAGS] |= wanted
            return True
        finally:
            self._rows.leave()

    def uncheck(self, row: int, first: int, generation: int) -> None:
        """Note that somebody has changed the file of this generation: its body is to be compared with its checksum again."""
        self._rows.enter()
        try:
            if self.is_same(row, first, generation):
                self._cells[row + _FLAGS] &= ~CHECKED
        finally:
            self._rows.leave()

    def load(self, first: int, second: int, size: int, now: int) -> bool:
        """Insert a file that was found at the start; return False when there is no room for it.

        It counts as used now (ngx_http_file_cache_add): its file does not say when it was used last.
        """
        self._rows.enter()
        try:
            row = self._rows.find(first, second)
            cells = self._cells
            if row and cells[row + _FLAGS] & EXISTS:
                return True
            if row == 0:
                if not self._rows.has_room(self._spare):
                    return False
                row, _ = self._add(first, second)
                cells[row + _ACCESSED] = now
            self._set_file(row, size, USED | EXISTS)
            return True
        finally:
            self._rows.leave()

    def drop(self, first: int, second: int, generation: int) -> bool:
        """Note that the file of that generation is removed; return whether it was there. 0: the one that may be replaced just now."""
        self._rows.enter()
        try:
            row = self._rows.find(first, second)
            if row == 0:
                return False
            cells = self._cells
            if cells[row + _GENERATION] != generation or not cells[row + _FLAGS] & EXISTS:
                return False
            self._empty(row)
            return True
        finally:
            self._rows.leave()

    def purge(self, first: int, second: int) -> bool:
        """Note that a key's file is removed and what is being fetched for it must not be stored; return whether there was a file."""
        self._rows.enter()
        try:
            cells = self._cells
            purge = cells[_PURGES] + 1
            cells[_PURGES] = purge
            row = self._rows.find(first, second)
            if row == 0:
                if not self._rows.has_room(self._spare):
                    cells[_WIDE] = purge
                    return False
                row, _ = self._add(first, second)
            existed = cells[row + _FLAGS] & EXISTS != 0
            cells[row + _USES] = purge << _USES_BITS
            self._empty(row)
            return existed
        finally:
            self._rows.leave()

    def oldest(self, before: int, most: int) -> list[Removed]:
        """Evict at most `most` of the entries not used since `before`; the caller removes their files and calls `forget`."""
        return self._evict(before, -1, most)

    def shrink(self, size: int, most: int) -> list[Removed]:
        """Evict entries, those used longest ago first, until the files have no more than `size` bytes; at most `most` of them.

        The caller removes their files and calls `forget`.
        """
        return self._evict(0, size, most)

    def _evict(self, before: int, size: int, most: int) -> list[Removed]:
        removed: list[Removed] = []
        self._rows.enter()
        try:
            cells = self._cells
            row = self._rows.oldest()
            newest = self._rows.newest()
            passed = 0
            while row and len(removed) < most and passed < _TRIED:
                if cells[_SIZE] <= size if size >= 0 else cells[row + _ACCESSED] >= before:
                    break
                following = self._rows.newer(row)
                if cells[row + _OWNER]:  # somebody fetches it
                    passed += 1
                    self._blocking.add(cells[row + _OWNER])
                else:
                    removed.append(Removed(cells[row], cells[row + SECOND]))
                    self._empty(row)
                self._rows.freshen(row)  # so that it does not block those behind it, here and where others evict now
                row = following if row != newest else 0
            return removed
        finally:
            self._rows.leave()

    def blocking_owners(self) -> set[int]:
        """Return who fetches what would have been evicted since the last call."""
        found = self._blocking
        self._blocking = set()
        return found

    def release_dead(self, dead: set[int], start: int, count: int) -> int:
        """Release the claims of dead workers in `count` rows from `start` (0: the first) on; return where to go on, 0 at the end."""
        cells = self._cells
        self._rows.enter()
        try:
            rows, following = self._rows.between(start, count)
            for row in rows:
                if cells[row + _OWNER] in dead:
                    cells[row + _OWNER] = 0
            return following
        finally:
            self._rows.leave()

    def forget(self, first: int, second: int) -> None:
        """Remove the row of an evicted entry, whose file is removed."""
        self._rows.enter()
        try:
            row = self._rows.find(first, second)
            if row and not self._cells[row + _FLAGS] & EXISTS and not self._cells[row + _OWNER]:
                self._remove(row)
        finally:
            self._rows.leave()

    def note_purge(self) -> None:
        """Note that a part of the cache is purged now: nothing requested before is stored."""
        self._rows.enter()
        try:
            purge = self._cells[_PURGES] + 1
            self._cells[_PURGES] = purge
            self._cells[_WIDE] = purge
        finally:
            self._rows.leave()

    def keys(self, start: int, count: int) -> tuple[list[Removed], int]:
        """Return the digests of what may have a file in `count` rows from `start` (0: the first) on, and where to go on, or 0."""
        found: list[Removed] = []
        cells = self._cells
        self._rows.enter()
        try:
            rows, following = self._rows.between(start, count)
            for row in rows:
                if cells[row + _FLAGS] & (EXISTS | LEFT):
                    found.append(Removed(cells[row], cells[row + SECOND]))
            return found, following
        finally:
            self._rows.leave()

    # -- upkeep ------------------------------------------------------------------------------------------------------------

    def set_loaded(self) -> None:
        """Note that every file that was there at the start is in the index."""
        self._cells[_LOADED] = 1

    def retire(self) -> None:
        """Store nothing any more: another index has taken this one's place, and what only this one knew would stay for ever."""
        self._cells[_RETIRED] = 1

    def is_retired(self) -> bool:
        """Return whether only workers of an earlier configuration, which shut down gracefully, still use this index."""
        return self._cells[_RETIRED] != 0

    def count(self) -> int:
        """Return how many rows stand for a key; walks through all of them."""
        return len(self._rows.used())

    # -- rows, with the lock held -----------------------------------------------------------------------------------------

    def _is_purged(self, row: int, purges: int) -> bool:
        """Return whether a key was purged after that many purges; row 0: a key that has none."""
        cells = self._cells
        return cells[_WIDE] > purges or (row != 0 and cells[row + _USES] >> _USES_BITS > purges)

    def _add(self, first: int, second: int) -> tuple[int, Removed | None]:
        """Insert a row for a key; return it, and what was evicted for it and may have a file."""
        cells = self._cells
        removed: Removed | None = None
        if not self._rows.has_room(self._spare):
            oldest = self._oldest_unclaimed()
            has_file = cells[oldest + _FLAGS] & (EXISTS | LEFT) != 0
            if has_file:
                removed = Removed(cells[oldest], cells[oldest + SECOND])
            if has_file and self._rows.has_room():
                self._empty(oldest)
                self._rows.freshen(oldest)  # the next one that needs room takes another
            else:
                self._remove(oldest)
        row = self._rows.add(first, second)
        cells[row + _FLAGS] = USED
        return row, removed

    def _oldest_unclaimed(self) -> int:
        """Return the row used longest ago that nobody fetches, as far as a few are looked at."""
        oldest = self._rows.oldest()
        row = oldest
        for _ in range(_TRIED):
            if row == 0:
                break
            if self._cells[row + _OWNER] == 0:
                return row
            row = self._rows.newer(row)
        return oldest

    def _set_file(self, row: int, size: int, flags: int) -> int:
        """Note a row's file; return its generation."""
        cells = self._cells
        self._rows.set_summed(row, size)
        generation = cells[_GENERATION] + 1
        cells[_GENERATION] = generation
        cells[row + _GENERATION] = generation
        cells[row + _FLAGS] = flags
        return generation

    def _empty(self, row: int) -> None:
        """Note that there is no file, or one that must not be used."""
        cells = self._cells
        cells[row + _GENERATION] = 0  # first: from now on no worker's entry in memory is the same
        cells[row + _FLAGS] = USED | LEFT
        self._rows.set_summed(row, 0)

    def _remove(self, row: int) -> None:
        """Remove a row; its last purge counts for all keys from now on."""
        cells = self._cells
        purge = cells[row + _USES] >> _USES_BITS
        if purge > cells[_WIDE]:
            cells[_WIDE] = purge
        cells[row + _GENERATION] = 0
        cells[row + _FLAGS] = 0
        self._rows.remove(row)
