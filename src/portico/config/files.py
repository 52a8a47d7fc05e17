"""Reading the files that a configuration names, without waiting for a FIFO's writer for ever."""

from __future__ import annotations

import errno
import os
import select
import stat
from typing import Final, final

_AT_ONCE: Final = 1 << 20  # bytes


def read_file(path: str | bytes) -> bytes:
    """Return what a file holds. Raises OSError; ValueError for a zero byte in the path.

    A device is read as empty, as by nginx, which asks for its size. A FIFO is read to its end, but not waited for: one that nobody
    has opened for writing would hold up a start or a reload for ever.
    """
    return read_with_status(path)[1]


def read_with_status(path: str | bytes) -> tuple[os.stat_result, bytes]:
    """Return what fstat(2) says of the file and what it holds, as `read_file`."""
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        kind = stat.S_IFMT(status.st_mode)
        if kind == stat.S_IFCHR or kind == stat.S_IFBLK:
            return status, b""
        pieces = [_first(fd)]
        if kind == stat.S_IFIFO and not pieces[0]:
            raise OSError(errno.ENXIO, "a FIFO that nobody writes to")
        while pieces[-1]:
            pieces.append(os.read(fd, _AT_ONCE))
        return status, b"".join(pieces)
    finally:
        os.close(fd)


@final
class Copy:
    """What came out of a FIFO, in memory, under a path by which it can be read as often as anybody wants."""

    def __init__(self, path: str, patience: float) -> None:
        """Read the FIFO to its end, once somebody has begun to write within `patience` seconds. Raises OSError."""
        self._file = -1
        fifo = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            writer = select.poll()
            writer.register(fifo, select.POLLIN)
            writer.poll(patience * 1000.0)  # one who waits for a reader begins now
            pieces = [_first(fifo)]
            if not pieces[0]:
                raise OSError(errno.ENXIO, "a FIFO that nobody writes to")
            while pieces[-1]:
                pieces.append(os.read(fifo, _AT_ONCE))
        finally:
            os.close(fifo)
        self._file = os.memfd_create("portico-copy")
        os.write(self._file, b"".join(pieces))
        self.path = f"/proc/self/fd/{self._file}"

    def __del__(self) -> None:
        if self._file >= 0:
            os.close(self._file)


def _first(fd: int) -> bytes:
    """Read the beginning; wait for it only where somebody has the other end of a FIFO open."""
    try:
        return os.read(fd, _AT_ONCE)
    except BlockingIOError:
        pass
    finally:
        os.set_blocking(fd, True)
    return os.read(fd, _AT_ONCE)
