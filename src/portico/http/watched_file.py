"""Files that the worker reads while it serves, and reads again when they change: users, keys.

nginx opens such a file for each request. Here each request asks for its status only (about a microsecond), so that a change counts as
soon as it does in nginx, and the text is parsed once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final, Generic, TypeVar, final

T = TypeVar("T")

_MOST: Final = 64  # a path may hold variables: more than this many are not kept
_UNSETTLED_NS: Final = 50_000_000  # time stamps are coarse: a file just written may be written again under the same stamp

Mark = tuple[int, int, int, int, int]


@final
class _Entry(Generic[T]):
    def __init__(self, mark: Mark, settled: bool, value: T) -> None:
        self.mark = mark
        self.settled = settled
        self.value = value


@final
class WatchedFiles(Generic[T]):
    """What `parse` makes of the bytes of each file."""

    def __init__(self, parse: Callable[[bytes], T]) -> None:
        self._parse = parse
        self._entries: dict[bytes, _Entry[T]] = {}

    def get(self, path: bytes) -> T:
        """The parsed file as it is now. Raises OSError, and what `parse` raises."""
        entry = self._entries.get(path)
        if entry is not None and entry.settled and _mark(os.stat(path)) == entry.mark:
            return entry.value
        with open(path, "rb") as file:
            status = os.fstat(file.fileno())
            data = file.read()
        settled = time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > _UNSETTLED_NS
        fresh = _Entry(_mark(status), settled, self._parse(data))
        if entry is None and len(self._entries) >= _MOST:
            del self._entries[next(iter(self._entries))]
        self._entries[path] = fresh
        return fresh.value


def _mark(status: os.stat_result) -> Mark:
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino, status.st_dev
