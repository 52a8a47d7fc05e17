"""A table of 64-bit integers in shared memory: the one shape that all shared state takes.

    locks × 64 bytes | slot 0: column 0, column 1 … | slot 1: … | …

A slot is a row of signed 64-bit integers.  ``get`` and ``set`` are single aligned loads and stores: another
process sees the old value or the new one, never half of each.  Whatever reads *and* writes, or needs
several columns to fit together, holds the slot's lock.  Slots share ``locks`` locks (slot modulo locks);
with the usual one it is the table's.

``read`` and ``write`` move several columns, or rows that lie side by side, in one call: through ``struct``
that costs 0.2 µs however many there are, and 0.05 µs for each single ``get``.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, final

from portico.zones.lock import LOCK_SIZE, LOCKS, Lock
from portico.zones.memory import shared_pages

_INTEGER: Final = 8


@final
class SharedTable:
    """``slots`` rows of ``columns`` integers, all 0 at first.  Made before forking, never resized."""

    def __init__(self, slots: int, columns: int, locks: int = 1) -> None:
        if slots < 1 or columns < 1 or locks < 1:
            raise ValueError("a table needs at least one slot, one column and one lock")
        self.slots = slots
        self.columns = columns
        self.locks = locks
        self._start = locks * LOCK_SIZE
        self._memory, address = shared_pages(self._start + slots * columns * _INTEGER)
        self._locks: list[Lock] = [LOCKS.make(address + i * LOCK_SIZE) for i in range(locks)]
        self._cells: memoryview[int] = memoryview(self._memory)[self._start :].cast("q")
        self._formats: dict[int, struct.Struct] = {}

    def lock(self, slot: int = 0) -> None:
        """Acquire the lock of ``slot``, waiting for it if need be.  Then ``try: … finally: unlock(slot)``."""
        self._locks[slot % self.locks].acquire()

    def unlock(self, slot: int = 0) -> None:
        """Release the lock of ``slot``."""
        self._locks[slot % self.locks].release()

    def lock_of(self, slot: int = 0) -> Lock:
        """Return the lock of ``slot`` itself, for a hot path that keeps it."""
        return self._locks[slot % self.locks]

    def cells(self) -> memoryview[int]:
        """Return all cells, row after row, for what walks through many: 8-byte loads and stores, unchecked but for the end."""
        return self._cells

    def get(self, slot: int, column: int) -> int:
        """Return one value."""
        return self._cells[self._cell(slot, column)]

    def set(self, slot: int, column: int, value: int) -> None:
        """Store one value (-2**63 … 2**63-1, else ValueError)."""
        self._cells[self._cell(slot, column)] = value

    def add(self, slot: int, column: int, amount: int) -> int:
        """Add to a value under the slot's lock (which the caller does not hold); return the sum."""
        cell = self._cell(slot, column)
        lock = self._locks[slot % self.locks]
        lock.acquire()
        try:
            value = self._cells[cell] + amount
            self._cells[cell] = value
        finally:
            lock.release()
        return value

    def read(self, slot: int, count: int) -> tuple[int, ...]:
        """Return ``count`` integers from the start of ``slot`` on; past ``columns`` it goes on in the next slots."""
        return self._format(count).unpack_from(self._memory, self._offset(slot, count))

    def write(self, slot: int, values: Sequence[int]) -> None:
        """Store ``values`` from the start of ``slot`` on, the way ``read`` gives them."""
        self._format(len(values)).pack_into(self._memory, self._offset(slot, len(values)), *values)

    def _cell(self, slot: int, column: int) -> int:
        if not (0 <= slot < self.slots and 0 <= column < self.columns):
            raise IndexError(f"no column {column} of slot {slot} in {self.slots} slots of {self.columns}")
        return slot * self.columns + column

    def _offset(self, slot: int, count: int) -> int:
        first = slot * self.columns
        if slot < 0 or first + count > self.slots * self.columns:
            raise IndexError(f"{count} integers do not fit from slot {slot} on in {self.slots} slots")
        return self._start + first * _INTEGER

    def _format(self, count: int) -> struct.Struct:
        made = self._formats.get(count)
        if made is None:
            made = self._formats[count] = struct.Struct(f"={count}q")
        return made
