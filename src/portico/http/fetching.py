"""Something that several requests need at the same time and that has to be asked for: one of them asks, the others wait for it.

`Fetching` is whose turn it is:

    while not there:
        if fetching.begin():
            try: …ask…
            finally: fetching.end(reactor)
        else:
            await fetching.wait(reactor)

Who asks may vanish with its client before it has an answer; then the first of those who waited finds nothing and asks itself.

`Kept` is that for a thing that holds for a while, such as a set of keys.
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


@final
class FetchFailed(Exception):
    """What was asked for cannot be had: why, for the error log, and the status that a request which needs it is answered with."""

    def __init__(self, reason: str, status: int = 500) -> None:
        super().__init__(reason)
        self.reason = reason
        self.status = status


class Source(Generic[T]):
    """Where a thing is asked for."""

    async def fetch(self, request: Request) -> T:
        """Ask. Raises FetchFailed."""
        raise NotImplementedError

    def told(self, reason: str) -> str:
        """A line for the error log about an asking that failed."""
        raise NotImplementedError


@final
class Kept(Generic[T]):
    """A thing as it was last asked for, in this worker. After a failure nobody asks for `pause` seconds."""

    def __init__(self, source: Source[T], pause: float) -> None:
        self.source: Source[T] = source
        self.pause = pause
        self.value: T | None = None
        self._fetching = Fetching()
        self._fetched = 0.0  # when, by the reactor's clock
        self._renewed = -RENEW_SECONDS  # when it was last asked for before its time
        self._asked = 0  # how often
        self._failed: FetchFailed | None = None  # the last time
        self._failed_at = 0.0

    def known(self, now: float, seconds: float) -> T | None:
        """It, when it is not older than `seconds`."""
        return self.value if self.value is not None and now < self._fetched + seconds else None

    def may_renew(self, now: float) -> bool:
        """Whether it may be asked for before its time, or somebody is at it. Else whoever makes requests of which each would like
        a newer one could make each of them an asking.
        """
        return self._fetching.busy or now >= self._renewed + RENEW_SECONDS

    async def get(self, request: Request, seconds: float, renew: bool) -> T:
        """It, not older than `seconds`, with `renew` newer than at the call. Raises FetchFailed when it cannot be had.

        A renewal that fails is told to the error log, and the old one goes on.
        """
        reactor = request.reactor
        asked = self._asked
        while True:
            known = self.known(reactor.now, seconds)
            if self._asked != asked:  # by us or by somebody we waited for
                if known is None and self._failed is not None:
                    raise self._again(self._failed)
                if self.value is not None:
                    return self.value
            elif known is not None and not renew:
                return known
            if known is None and self._failed is not None and reactor.now < self._failed_at + self.pause:
                raise self._again(self._failed)
            if not self._fetching.begin():
                await self._fetching.wait(reactor)
                continue
            try:
                await self._ask(request, reactor, renew)
            finally:
                self._fetching.end(reactor)

    def _again(self, failed: FetchFailed) -> FetchFailed:
        return FetchFailed(failed.reason, failed.status)

    async def _ask(self, request: Request, reactor: Reactor, renew: bool) -> None:
        if renew:
            self._renewed = reactor.now
        try:
            self.value = await self.source.fetch(request)
            self._fetched = reactor.now
            self._failed = None
        except FetchFailed as failed:
            self._failed = failed
            self._failed_at = reactor.now
            if renew:
                request.log_error(ERR, self.source.told(failed.reason))
        self._asked += 1


