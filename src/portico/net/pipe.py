"""Kernel pipes, through which a body goes from one socket to another without being copied (splice(2)).

Each takes two descriptors. So a worker has one pool of them, bounded, and lets its idle ones go when descriptors become few.
"""

from __future__ import annotations

import fcntl
import os
from typing import Final, final

from portico.net.room import IdleHolder

_PIPE_SIZE: Final = 1 << 18
_MOST_IDLE: Final = 16


@final
class Pipe:
    """One pipe. Transports fill and drain it (`Transport.splice_in`, `splice_out`)."""

    def __init__(self) -> None:
        read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.read_end: int = read_end
        self.write_end: int = write_end
        self.held: int = 0  # bytes in the pipe
        try:
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        except OSError:
            pass  # over the user's limit of pipe pages: the default of 64 KB does

    def take(self, count: int) -> bytes:
        """Take bytes out of the pipe into memory: when the body turns out to need more than moving."""
        data = os.read(self.read_end, count)
        self.held -= len(data)
        return data

    def close(self) -> None:
        """Close both ends."""
        os.close(self.read_end)
        os.close(self.write_end)


@final
class PipePool(IdleHolder):
    """The pipes of one worker: at most `most`, of which a few stay open for the next body, as making one costs four system calls."""

    def __init__(self, most: int = 64) -> None:
        self.most = most
        self._in_use = 0
        self._idle: list[Pipe] = []

    def acquire(self) -> Pipe | None:
        """Return an empty pipe; None when there are enough of them already, or no descriptors for another."""
        if self._idle:
            pipe = self._idle.pop()
        elif self._in_use >= self.most:
            return None
        else:
            try:
                pipe = Pipe()
            except OSError:
                return None
        self._in_use += 1
        return pipe

    def release(self, pipe: Pipe) -> None:
        """Keep the pipe when it is empty, close it otherwise."""
        self._in_use -= 1
        if pipe.held == 0 and len(self._idle) < _MOST_IDLE:
            self._idle.append(pipe)
        else:
            pipe.close()

    def close_idle(self, count: int) -> int:
        """See IdleHolder.close_idle: a pipe that nobody uses keeps two descriptors from others."""
        closed = 0
        while self._idle and closed < count:
            self._idle.pop().close()
            closed += 1
        return closed
