"""`Reactor.turn`: a coroutine lets the others go first, and comes back once."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest

from portico.net.reactor import TURN_SECONDS, Reactor, Shutdown, Task, new_loop
from portico.net.transport import Transport


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    loop = new_loop(made)
    yield made
    loop.close()


def test_a_turn_ends_after_a_while(reactor: Reactor) -> None:
    reactor.dispatch(0.0)
    assert not reactor.is_turn_over()
    until = time.monotonic() + TURN_SECONDS
    while time.monotonic() <= until:
        pass
    assert reactor.is_turn_over()
    reactor.dispatch(0.0)
    assert not reactor.is_turn_over()


def test_two_coroutines_take_turns(reactor: Reactor) -> None:
    steps: list[str] = []

    async def walk(name: str) -> None:
        for _ in range(3):
            steps.append(name)
            await reactor.turn()

    reactor.spawn(walk("a"))
    reactor.spawn(walk("b"))
    for _ in range(4):
        reactor.dispatch(0.0)
    assert "".join(steps) == "ababab"


def test_what_was_thrown_into_a_turn_is_not_resumed_for_it_again(reactor: Reactor) -> None:
    """The coroutine goes on with another wait: the turn that was broken off must not end that."""
    steps: list[str] = []
    near, far = socket.socketpair()
    near.setblocking(False)
    transport = Transport(reactor, near)
    transport.register()

    async def work() -> None:
        try:
            await reactor.turn()
        except Shutdown:
            steps.append("thrown")
        transport.recv(10)
        await transport.readable(10.0)
        steps.append("readable")

    task: Task = reactor.spawn(work())
    task.throw(Shutdown())
    reactor.dispatch(0.0)
    assert steps == ["thrown"]
    far.send(b"x")
    reactor.dispatch(1.0)
    assert steps == ["thrown", "readable"]
    assert task.done
    transport.close()
    far.close()
