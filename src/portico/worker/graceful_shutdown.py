"""Graceful shutdown (QUIT, and old workers after a reload): how keep-alive connections are closed, and when the worker ends.

What is in flight is finished: while `Runtime.draining` is set, every response is the last of its connection. A keep-alive connection
that idles is closed once it has been quiet for a moment. Closed at once, as nginx does it, the request that its client is just
sending would be lost. The worker ends with its last connection; `worker_shutdown_timeout` ends it earlier (`Worker.quit`).
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, final

if TYPE_CHECKING:
    from portico.worker.connection import ServedConnection
    from portico.worker.runtime import Runtime

_QUIET_SECONDS: Final = 0.2
_LOOK_SECONDS: Final = 0.02


@final
class GracefulShutdown:
    """The end of one worker that finishes what it has."""

    def __init__(self, runtime: Runtime, loop: asyncio.AbstractEventLoop) -> None:
        self._runtime = runtime
        self._loop = loop
        self._quiet: dict[ServedConnection, float] = {}  # since when it is known to be idle

    def begin(self) -> None:
        """Close what is idle, from now on, and stop the loop when nothing is left."""
        self._runtime.draining = True
        for connection in list(self._runtime.connections):
            connection.drain()
        self._look()

    def _look(self) -> None:
        self._close_quiet()
        if not self._runtime.connections and not self._runtime.background:
            self._loop.stop()
        else:
            self._loop.call_later(_LOOK_SECONDS, self._look)

    def _close_quiet(self) -> None:
        """Close what has been idle for a while, unless its next request has just arrived."""
        now = self._loop.time()
        self._quiet = {connection: self._quiet.get(connection, now) for connection in self._runtime.idle}
        for connection, since in self._quiet.items():
            if now - since >= _QUIET_SECONDS and not connection.has_input():
                connection.abandon()
