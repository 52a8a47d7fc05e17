"""Which process does a job that one must do: a lease in shared memory.

A lease is two cells of a row, all 0 at first, so any table has room for one (`Lease(table, row, column)`); a job that has no table of
its own declares a zone for it. It passes on by itself: another process may acquire it when its holder has released it, has died
(`zones/owner.py`), or has not renewed it in time, since it hangs.

    cell 0     holder, an identity; 0: nobody's
    cell 1     milliseconds of the monotonic clock, which all processes share, until which it holds

    while serving:
        if lease.acquire(own, 30.0):      # for its holder that renews it
            do a part of the job          # which ends within the 30 seconds
        sleep
    lease.release(own)

Whoever hangs and loses its lease does not know it until it asks again. So a job must bear that two do it for a moment.

A process may be killed between any two stores. Only `acquire` makes two; in between the new holder stands there with the time of the
one before, and is dead, so another process may acquire it.
"""

from __future__ import annotations

import time
from typing import Final, final

from portico.zones.owner import is_alive
from portico.zones.table import SharedTable

COLUMNS: Final = 2
_HOLDER: Final = 0
_UNTIL: Final = 1


@final
class Lease:
    """The right to do one job, which one process has at a time. Methods acquire the row's lock themselves, for microseconds."""

    def __init__(self, table: SharedTable, row: int = 0, column: int = 0) -> None:
        self._table = table
        self._row = row
        self._column = column

    def holder(self) -> int:
        """Return the identity of the process that has it, dead or alive; 0: nobody has."""
        return self._table.get(self._row, self._column + _HOLDER)

    def acquire(self, owner: int, seconds: float) -> bool:
        """Acquire it for `seconds` if nobody has it any more, or renew it; return whether `owner` has it now."""
        holder = self.holder()
        until = self._until()
        if holder not in (0, owner) and _now() < until and is_alive(holder):
            return False
        table = self._table
        table.lock(self._row)
        try:
            if self.holder() != holder or self._until() != until:
                return False  # another process was quicker, or the holder has just renewed it
            self._set(_HOLDER, owner)
            self._set(_UNTIL, _after(seconds))
            return True
        finally:
            table.unlock(self._row)

    def release(self, owner: int) -> None:
        """Let another process acquire it at once; nothing happens when `owner` does not have it."""
        table = self._table
        table.lock(self._row)
        try:
            if self.holder() == owner:
                self._set(_HOLDER, 0)
        finally:
            table.unlock(self._row)

    def _until(self) -> int:
        return self._table.get(self._row, self._column + _UNTIL)

    def _set(self, cell: int, value: int) -> None:
        self._table.set(self._row, self._column + cell, value)


def _now() -> int:
    return int(time.monotonic() * 1000.0)


def _after(seconds: float) -> int:
    return _now() + int(seconds * 1000.0)
