"""An answer on its way into the cache: written under a temporary name, and given its own when it is whole."""

from __future__ import annotations

import os
import shutil
import zlib
from typing import TYPE_CHECKING, final

from portico.cache.entry import TIMES_SIZE, Meta, Times

if TYPE_CHECKING:
    from portico.cache.store import Store


@final
class Fill:
    """One answer that is being stored. Whoever has it calls `finish` or `abort`; both give back the right to fetch the key."""

    def __init__(self, store: Store, first: int, second: int) -> None:
        self.store = store
        self.first = first
        self.second = second
        self.meta: Meta | None = None
        self.times = Times(0, 0, 0, 0, 0)
        self.purges = store.index.purges()
        self.length = 0
        self._sum = 0
        self._fd = -1
        self._path = ""
        self.over = False

    def begin(self, meta: Meta, times: Times) -> None:
        """The head is known. Raises OSError."""
        self.meta = meta
        self.times = times
        meta_bytes = meta.packed(0, 0)
        self._fd, self._path = self.store.temporary(self.first, self.second)
        _write(self._fd, times.packed(len(meta_bytes)) + meta_bytes)

    def write(self, data: bytes) -> None:
        """A part of the body. Raises OSError."""
        _write(self._fd, data)
        self.length += len(data)
        self._sum = zlib.crc32(data, self._sum)

    def finish(self) -> bool:
        """The body is whole: give the file its name; whether that worked out. Raises OSError."""
        meta = self.meta
        if self.over or meta is None:
            return False
        store = self.store
        made = meta.packed(self.length, self._sum)
        os.pwrite(self._fd, made, TIMES_SIZE)
        os.close(self._fd)
        self._fd = -1
        if self.purges != store.index.purges():
            self.abort()
            return False
        store.put(self._path, self.first, self.second, TIMES_SIZE + len(made) + self.length, self.times)
        self._path = ""
        self.abort()
        return True

    def abort(self) -> None:
        """Leave nothing behind; safe to call twice."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if self._path:
            try:
                os.unlink(self._path)
            except OSError:
                pass
            self._path = ""
        if not self.over:
            self.over = True
            self.store.release(self.first, self.second)


def _write(fd: int, data: bytes) -> None:
    written = os.write(fd, data)
    while written < len(data):  # the last room of a disk takes a part; the next write says why
        data = data[written:]
        written = os.write(fd, data)


def move(source: str, target: str) -> None:
    """Give a file its name, also over to another file system: never is `target` seen half written. Raises OSError."""
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno != 18:  # EXDEV
            raise
        near = f"{target}.{os.getpid()}.x"
        try:
            shutil.copyfile(source, near)
            os.rename(near, target)
        except OSError:
            if os.path.exists(near):
                os.unlink(near)
            raise
        os.unlink(source)
