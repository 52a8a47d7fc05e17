"""How many connections one worker may have, and what gives way when they become too many.

Clients' and upstreams' connections count alike, as in nginx (`worker_connections`). A worker also needs descriptors for files, logs
and pipes, so the limit is lowered when the process may open fewer files than `worker_connections` asks for.

Room is made before the limit is reached: idle connections are closed, those that have been idle longest first. Only when nobody idles
is a new connection refused.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import Final, final

NO_LIMIT: Final = 1 << 40
_AT_ONCE: Final = 32  # idle connections closed for one new one, at most (nginx: ngx_drain_connections)
_PART: Final = 16  # room is made when less than this part of the connections is free


class IdleHolder:
    """Somebody who keeps things open that nobody uses at the moment."""

    def close_idle(self, count: int) -> int:
        """Close up to `count` of them, the longest idle first; return how many were closed."""
        raise NotImplementedError


@final
class Room:
    """The limit of one worker's connections."""

    def __init__(self, in_use: Callable[[], int]) -> None:
        self.limit = NO_LIMIT
        self.reason = ""  # what the limit is called in the error log
        self.complain: Callable[[bool], None] | None = None  # told whether a connection was refused
        self._in_use = in_use
        self._comfortable = NO_LIMIT  # with fewer connections than this nothing has to give way
        self._holders: list[IdleHolder] = []

    def set_limit(self, limit: int, reason: str) -> None:
        """Allow `limit` connections; `reason` says in the error log where the number comes from."""
        self.limit = limit
        self.reason = reason
        self._comfortable = limit - limit // _PART

    def add(self, holder: IdleHolder) -> None:
        """Have `holder` give way when room is needed, after those that were added before."""
        self._holders.append(holder)

    def remove(self, holder: IdleHolder) -> None:
        """Forget `holder`."""
        if holder in self._holders:
            self._holders.remove(holder)

    def make(self) -> bool:
        """Call before a connection is opened: close idle ones when it is getting full; return whether there is room for one more."""
        used = self._in_use()
        if used < self._comfortable:
            return True
        self.free_some(min(used - self._comfortable + 1, _AT_ONCE))
        is_room = self._in_use() < self.limit
        if self.complain is not None:
            self.complain(not is_room)
        return is_room

    def free_some(self, count: int = _AT_ONCE) -> bool:
        """Close up to `count` idle connections, or the pipes that are at hand; return whether there were any."""
        freed = 0
        for holder in self._holders:
            freed += holder.close_idle(count - freed)
            if freed >= count:
                break
        return freed > 0


@final
class Spare:
    """A descriptor in reserve. A client that cannot be accepted for want of one would stay in the queue, and its listening socket
    would be reported as ready again and again; with the spare one it is accepted and closed.
    """

    def __init__(self) -> None:
        self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def refuse(self, listening: socket.socket) -> None:
        """Accept a client and close its connection at once."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        try:
            listening.accept()[0].close()
        except OSError:
            pass  # it has left, or somebody else was quicker
        try:
            self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            pass  # the next one waits in the queue until a descriptor is free

    def close(self) -> None:
        """Give the descriptor back."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
