"""Who waits, in this worker, until somebody else is done with fetching a key (`proxy_cache_lock`).

When something was stored, it is there for all of them. When nothing was, one of them may try next: all the others would look for
nothing, and of thousands that wait for what nobody may keep each would do so thousands of times.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import final


@final
class Waiting:
    """By key, whoever came first first."""

    def __init__(self) -> None:
        self._futures: dict[tuple[int, int], OrderedDict[asyncio.Future[bool], None]] = {}

    async def wait(self, first: int, second: int, seconds: float) -> None:
        """Return when woken, or after `seconds`. Who was woken and cannot go on, as its client has left, wakes the next one."""
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
        """Nobody fetches the key, and nothing came of it."""
        waiting = self._futures.get((first, second))
        while waiting:
            future, _ = waiting.popitem(last=False)
            if not future.done():  # else its time is up: it looks in any case
                future.set_result(True)
                break
        if waiting is not None and not waiting:
            del self._futures[(first, second)]

    def wake_all(self, first: int, second: int) -> None:
        """There is something for the key."""
        waiting = self._futures.pop((first, second), None)
        if waiting is None:
            return
        for future in waiting:
            if not future.done():
                future.set_result(False)  # for all of them: there is nothing to hand on

    def count(self) -> int:
        """How many wait."""
        return sum(len(waiting) for waiting in self._futures.values())


def _give_up(future: asyncio.Future[bool]) -> None:
    if not future.done():
        future.set_result(False)
