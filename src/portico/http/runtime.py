"""What one worker has while it serves: the reactor, its client connections, its counters."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.errorlog import ALERT
from portico.net.reactor import Reactor
from portico.net.transport import PipePool

if TYPE_CHECKING:
    from portico.errorlog import ErrorLog
    from portico.http.connection import Connection


@final
class Runtime:
    """One worker's state. Nothing in it is shared with other workers."""

    def __init__(self, reactor: Reactor, error_log: ErrorLog, worker_connections: int, number: int) -> None:
        self.reactor = reactor
        self.error_log = error_log
        self.number = number  # of the worker
        self.worker_connections = worker_connections
        self.connections: dict[Connection, None] = {}
        self.idle: dict[Connection, None] = {}  # waiting for a request, the longest waiting first
        self.draining = False  # QUIT: every answer is the last of its connection
        self.pipes = PipePool()
        self.accepted = 0
        self.requests = 0
        self.background = 0  # answers that are read on although no client waits for them: the cache wants them
        self.serving = 0  # requests whose head is read and that are not over

    def make_room(self) -> None:
        """Out of connections: close the connection that has been idle longest, as nginx does."""
        self.error_log.write(
            ALERT, f"{self.worker_connections} worker_connections are not enough: idle connections are closed"
        )
        for connection in self.idle:
            connection.abandon()
            return

    def stop(self) -> None:
        """Close everything now."""
        self.draining = True
        for connection in list(self.connections):
            connection.abandon()
