"""A value that several requests need at the same time and that has to be fetched: one of them fetches it, the others wait.

`SingleFlight` says whose turn it is:

    while not there:
        if flight.try_acquire():
            try: …fetch…
            finally: flight.release(reactor)
        else:
            await flight.wait(reactor)

A request that fetches may vanish with its client before it has a response; then the first of those that waited finds nothing and
fetches the value itself.

`CachedValue` is that for a value which stays fresh for a while, such as a set of keys.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Generic, TypeVar, final

from portico.errorlog import ERR
from portico.net.reactor import SUSPEND, Reactor, Task

if TYPE_CHECKING:
    from portico.http.request import Request

T = TypeVar("T")

RENEW_SECONDS: Final = 5.0


@final
class SingleFlight:
    """One task that fetches, and those that wait for it."""

    def __init__(self) -> None:
        self.busy = False
        self._rounds = 0
        self._waiting: list[Task] = []

    def try_acquire(self) -> bool:
        """Return whether it is the caller's turn to fetch: then it must call `release`, whatever happens."""
        if self.busy:
            return False
        self.busy = True
        return True

    def release(self, reactor: Reactor) -> None:
        """End the caller's turn: those who wait look whether the value is there."""
        self.busy = False
        self._rounds += 1
        waiting = self._waiting
        self._waiting = []
        for task in waiting:
            reactor.soon(task)

    async def wait(self, reactor: Reactor) -> None:
        """Wait until the turn that is under way has ended. Raises what is thrown into the running task."""
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


@final
class SourceFailed(Exception):
    """A value cannot be had: why, for the error log, and the status of the response to a request that needs it."""

    def __init__(self, reason: str, status: int = 500) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Source(Generic[T]):
    """Where a value comes from."""

    async def fetch(self, request: Request) -> T:
        """Return a new value. Raises SourceFailed."""
        raise NotImplementedError

    def failure_line(self, reason: str) -> str:
        """Return a line for the error log about a fetch that failed."""
        raise NotImplementedError


@final
class CachedValue(Generic[T]):
    """A value as it was last fetched, in this worker. After a failure nobody fetches it for `pause` seconds."""

    def __init__(self, source: Source[T], pause: float) -> None:
        self.source: Source[T] = source
        self.pause = pause
        self.value: T | None = None
        self._flight = SingleFlight()
        self._fetched = 0.0  # when, by the reactor's clock
        self._renewed = -RENEW_SECONDS  # when it was last fetched while it was fresh
        self._fetches = 0
        self._failure: SourceFailed | None = None  # of the last fetch
        self._failed_at = 0.0

    def fresh(self, now: float, seconds: float) -> T | None:
        """Return the value when it is not older than `seconds`."""
        return self.value if self.value is not None and now < self._fetched + seconds else None

    def may_renew(self, now: float) -> bool:
        """Return whether it may be fetched while it is fresh, or somebody is at it. Else requests that all would like a newer one
        could make each of them a fetch.
        """
        return self._flight.busy or now >= self._renewed + RENEW_SECONDS

    async def get(self, request: Request, seconds: float, renew: bool) -> T:
        """Return the value, not older than `seconds`, with `renew` newer than at the call. Raises SourceFailed.

        A renewal that fails is written to the error log, and the old value goes on.
        """
        reactor = request.reactor
        fetches = self._fetches
        while True:
            fresh = self.fresh(reactor.now, seconds)
            if self._fetches != fetches:  # by us or by somebody we waited for
                if fresh is None and self._failure is not None:
                    raise _copied(self._failure)
                if self.value is not None:
                    return self.value
            elif fresh is not None and not renew:
                return fresh
            if fresh is None and self._failure is not None and reactor.now < self._failed_at + self.pause:
                raise _copied(self._failure)
            if not self._flight.try_acquire():
                await self._flight.wait(reactor)
                continue
            try:
                await self._fetch(request, reactor, renew)
            finally:
                self._flight.release(reactor)

    async def _fetch(self, request: Request, reactor: Reactor, renew: bool) -> None:
        if renew:
            self._renewed = reactor.now
        try:
            self.value = await self.source.fetch(request)
            self._fetched = reactor.now
            self._failure = None
        except SourceFailed as failed:
            self._failure = failed
            self._failed_at = reactor.now
            if renew:
                request.log_error(ERR, self.source.failure_line(failed.reason))
        self._fetches += 1


def _copied(failure: SourceFailed) -> SourceFailed:
    """Return the same failure for another request: an exception that is raised twice collects tracebacks."""
    return SourceFailed(failure.reason, failure.status)
