"""Work of a request that nobody waits for: not the client's next request either, unless much of it has piled up."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, final

from portico.net.reactor import SUSPEND, Reactor, Task
from portico.worker.runtime import Runtime


@final
class BackgroundTask:
    """One piece of work, and whoever waits for its end."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.done = False
        self.waiter: Task | None = None
        self._runtime: Runtime | None = None  # counts it

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin the work, which must not raise; return at its first wait."""
        self.reactor.spawn(self._run(work))

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            self.done = True
            if self._runtime is not None:
                self._runtime.background -= 1
            if self.waiter is not None:
                self.reactor.soon(self.waiter)

    def outlive(self, runtime: Runtime) -> None:
        """Go on when the connection is over, too: a graceful shutdown waits for it."""
        if not self.done and self._runtime is None:
            self._runtime = runtime
            runtime.background += 1

    async def wait(self) -> None:
        """Return when it is over."""
        while not self.done:
            self.waiter = self.reactor.current
            try:
                await SUSPEND
            finally:
                self.waiter = None
