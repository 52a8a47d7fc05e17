"""What one worker has while it serves: the reactor, its client connections, its counters."""

from __future__ import annotations

import os
import resource
import select
from itertools import islice
from typing import TYPE_CHECKING, Final, final

from portico.errorlog import ALERT, NOTICE, WARN
from portico.net.reactor import Reactor
from portico.net.room import IdleHolder, Spare

if TYPE_CHECKING:
    from portico.errorlog import ErrorLog
    from portico.http.server.connection import Connection


_NO_LIMIT: Final = 1 << 30
_MOST_RESERVED: Final = 1024  # descriptors
_MOST_PIPES: Final = 512
_MORE: Final = 32  # idle connections to look at besides those to be closed: a request may have arrived on some


@final
class Runtime(IdleHolder):
    """One worker's state. Nothing in it is shared with other workers."""

    def __init__(self, reactor: Reactor, error_log: ErrorLog, worker_connections: int, number: int) -> None:
        self.reactor = reactor
        self.error_log = error_log
        self.number = number  # of the worker
        self.worker_connections = worker_connections
        self.connections: dict[Connection, None] = {}
        self.idle: dict[Connection, None] = {}  # waiting for a request, the longest waiting first
        self.draining = False  # QUIT: every answer is the last of its connection
        self.accepted = 0
        self.requests = 0
        self._complained = -1  # the second of the last line about too few connections
        self._complaint = 0  # its level
        self.spare = Spare()
        self.background = 0  # answers that are read on although no client waits for them: the cache wants them
        self.serving = 0  # requests whose head is read and that are not over

    def limit_connections(self, listening: int) -> None:
        """Say how many connections there may be besides `listening` sockets, now that the process has its limits and its files.

        A part of the descriptors stays for the files of requests, temporary files, logs and pipes.
        """
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if files == resource.RLIM_INFINITY:
            files = _NO_LIMIT
        opened = len(os.listdir("/proc/self/fd"))
        reserve = min(max(files // 8, 16), _MOST_RESERVED)
        room = self.reactor.room
        within_files = max(files - opened - reserve, 4)
        if self.worker_connections <= within_files:
            room.set_limit(self.worker_connections + listening, f"{self.worker_connections} worker_connections")
        else:
            reason = f"{within_files} connections, all that {files} open files (worker_rlimit_nofile) leave room for,"
            room.set_limit(within_files + listening, reason)
            self.error_log.write(NOTICE, f"{self.worker_connections} worker_connections are lowered to {reason.rstrip(',')}")
        room.complain = self._complain
        room.add(self)
        self.reactor.pipes.most = min(max(files // 32, 2), _MOST_PIPES)

    def _complain(self, refused: bool) -> None:
        reason = self.reactor.room.reason
        if refused:
            self.log_want(ALERT, f"{reason} are not enough")
        else:
            self.log_want(WARN, f"{reason} are not enough, idle connections are closed")

    def log_want(self, level: int, message: str) -> None:
        """Log that connections or descriptors are wanting, at most once a second (as nginx) but for a line that is worse."""
        second = int(self.reactor.now)
        if second != self._complained or level < self._complaint:
            self._complained = second
            self._complaint = level
            self.error_log.write(level, message)

    def close_idle(self, count: int) -> int:
        """See IdleHolder.close_idle. A client whose next request has arrived is not idle, even if nobody has looked yet."""
        closed = 0
        for connection in list(islice(self.idle, count + _MORE)):
            if closed >= count:
                break
            if not has_arrived(connection.transport.fd):
                connection.abandon()
                closed += 1
        return closed

    def close(self) -> None:
        """Close the descriptors that are kept for later: the worker serves no more."""
        self.spare.close()
        self.reactor.pipes.close_idle(self.reactor.pipes.most)

    def stop(self) -> None:
        """Close everything now."""
        self.draining = True
        for connection in list(self.connections):
            connection.abandon()


def has_arrived(fd: int) -> bool:
    """Whether there is something to read, of which no event told yet."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))
