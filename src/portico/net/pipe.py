"""Kernel pipes, through which a body goes from one socket to another without being copied (splice(2)).

Each takes two descriptors. So a worker has one pool of them, bounded, and lets its idle ones go when descriptors become few.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final, final

from portico.net.room import IdleHolder

if TYPE_CHECKING:
    from portico.net.transport import Transport

_PIPE_SIZE: Final = 1 << 18
_MOST_IDLE: Final = 16


@final
class Pipe:
    """A kernel pipe that carries a body from one socket to another without copying it (splice(2))."""

    def __init__(self) -> None:
        read_end, write_end = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.read_end: int = read_end
        self.write_end: int = write_end
        self.held: int = 0  # bytes in the pipe
        try:
            fcntl.fcntl(write_end, fcntl.F_SETPIPE_SZ, _PIPE_SIZE)
        except OSError:
            pass  # over the user's limit of pipe pages: the default of 64 KB does

    def fill(self, transport: Transport, count: int) -> int:
        """Move up to `count` bytes from the socket into the pipe; 0: would block (or full), -1: end of stream.

        Raises ConnectionFailed.
        """
        try:
            moved = os.splice(transport.fd, self.write_end, count, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK)
        except BlockingIOError:
            transport.ready = False
            return 0
        except OSError as error:
            raise transport.failed(error) from None
        if moved == 0:
            return -1
        self.held += moved
        return moved

    def drain(self, transport: Transport) -> int:
        """Move what the pipe holds into the socket; 0: would block. Raises ConnectionFailed."""
        try:
            moved = os.splice(
                self.read_end, transport.fd, self.held, flags=os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
            )
        except BlockingIOError:
            return 0
        except OSError as error:
            raise transport.failed(error) from None
        self.held -= moved
        return moved

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
