"""Small files that were served lately, in memory: stat(2) tells whether one is still the same.

Opening a file, looking at it, reading and closing it are four system calls; asking by its name whether it has changed is one. It has
not when device, inode, size and both times are what they were. Nobody can set the time of the last change (st_ctime) back, and
whatever is done to content, owner or permissions sets it. But the clock behind it has a grain of milliseconds: what changes twice
within one would look the same. So a file is stored only once its last change lies two seconds back (as git treats its index).
"""

from __future__ import annotations

import os
from stat import ST_MTIME
from typing import Final, final

from portico.codec.http1_response import ResponseHead
from portico.http.finished import FinishedHead

_SETTLED: Final = 2.0  # seconds since the last change
_OVERHEAD: Final = 1500  # bytes of memory that an entry takes beside its content and its name


@final
class KnownHead:
    """The header section of a response with a file, and what it applies to: the URI, and the handler of the location."""

    def __init__(self, owner: object, uri: bytes, head: ResponseHead, finished: FinishedHead) -> None:
        self.owner = owner
        self.uri = uri  # of which the type was made
        self.head = head
        self.finished = finished


@final
class RememberedFile:
    """What a file held, and what stat(2) said of it."""

    def __init__(self, status: os.stat_result, data: bytes) -> None:
        self.status = status
        self.data = data
        self.mtime = int(status[ST_MTIME])
        self.device = status.st_dev
        self.inode = status.st_ino
        self.modified = status.st_mtime_ns
        self.changed = status.st_ctime_ns
        self.known: KnownHead | None = None

    def is_same(self, status: os.stat_result) -> bool:
        """Return whether the file is what it was."""
        return (
            status.st_ctime_ns == self.changed
            and status.st_ino == self.inode
            and status.st_mtime_ns == self.modified
            and status.st_size == len(self.data)
            and status.st_dev == self.device
        )


@final
class RememberedFiles:
    """At most `room` bytes of them in each worker; who came first leaves first."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.taken = 0
        self._files: dict[bytes, RememberedFile] = {}

    def __len__(self) -> int:
        return len(self._files)

    def find(self, path: bytes) -> RememberedFile | None:
        """Return the file at `path`, if it is known and has not changed."""
        known = self._files.get(path)
        if known is None:
            return None
        try:
            if known.is_same(os.stat(path)):
                return known
        except OSError:
            pass  # gone, or not to be reached any more: whoever opens it learns why
        self._forget(path)
        return None

    def store(self, path: bytes, status: os.stat_result, data: bytes, now: float) -> None:
        """Store what was read of a file that was looked at before; `now` in seconds since the epoch."""
        size = len(data) + len(path) + _OVERHEAD
        if now - status.st_ctime < _SETTLED or size > self.room or len(data) != status.st_size:
            return
        if path in self._files:
            self._forget(path)
        while self.taken + size > self.room:
            self._forget(next(iter(self._files)))
        self._files[path] = RememberedFile(status, data)
        self.taken += size

    def _forget(self, path: bytes) -> None:
        known = self._files.pop(path)
        self.taken -= len(known.data) + len(path) + _OVERHEAD
