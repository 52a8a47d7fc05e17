"""`proxy_limit_rate`: how much of a response may be read by when."""

from __future__ import annotations

from portico.net.reactor import Reactor
from portico.passing.pace import ReadPace


def test_a_second_is_allowed_at_once() -> None:
    reactor = Reactor()
    pace = ReadPace(reactor, 1000, 300)
    assert pace.allowed() == 700
    pace.count(700)
    assert pace.allowed() == 0
    reactor.now += 0.5
    assert pace.allowed() == 500
    reactor.epoll.close()


def test_whoever_waits_goes_on_when_a_byte_is_allowed() -> None:
    reactor = Reactor()
    pace = ReadPace(reactor, 1000, 2000)
    went_on: list[float] = []

    async def read() -> None:
        await pace.wait()
        went_on.append(reactor.now)

    reactor.spawn(read())
    start = reactor.now
    reactor.timers.run(start + 0.9)
    assert not went_on
    reactor.now = start + 1.2
    reactor.timers.run(start + 1.2)
    assert went_on == [start + 1.2]
    reactor.epoll.close()


def test_a_wait_that_is_left_does_not_go_on() -> None:
    reactor = Reactor()
    pace = ReadPace(reactor, 1, 100)
    went_on: list[int] = []

    async def read() -> None:
        await pace.wait()
        went_on.append(1)

    reactor.spawn(read())
    pace.stop_waiting()
    reactor.timers.run(reactor.now + 1000)
    assert not went_on
    reactor.epoll.close()
