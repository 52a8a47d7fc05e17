"""How many connections one worker may have, and what gives way when they become too many.

Clients' and upstreams' connections count alike, as in nginx (`worker_connections`). A worker also needs descriptors for files, logs
and pipes, so the limit is lowered when the process may open fewer files than `worker_connections` asks for.

Room is made before the limit is reached: idle clients are closed, the longest idle first, then idle connections to upstreams. Only
when nobody idles is a new connection refused.
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

    def __init__(self, in_use: Callable[[], int], pipes: IdleHolder) -> None:
        self.limit = NO_LIMIT
        self.reason = ""  # what the limit is called in the error log
        self.complain: Callable[[bool], None] | None = None  # told whether a connection was refused
        self._in_use = in_use
        self._comfortable = NO_LIMIT  # with fewer connections than this nothing has to give way
        self._holders: list[IdleHolder] = []  # of connections
        self._pipes: IdleHolder = pipes

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
        closed = self._close_idle(min(used - self._comfortable + 1, _AT_ONCE))
        is_room = self._in_use() < self.limit
        if self.complain is not None and (closed or not is_room):
            self.complain(not is_room)
        return is_room

    def free_some(self) -> bool:
        """Close pipes and connections that are idle, as no descriptor is left; return whether there were any."""
        return self._pipes.close_idle(_AT_ONCE) > 0 or self._close_idle(_AT_ONCE) > 0

    def _close_idle(self, count: int) -> int:
        closed = 0
        for holder in self._holders:
            closed += holder.close_idle(count - closed)
            if closed >= count:
                break
        return closed


@final
class Spare:
    """A descriptor in reserve. A client that cannot be accepted for want of one would stay in the queue, and its listening socket
    would be reported as ready again and again; with the spare one it is accepted and closed.
    """

    def __init__(self) -> None:
        self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def refuse(self, listening: socket.socket) -> bool:
        """Accept a client and close its connection at once; return False when not even that is possible."""
        self.close()
        refused = True
        try:
            listening.accept()[0].close()
        except (BlockingIOError, ConnectionAbortedError):
            pass  # it has left, or another worker was quicker
        except OSError:
            refused = False
        try:
            self._fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            pass  # somebody else has taken it: the next try opens it, or waits
        return refused

    def close(self) -> None:
        """Close the descriptor."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
