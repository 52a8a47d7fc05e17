"""Work of a request that nobody waits for, until the client's next request does."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from portico.http.background import BackgroundTask
from portico.net.reactor import SUSPEND, Reactor, Shutdown, Task


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    yield made
    made.epoll.close()


class Work:
    """Work that waits once."""

    def __init__(self, reactor: Reactor) -> None:
        self.reactor = reactor
        self.steps: list[str] = []
        self.task: Task | None = None

    async def run(self) -> None:
        self.task = self.reactor.current
        self.steps.append("begun")
        await SUSPEND
        self.steps.append("ended")

    def go_on(self) -> None:
        assert self.task is not None
        self.task.resume()


def test_it_runs_to_its_first_wait_at_once(reactor: Reactor) -> None:
    work = Work(reactor)
    background = BackgroundTask(reactor)
    background.start(work.run())
    assert work.steps == ["begun"] and not background.done
    work.go_on()
    assert work.steps == ["begun", "ended"] and background.done


def test_whoever_waits_goes_on_at_its_end(reactor: Reactor) -> None:
    work = Work(reactor)
    background = BackgroundTask(reactor)
    background.start(work.run())
    waiting = reactor.spawn(background.wait())
    reactor.dispatch(0.0)
    assert not waiting.done
    work.go_on()
    reactor.dispatch(0.0)
    assert waiting.done and background.waiter is None


def test_nobody_waits_for_work_that_is_done(reactor: Reactor) -> None:
    background = BackgroundTask(reactor)

    async def nothing() -> None:
        pass

    background.start(nothing())
    assert reactor.spawn(background.wait()).done


def test_a_waiter_that_is_ended_is_not_woken(reactor: Reactor) -> None:
    work = Work(reactor)
    background = BackgroundTask(reactor)
    background.start(work.run())
    ended: list[bool] = []

    async def wait() -> None:
        try:
            await background.wait()
        except Shutdown:
            ended.append(True)

    waiting = reactor.spawn(wait())
    waiting.throw(Shutdown())
    assert ended and background.waiter is None
    work.go_on()
    assert background.done
