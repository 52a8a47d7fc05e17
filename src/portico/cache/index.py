"""Which answers a cache holds: an index in shared memory, the same for all workers.

Entries are found by the 128 bits of their key's digest. A row is 128 bytes, so a megabyte holds 8,191, as in nginx.

    row    first second | chain newer older bucket | flags accessed valid updating error size generation uses owner since
    row 0  dirty used   | free  oldest newest      | flags wide …                         total generation purges keeper

Rows of one bucket (first modulo rows) are chained, all rows in use form one ring ordered by use through row 0, rows not in use are
chained from row 0. As these change in several stores, `dirty` is raised meanwhile: whoever finds it raised makes them anew from the
rows.

`generation` changes with every change of an entry's file, so a worker that keeps an entry at hand sees by one load whether it is
still the one. Times are whole seconds since the epoch, but `since`.

A row outlives its file: from before a file is replaced or removed until that is done it says LEFT, so that no file remains of which
the index knows nothing when a worker is killed in between.

`purges` counts purges. Above its lower 24 bits `uses` has which purge was the row's last; `wide` (of row 0) is the last of many rows,
or of one that is no more. What was asked for before that must not be stored after it.
"""

from __future__ import annotations

from typing import Final, final

from portico.zones.lock import Lock
from portico.zones.table import SharedTable

COLUMNS: Final = 16
_FIRST: Final = 0
_SECOND: Final = 1
_CHAIN: Final = 2
_NEWER: Final = 3
_OLDER: Final = 4
_BUCKET: Final = 5
_FLAGS: Final = 6
_ACCESSED: Final = 7
_VALID: Final = 8
_UPDATING: Final = 9
_ERROR: Final = 10
_SIZE: Final = 11
_GENERATION: Final = 12
_USES: Final = 13
_OWNER: Final = 14
_SINCE: Final = 15

_DIRTY: Final = 0  # of row 0
_USED: Final = 1
_FREE: Final = 2
_OLDEST: Final = _NEWER  # the ring closes in row 0
_NEWEST: Final = _OLDER
_WIDE: Final = _ACCESSED
_PURGES: Final = 13
_KEEPER: Final = 14

USED: Final = 1  # the row stands for a key
EXISTS: Final = 2  # there is a file
KNOWN: Final = 4  # valid, updating and error are the file's; else the file has to be read
STATUS_SHIFT: Final = 8  # above it: the status of a failure that is kept without a file
LEFT: Final = 16  # there may be a file, which is not to be used
CHECKED: Final = 8  # the file was written, or its checksum verified, since the index was made

COLD: Final = 0
LOADED: Final = 1
_USES_BITS: Final = 24  # of the column `uses`; above them the row's last purge
_USES_MOST: Final = (1 << _USES_BITS) - 1
_TRIED: Final = 20  # rows looked at for one that nobody fetches (nginx: ngx_http_file_cache_forced_expire)


@final
class Removed:
    """An entry that the index gave up; its file is to be removed."""

    def __init__(self, first: int, second: int) -> None:
        self.first = first
        self.second = second


