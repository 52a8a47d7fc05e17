"""Work of a request that nobody waits for. The client's next request does, as in nginx: the two may share a body."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, final

from portico.net.reactor import SUSPEND, Reactor, Task


@final
class BackgroundTask:
    """One piece of work, and whoever waits for its end."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.done = False
        self.waiter: Task | None = None

    def start(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin the work, which must not raise; return at its first wait."""
        self.reactor.spawn(self._run(work))

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        finally:
            self.done = True
            if self.waiter is not None:
                self.reactor.soon(self.waiter)

    async def wait(self) -> None:
        """Return when it is over."""
        while not self.done:
            self.waiter = self.reactor.current
            try:
                await SUSPEND
            finally:
                self.waiter = None
