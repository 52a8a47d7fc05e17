"""Something that several requests need at the same time and that has to be asked for: one of them asks, the others wait for it.

    while not there:
        if fetching.begin():
            try: …ask…
            finally: fetching.end(reactor)
        else:
            await fetching.wait(reactor)

Who asks may vanish with its client before it has an answer; then the first of those who waited finds nothing and asks itself.
"""

from __future__ import annotations

from typing import final

from portico.net.reactor import SUSPEND, Reactor, Task


@final
class Fetching:
    """Who asks, and who waits."""

    def __init__(self) -> None:
        self.busy = False
        self._rounds = 0
        self._waiting: list[Task] = []

    def begin(self) -> bool:
        """Whether it is the caller's turn to ask: then it must call `end`, whatever happens."""
        if self.busy:
            return False
        self.busy = True
        return True

    def end(self, reactor: Reactor) -> None:
        """The asking is over: those who wait have a look."""
        self.busy = False
        self._rounds += 1
        waiting = self._waiting
        self._waiting = []
        for task in waiting:
            reactor.soon(task)

    async def wait(self, reactor: Reactor) -> None:
        """Return when the asking that is under way is over. Raises what is thrown into the running task."""
        task = reactor.current
        assert task is not None
        rounds = self._rounds
        while self.busy and self._rounds == rounds:
            self._waiting.append(task)
            try:
                await SUSPEND
            finally:
                if task in self._waiting:
                    self._waiting.remove(task)