@final
class Index:
    """The index of one `keys_zone`. Methods take the lock themselves, for microseconds; none of them touches a file."""

    def __init__(self, table: SharedTable) -> None:
        if table.columns != COLUMNS or table.locks != 1 or table.slots < 2:
            raise ValueError(f"an index is kept in a table of {COLUMNS} columns with one lock")
        self.slots = table.slots
        self._lock: Lock = table.lock_of(0)
        self._cells = table.cells()

    def _enter(self) -> None:
        self._lock.acquire()
        if self._cells[_DIRTY]:
            self._rebuild()

    # -- what a worker that has the slot at hand asks, without a lock ------------------------------------------------------

    def is_same(self, slot: int, first: int, generation: int) -> bool:
        """Whether the row still stands for the file that had this generation."""
        at = slot * COLUMNS
        cells = self._cells
        return cells[at + _GENERATION] == generation and cells[at] == first

    def valid(self, slot: int, generation: int) -> int:
        """Until when the entry is fresh; 0 when there is another file by now."""
        return self._still(slot, generation, _VALID)

    def updating(self, slot: int, generation: int) -> int:
        """Until when it may be served stale while it is fetched anew (stale-while-revalidate)."""
        return self._still(slot, generation, _UPDATING)

    def error(self, slot: int, generation: int) -> int:
        """Until when it may be served stale when the upstream fails (stale-if-error)."""
        return self._still(slot, generation, _ERROR)

    def _still(self, slot: int, generation: int, column: int) -> int:
        cells = self._cells
        at = slot * COLUMNS
        value = cells[at + column]
        return value if cells[at + _GENERATION] == generation else 0  # asked last: a generation never comes again

    def size(self) -> int:
        """Bytes of all files."""
        return self._cells[_SIZE]

    def is_loaded(self) -> bool:
        """Whether every file that was there at the start is in the index."""
        return self._cells[_FLAGS] == LOADED

    def purges(self) -> int:
        """How often something was purged. Who asks the upstream notes it before, and gives it to `store`."""
        return self._cells[_PURGES]

    # -- use -------------------------------------------------------------------------------------------------------------

    def touch(self, slot: int, first: int, generation: int, now: int) -> None:
        """An entry was used: once a second it becomes the one used last."""
        cells = self._cells
        at = slot * COLUMNS
        if cells[at + _ACCESSED] == now:
            return
        self._enter()
        try:
            if cells[at + _GENERATION] == generation and cells[at] == first:
                cells[at + _ACCESSED] = now
                self._freshen(slot)
        finally:
            self._lock.release()

    def use(self, first: int, second: int, now: int) -> tuple[int, int, int, int, Removed | None]:
        """A request for a key: (slot, flags, generation, uses with this one, what had to go for it). An unknown key gets a row."""
        self._enter()
        try:
            cells = self._cells
            removed: Removed | None = None
            slot = self._find(first, second)
            if slot == 0:
                slot, removed = self._add(first, second)
            else:
                self._freshen(slot)
            at = slot * COLUMNS
            cells[at + _ACCESSED] = now
            uses = cells[at + _USES]
            if uses & _USES_MOST != _USES_MOST:
                uses += 1
                cells[at + _USES] = uses
            return slot, cells[at + _FLAGS], cells[at + _GENERATION], uses & _USES_MOST, removed
        finally:
            self._lock.release()

    def look(self, first: int, second: int) -> tuple[int, int]:
        """(flags, generation) of a key; zeros when it has no row."""
        self._enter()
        try:
            slot = self._find(first, second)
            at = slot * COLUMNS
            return (self._cells[at + _FLAGS], self._cells[at + _GENERATION]) if slot else (0, 0)
        finally:
            self._lock.release()

    # -- who fetches -------------------------------------------------------------------------------------------------------

    def claim(self, first: int, second: int, owner: int, now_ms: int, age_ms: int) -> int:
        """Become the one who fetches a key: 0, or the identity of whoever does already. After `age_ms` another one may."""
        self._enter()
        try:
            slot = self._find(first, second)
            if slot == 0:
                return 0
            cells = self._cells
            at = slot * COLUMNS
            other = cells[at + _OWNER]
            if other and (age_ms <= 0 or now_ms - cells[at + _SINCE] < age_ms):
                return other
            cells[at + _OWNER] = owner
            cells[at + _SINCE] = now_ms
            return 0
        finally:
            self._lock.release()

    def release(self, first: int, second: int, owner: int) -> None:
        """Fetch it no more, whatever came of it."""
        self._enter()
        try:
            slot = self._find(first, second)
            if slot and self._cells[slot * COLUMNS + _OWNER] == owner:
                self._cells[slot * COLUMNS + _OWNER] = 0
        finally:
            self._lock.release()

    def is_fetched_by(self, first: int, second: int) -> int:
        """Who fetches the key now; 0: nobody."""
        self._enter()
        try:
            slot = self._find(first, second)
            return self._cells[slot * COLUMNS + _OWNER] if slot else 0
        finally:
            self._lock.release()

    # -- changes -----------------------------------------------------------------------------------------------------------

    def replace(self, first: int, second: int) -> Removed | None:
        """A new file is about to take a key's place: until `store` it has none that can be used. What had to go for it."""
        self._enter()
        try:
            cells = self._cells
            removed: Removed | None = None
            slot = self._find(first, second)
            if slot == 0:
                slot, removed = self._add(first, second)
                cells[slot * COLUMNS + _USES] = 1
            at = slot * COLUMNS
            cells[at + _FLAGS] = USED | LEFT
            cells[at + _GENERATION] = 0
            return removed
        finally:
            self._lock.release()

    def store(
        self, first: int, second: int, size: int, valid: int, updating: int, error: int, now: int, purges: int
    ) -> tuple[int, Removed | None]:
        """There is a new file for a key: (its generation, what had to go for it). Generation 0: the key was purged since `purges`."""
        self._enter()
        try:
            cells = self._cells
            removed: Removed | None = None
            slot = self._find(first, second)
            if cells[_WIDE] > purges or (slot and cells[slot * COLUMNS + _USES] >> _USES_BITS > purges):
                if slot:
                    self._empty(slot)
                return 0, None
            if slot == 0:
                slot, removed = self._add(first, second)
                cells[slot * COLUMNS + _USES] = 1
            at = slot * COLUMNS
            cells[at + _GENERATION] = 0  # who looks without the lock must not take these times for those of the file before
            cells[at + _VALID] = valid
            cells[at + _UPDATING] = updating
            cells[at + _ERROR] = error
            cells[at + _ACCESSED] = now
            return self._set_file(slot, size, USED | EXISTS | KNOWN | CHECKED), removed
        finally:
            self._lock.release()

    def store_failure(self, first: int, second: int, status: int, valid: int, now: int) -> Removed | None:
        """A key is answered by an error until `valid`, without a file; what had to go for it."""
        self._enter()
        try:
            cells = self._cells
            removed: Removed | None = None
            slot = self._find(first, second)
            if slot == 0:
                slot, removed = self._add(first, second)
            at = slot * COLUMNS
            if cells[at + _FLAGS] & EXISTS:
                return removed  # a stale answer is worth more
            cells[at + _VALID] = valid
            cells[at + _ACCESSED] = now
            cells[at + _FLAGS] = USED | cells[at + _FLAGS] & LEFT | status << STATUS_SHIFT
            return removed
        finally:
            self._lock.release()

    def refresh(self, slot: int, first: int, generation: int, valid: int, updating: int, error: int, checked: bool) -> bool:
        """New times for the file of this generation; False when it is not there any more."""
        cells = self._cells
        at = slot * COLUMNS
        wanted = KNOWN | CHECKED if checked else KNOWN
        if (
            cells[at + _FLAGS] & wanted == wanted
            and cells[at + _VALID] == valid
            and cells[at + _UPDATING] == updating
            and cells[at + _ERROR] == error
            and cells[at + _GENERATION] == generation
        ):
            return True  # as it is: that needs no lock
        self._enter()
        try:
            if cells[at + _GENERATION] != generation or cells[at] != first:
                return False
            cells[at + _VALID] = valid
            cells[at + _UPDATING] = updating
            cells[at + _ERROR] = error
            cells[at + _FLAGS] |= wanted
            return True
        finally:
            self._lock.release()

    def load(self, first: int, second: int, size: int, accessed: int) -> bool:
        """A file was found at the start; False: it is known already, or there is no room for it."""
        self._enter()
        try:
            slot = self._find(first, second)
            cells = self._cells
            if slot and cells[slot * COLUMNS + _FLAGS] & EXISTS:
                return True
            if slot == 0:
                if not self._has_room():
                    return False
                slot, _ = self._add(first, second)
                cells[slot * COLUMNS + _ACCESSED] = accessed
            self._set_file(slot, size, USED | EXISTS)
            return True
        finally:
            self._lock.release()

    def drop(self, first: int, second: int, generation: int = 0) -> bool:
        """The file of a key is gone, or going (with `generation`: only that one); whether there was one."""
        self._enter()
        try:
            slot = self._find(first, second)
            if slot == 0:
                return False
            cells = self._cells
            at = slot * COLUMNS
            if generation and cells[at + _GENERATION] != generation:
                return False
            existed = cells[at + _FLAGS] & EXISTS != 0
            self._empty(slot)
            return existed
        finally:
            self._lock.release()

    def purge(self, first: int, second: int) -> bool:
        """As `drop`, and what is being fetched for the key must not be stored."""
        self._enter()
        try:
            cells = self._cells
            purge = cells[_PURGES] + 1
            cells[_PURGES] = purge
            slot = self._find(first, second)
            if slot == 0:
                if not self._has_room():
                    cells[_WIDE] = purge
                    return False
                slot, _ = self._add(first, second)
            at = slot * COLUMNS
            existed = cells[at + _FLAGS] & EXISTS != 0
            cells[at + _USES] = purge << _USES_BITS
            self._empty(slot)
            return existed
        finally:
            self._lock.release()

    def oldest(self, before: int, most: int) -> list[Removed]:
        """Give up at most `most` of the entries not used since `before`; whoever asks removes their files and says `forget`."""
        return self._give_up(before, -1, most)

    def shrink(self, size: int, most: int) -> list[Removed]:
        """Give up entries, those used longest ago first, until the files have no more than `size` bytes; at most `most` of them.

        Whoever asks removes their files and says `forget`.
        """
        return self._give_up(0, size, most)

    def _give_up(self, before: int, size: int, most: int) -> list[Removed]:
        removed: list[Removed] = []
        self._enter()
        try:
            cells = self._cells
            slot = cells[_OLDEST]
            passed = 0
            while slot and len(removed) < most and passed < _TRIED:
                at = slot * COLUMNS
                if cells[_SIZE] <= size if size >= 0 else cells[at + _ACCESSED] >= before:
                    break
                if cells[at + _OWNER]:
                    passed += 1  # somebody fetches it
                else:
                    removed.append(Removed(cells[at], cells[at + _SECOND]))
                    self._empty(slot)
                slot = cells[at + _NEWER]
            return removed
        finally:
            self._lock.release()

    def forget(self, first: int, second: int) -> None:
        """The file of a row that was given up is removed."""
        self._enter()
        try:
            slot = self._find(first, second)
            if slot and not self._cells[slot * COLUMNS + _FLAGS] & EXISTS and not self._cells[slot * COLUMNS + _OWNER]:
                self._remove(slot)
        finally:
            self._lock.release()

    def note_purge(self) -> None:
        """A part of the cache is purged now."""
        self._enter()
        try:
            purge = self._cells[_PURGES] + 1
            self._cells[_PURGES] = purge
            self._cells[_WIDE] = purge
        finally:
            self._lock.release()

    def keys(self, start: int, count: int) -> tuple[list[Removed], int]:
        """The digests in `count` rows from `start` on, and where to go on; 0: that was all."""
        found: list[Removed] = []
        self._enter()
        try:
            cells = self._cells
            end = min(start + count, cells[_USED] + 1)
            for slot in range(start, end):
                at = slot * COLUMNS
                if cells[at + _FLAGS] & EXISTS:
                    found.append(Removed(cells[at], cells[at + _SECOND]))
            return found, end if end <= cells[_USED] else 0
        finally:
            self._lock.release()

    # -- upkeep ------------------------------------------------------------------------------------------------------------

    def keeper(self) -> int:
        """The identity of the worker that looks after the cache; 0: none does."""
        return self._cells[_KEEPER]

    def take_over(self, before: int, owner: int) -> bool:
        """Become the worker that looks after the cache, if that is still `before`."""
        self._enter()
        try:
            if self._cells[_KEEPER] != before:
                return False
            self._cells[_KEEPER] = owner
            return True
        finally:
            self._lock.release()

    def set_loaded(self) -> None:
        """Every file that was there at the start is known."""
        self._cells[_FLAGS] = LOADED

    def count(self) -> int:
        """How many rows stand for a key; walks through all of them."""
        cells = self._cells
        return sum(1 for slot in range(1, cells[_USED] + 1) if cells[slot * COLUMNS + _FLAGS] & USED)

    # -- rows, with the lock held -----------------------------------------------------------------------------------------

    def _find(self, first: int, second: int) -> int:
        cells = self._cells
        slot = cells[first % self.slots * COLUMNS + _BUCKET]
        while slot:
            at = slot * COLUMNS
            if cells[at] == first and cells[at + _SECOND] == second:
                return slot
            slot = cells[at + _CHAIN]
        return 0

    def _has_room(self) -> bool:
        return self._cells[_FREE] != 0 or self._cells[_USED] + 1 < self.slots

    def _add(self, first: int, second: int) -> tuple[int, Removed | None]:
        cells = self._cells
        removed: Removed | None = None
        if not self._has_room():
            oldest = self._oldest_unclaimed()
            if cells[oldest * COLUMNS + _FLAGS] & (EXISTS | LEFT):
                removed = Removed(cells[oldest * COLUMNS], cells[oldest * COLUMNS + _SECOND])
            self._remove(oldest)
        cells[_DIRTY] = 1
        slot = cells[_FREE]
        if slot:
            cells[_FREE] = cells[slot * COLUMNS + _CHAIN]
        else:
            slot = cells[_USED] + 1
            cells[_USED] = slot
        at = slot * COLUMNS
        cells[at] = first
        cells[at + _SECOND] = second
        for column in (_ACCESSED, _VALID, _UPDATING, _ERROR, _SIZE, _GENERATION, _USES, _OWNER, _SINCE):
            cells[at + column] = 0
        cells[at + _FLAGS] = USED
        self._chain(slot, first)
        self._ring(slot)
        cells[_DIRTY] = 0
        return slot, removed

    def _oldest_unclaimed(self) -> int:
        cells = self._cells
        slot = cells[_OLDEST]
        for _ in range(_TRIED):
            if slot == 0:
                break
            if cells[slot * COLUMNS + _OWNER] == 0:
                return slot
            slot = cells[slot * COLUMNS + _NEWER]
        return cells[_OLDEST]

    def _set_file(self, slot: int, size: int, flags: int) -> int:
        """There is a file; its generation."""
        cells = self._cells
        at = slot * COLUMNS
        cells[_DIRTY] = 1
        cells[_SIZE] += size - cells[at + _SIZE]
        cells[at + _SIZE] = size
        cells[_DIRTY] = 0
        generation = cells[_GENERATION] + 1
        cells[_GENERATION] = generation
        cells[at + _GENERATION] = generation
        cells[at + _FLAGS] = flags
        return generation

    def _empty(self, slot: int) -> None:
        """There is no file, or one that is not to be used."""
        cells = self._cells
        at = slot * COLUMNS
        cells[at + _FLAGS] = USED | LEFT
        cells[at + _GENERATION] = 0
        cells[_DIRTY] = 1
        cells[_SIZE] -= cells[at + _SIZE]
        cells[at + _SIZE] = 0
        cells[_DIRTY] = 0

    def _remove(self, slot: int) -> None:
        cells = self._cells
        at = slot * COLUMNS
        purge = cells[at + _USES] >> _USES_BITS
        if purge > cells[_WIDE]:
            cells[_WIDE] = purge
        cells[_DIRTY] = 1
        cells[_SIZE] -= cells[at + _SIZE]
        self._unchain(slot)
        self._unring(slot)
        cells[at + _SIZE] = 0
        cells[at + _GENERATION] = 0
        cells[at + _FLAGS] = 0
        cells[at + _CHAIN] = cells[_FREE]
        cells[_FREE] = slot
        cells[_DIRTY] = 0

    def _freshen(self, slot: int) -> None:
        cells = self._cells
        if cells[_NEWEST] == slot:
            return
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
        """Somebody died while the rows' order was changed: make it, and the sum of the sizes, from the rows."""
        cells = self._cells
        for slot in range(self.slots):
            cells[slot * COLUMNS + _BUCKET] = 0
        cells[_OLDEST] = cells[_NEWEST] = cells[_FREE] = cells[_SIZE] = 0
        rows = sorted((cells[slot * COLUMNS + _ACCESSED], slot) for slot in range(1, cells[_USED] + 1))
        for _, slot in rows:
            at = slot * COLUMNS
            if cells[at + _FLAGS] & USED:
                self._chain(slot, cells[at])
                self._ring(slot)
                cells[_SIZE] += cells[at + _SIZE]
            else:
                cells[at + _CHAIN] = cells[_FREE]
                cells[_FREE] = slot
        cells[_DIRTY] = 0
