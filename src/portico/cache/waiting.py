"""The requests of this worker that wait until another one has fetched a key (`proxy_cache_lock`).

When a response was stored, it is there for all of them. When none was, one of them may try next: all the others would look in vain,
and of thousands that wait for what may not be stored each would do so thousands of times.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import final


@final
class Waiting:
    """Waiting requests by key, in the order in which they came."""

    def __init__(self) -> None:
        self._futures: dict[tuple[int, int], OrderedDict[asyncio.Future[bool], None]] = {}

    async def wait(self, first: int, second: int, seconds: float) -> None:
        """Return when woken, or after `seconds`. One that was woken but cannot go on, as its client has left, wakes the next one."""
        key = (first, second)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[bool] = loop.create_future()
        self._futures.setdefault(key, OrderedDict())[future] = None
        timer = loop.call_later(max(seconds, 0.001), _give_up, future)
        goes_on = False
        try:
            await future
            goes_on = True
        finally:
            timer.cancel()
            waiting = self._futures.get(key)
            if waiting is not None:
                waiting.pop(future, None)
                if not waiting:
                    del self._futures[key]
            if not goes_on and future.done() and not future.cancelled() and future.result():
                self.wake_one(first, second)

    def wake_one(self, first: int, second: int) -> None:
        """Wake the request that has waited longest: nobody fetches the key any more, and nothing was stored."""
        waiting = self._futures.get((first, second))
        while waiting:
            future, _ = waiting.popitem(last=False)
            if not future.done():  # else its time is up: it looks anyway
                future.set_result(True)
                break
        if waiting is not None and not waiting:
            del self._futures[(first, second)]

    def wake_all(self, first: int, second: int) -> None:
        """Wake all requests that wait for a key: something was stored."""
        waiting = self._futures.pop((first, second), None)
        if waiting is None:
            return
        for future in waiting:
            if not future.done():
                future.set_result(False)  # all are woken, so none has to wake the next one

    def count(self) -> int:
        """Return how many requests wait."""
        return sum(len(waiting) for waiting in self._futures.values())


def _give_up(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)
