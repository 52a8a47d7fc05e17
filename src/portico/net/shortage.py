"""What a worker does when connections, descriptors or memory run out: it says so, seldom, and refuses the client that waits."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.net.room import Spare

if TYPE_CHECKING:
    import socket

    from portico.errorlog import ErrorLog
    from portico.net.reactor import Reactor


@final
class Shortage:
    """The shortages of one worker: the lines about them in the error log, and the spare descriptor."""

    def __init__(self, reactor: Reactor, error_log: ErrorLog) -> None:
        self._reactor = reactor
        self._error_log = error_log
        self._spare = Spare()
        self._second = -1  # when the last line was written
        self._level = 0  # of that line

    def log(self, level: int, message: str) -> None:
        """Log that something is short: one line a second at most, as nginx does, and another one only if it is more severe."""
        second = int(self._reactor.now)
        if second != self._second or level < self._level:
            self._second = second
            self._level = level
            self._error_log.write(level, message)

    def refuse(self, listening: socket.socket) -> bool:
        """Accept a client by means of the spare descriptor and close its connection; return False when that is not possible."""
        return self._spare.refuse(listening)

    def close(self) -> None:
        """Close the spare descriptor."""
        self._spare.close()
