"""One worker's life: listen, serve, end. It knows neither what is spoken on its connections nor where its sockets come from."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401  asyncio imports these two when a name is looked up:
import encodings.idna  # noqa: F401  too late, where the worker's user may not read Python's own files
import gc
import os
import traceback
from typing import TYPE_CHECKING, Final, final

from portico.errorlog import ALERT, ErrorLog
from portico.net.reactor import Reactor, new_loop
from portico.worker.connection_limit import limit_connections
from portico.worker.graceful_shutdown import GracefulShutdown
from portico.worker.runtime import Runtime

if TYPE_CHECKING:
    from portico.net.acceptor import ListeningSocket
    from portico.worker.hook import WorkerHook

_SECOND: Final = 1.0


@final
class Worker:
    """The loop of one worker and all that must happen around it."""

    def __init__(self, hooks: list[WorkerHook], error_log: ErrorLog, worker_connections: int, number: int) -> None:
        self.hooks = hooks
        self.reactor = Reactor()
        self.reactor.on_error = self._defect
        self.runtime = Runtime(self.reactor, error_log, worker_connections, number)
        self.loop: asyncio.SelectorEventLoop = new_loop(self.reactor)
        self.listening: list[ListeningSocket] = []
        self._shutdown = GracefulShutdown(self.runtime, self.loop)

    def start(self) -> None:
        """Start the hooks, and begin to listen."""
        asyncio.set_event_loop(self.loop)
        for hook in self.hooks:
            hook.start(self.runtime)
        limit_connections(self.runtime, len(self.listening))
        for listening in self.listening:
            listening.open()
        self.loop.call_later(_SECOND, self._every_second)
        gc.collect()
        gc.freeze()  # the configuration lives as long as the worker: the collector need not look at it again
        gc.set_threshold(20_000, 20, 50)

    def run(self) -> None:
        """Serve until `quit` has finished or `terminate` was called."""
        try:
            self.loop.run_forever()
        finally:
            self._close()

    def quit(self, limit: float) -> None:
        """Finish what is in flight, at most `limit` seconds (0: without end)."""
        self._stop_listening()
        if limit > 0.0:
            self.loop.call_later(limit, self.terminate)
        self._shutdown.begin()

    def terminate(self) -> None:
        """Close everything and end."""
        self._stop_listening()
        self.runtime.stop()
        self.loop.stop()

    def _stop_listening(self) -> None:
        for listening in self.listening:
            listening.close()

    def _every_second(self) -> None:
        for hook in self.hooks:
            hook.every_second()
        self.loop.call_later(_SECOND, self._every_second)

    def _close(self) -> None:
        for hook in self.hooks:
            hook.stop()
        self.runtime.close()

    def _defect(self, error: BaseException) -> None:
        """Log, in one line with the place, that a coroutine ended with an exception that nobody expects."""
        frames = traceback.extract_tb(error.__traceback__)
        places = " < ".join(f"{os.path.basename(frame.filename)}:{frame.lineno}" for frame in reversed(frames[-6:]))
        self.runtime.error_log.write(ALERT, f"internal error: {type(error).__name__}: {error} at {places}")
