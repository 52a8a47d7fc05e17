"""What one worker has while it serves: the reactor, its client connections, its counters."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final, final

from portico.errorlog import ALERT, WARN
from portico.net.reactor import Reactor
from portico.net.room import IdleHolder
from portico.net.shortage import Shortage

if TYPE_CHECKING:
    from portico.errorlog import ErrorLog
    from portico.worker.connection import ServedConnection

_MORE: Final = 32  # idle connections to look at besides those to be closed: a request may have arrived on some


@final
class Runtime(IdleHolder):
    """One worker's state. Nothing in it is shared with other workers."""

    def __init__(self, reactor: Reactor, error_log: ErrorLog, worker_connections: int, number: int) -> None:
        self.reactor = reactor
        self.error_log = error_log
        self.number = number  # of the worker
        self.worker_connections = worker_connections
        self.shortage = Shortage(reactor, error_log)
        self.connections: dict[ServedConnection, None] = {}
        self.idle: dict[ServedConnection, None] = {}  # waiting for a request, the longest waiting first
        self.draining = False  # QUIT: every response is the last of its connection
        self.accepted = 0
        self.requests = 0
        self.serving = 0  # requests whose header section is read and that are not over
        self.background = 0  # responses that are read on although no client waits for them: the cache wants them
        reactor.room.complain = self._complain
        reactor.room.add(self)

    def _complain(self, refused: bool) -> None:
        reason = self.reactor.room.reason
        if refused:
            self.shortage.log(ALERT, f"{reason} are not enough")
        else:
            self.shortage.log(WARN, f"{reason} are not enough, idle connections are closed")

    def close_idle(self, count: int) -> int:
        """See IdleHolder.close_idle. A client whose next request has arrived is not idle, even if nobody has looked yet."""
        closed = 0
        for connection in list(islice(self.idle, count + _MORE)):
            if closed >= count:
                break
            if not connection.has_input():
                connection.abandon()
                closed += 1
        return closed

    def close(self) -> None:
        """Close the descriptors that are kept for later: the worker serves no more."""
        self.shortage.close()
        self.reactor.pipes.close_idle(self.reactor.pipes.most)

    def stop(self) -> None:
        """Close everything now."""
        self.draining = True
        for connection in list(self.connections):
            connection.abandon()
