"""A response on its way into the cache: written where nobody sees it, and given its name when it is complete.

    begin ─▶ write … ─▶ finish     the file takes its place
                    └─▶ abort      nothing is left of it
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, final

from portico.cache.checksum import crc32
from portico.cache.entry import TIMES_SIZE, Damaged, Meta, Times

if TYPE_CHECKING:
    from portico.cache.draft import Draft
    from portico.cache.entry import Entry
    from portico.cache.store import Store

_PIECE: Final = 1 << 20


@final
class Fill:
    """One response that is being stored. Its owner calls `finish` or `abort`; both release the right to fetch the key."""

    def __init__(self, store: Store, first: int, second: int, purges: int, claimed: bool) -> None:
        """Begin a fill. `purges`: of the index when the upstream was asked. `claimed`: the fill takes over the right to fetch."""
        self.store = store
        self.first = first
        self.second = second
        self.meta: Meta | None = None
        self.times = Times(0, 0, 0, 0, 0)
        self.purges = purges
        self.claimed = claimed
        self.length = 0
        self._sum = 0
        self._draft: Draft | None = None
        self.over = False
        self.done = False  # stored

    def begin(self, meta: Meta, times: Times) -> None:
        """Write times and meta. Raises OSError."""
        self.meta = meta
        self.times = times
        meta_bytes = meta.packed(0, 0)
        draft = self._draft = self.store.draft(self.first, self.second)
        draft.append(times.packed(len(meta_bytes)) + meta_bytes)

    def write(self, data: bytes) -> None:
        """Write a part of the body. Raises OSError."""
        draft = self._draft
        if draft is None:
            return
        draft.append(data)
        self.length += len(data)
        self._sum = crc32(data, self._sum)

    def finish(self) -> bool:
        """Put the complete file in its place; return False if the key was purged meanwhile. Raises OSError."""
        meta = self.meta
        draft = self._draft
        if self.over or meta is None or draft is None:
            return False
        made = meta.packed(self.length, self._sum)
        draft.put(made, TIMES_SIZE)
        stored = self.store.put(draft, self.first, self.second, TIMES_SIZE + len(made) + self.length, self.times, self.purges)
        self.done = stored
        self.abort()
        return stored

    def copy(self, entry: Entry) -> None:
        """Write the body of another entry; may be run on a thread. Raises Damaged, OSError."""
        at = entry.body_at
        left = entry.body_length
        if entry.data is not None:
            self.write(entry.data)
            left = 0
        while left > 0:
            piece = os.pread(entry.fd, min(left, _PIECE), at)
            if not piece:
                raise Damaged
            self.write(piece)
            at += len(piece)
            left -= len(piece)
        if self._sum != entry.body_sum:
            raise Damaged

    def abort(self) -> None:
        """Leave nothing behind; safe to call twice."""
        draft = self._draft
        if draft is not None:
            self._draft = None
            draft.close()
        if not self.over:
            self.over = True
            if self.claimed:
                self.store.release(self.first, self.second)
