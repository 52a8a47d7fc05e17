"""Who waits for somebody else's answer, and who is woken when."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.unit.cache.test_cache_files import digest, fill, make_store

from portico.cache.waiting import Waiting

KEY = (1, 2)
LONG = 30.0


def run(say: Callable[[Waiting, list[asyncio.Task[None]]], Awaitable[None]], seconds: float = LONG) -> None:
    """`say` with four who wait."""

    async def act() -> None:
        waiting = Waiting()
        tasks = [asyncio.ensure_future(waiting.wait(*KEY, seconds)) for _ in range(4)]
        await asyncio.sleep(0)
        assert waiting.count() == 4
        await asyncio.wait_for(say(waiting, tasks), 8)  # type: ignore[arg-type]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert waiting.count() == 0

    asyncio.run(act())


def done(tasks: list[asyncio.Task[None]]) -> list[bool]:
    return [task.done() for task in tasks]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


def test_one_by_one() -> None:
    async def say(waiting: Waiting, tasks: list[asyncio.Task[None]]) -> None:
        for number in range(4):
            assert done(tasks) == [True] * number + [False] * (4 - number)
            waiting.wake_one(*KEY)
            await settle()
        assert all(done(tasks))
        waiting.wake_one(*KEY)  # nobody is left

    run(say)


def test_all_at_once() -> None:
    async def say(waiting: Waiting, tasks: list[asyncio.Task[None]]) -> None:
        waiting.wake_all(3, 4)
        await settle()
        assert not any(done(tasks))
        waiting.wake_all(*KEY)
        await settle()
        assert all(done(tasks))

    run(say)


def test_everybody_has_a_time() -> None:
    async def say(waiting: Waiting, tasks: list[asyncio.Task[None]]) -> None:
        await asyncio.gather(*tasks)

    run(say, 0.02)


def test_who_has_left_is_not_woken() -> None:
    async def say(waiting: Waiting, tasks: list[asyncio.Task[None]]) -> None:
        tasks[0].cancel()
        await settle()
        waiting.wake_one(*KEY)
        await settle()
        assert done(tasks) == [True, True, False, False]

    run(say)


def test_who_leaves_just_when_woken_wakes_the_next_one() -> None:
    async def say(waiting: Waiting, tasks: list[asyncio.Task[None]]) -> None:
        waiting.wake_one(*KEY)
        tasks[0].cancel()
        await settle()
        assert done(tasks) == [True, True, False, False]

    run(say)


def test_what_is_stored_wakes_all_what_is_not_wakes_one(tmp_path: Path) -> None:
    async def act() -> None:
        for stored, woken in ((False, 1), (True, 3)):
            store = make_store(tmp_path)
            tasks = [asyncio.ensure_future(store.waiting.wait(*digest(b"key"), LONG)) for _ in range(3)]
            await settle()
            made = fill(store, b"key", b"hello")
            made.claimed = True
            if stored:
                assert made.finish()
            else:
                made.abort()
            await settle()
            assert sum(done(tasks)) == woken
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(act())
