"""Events that the kernel reports together: each reaches the one whom it is about, and idle connections are looked at first."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterator

import pytest

from portico.net.reactor import Reactor, new_loop
from portico.net.transport import Transport

Loop = tuple[Reactor, asyncio.SelectorEventLoop]


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Reactor()
    loop = new_loop(made)
    yield made, loop
    loop.close()


class Line:
    """A registered transport, and the other end of its connection."""

    def __init__(self, reactor: Reactor) -> None:
        near, self.far = socket.socketpair()
        near.setblocking(False)
        self.transport = Transport(reactor, near)
        self.transport.register()
        reactor.dispatch(0.0)

    def when_readable(self, then: Callable[[], None]) -> None:
        async def wait() -> None:
            await self.transport.readable(5.0)
            then()

        self.transport.reactor.spawn(wait())

    def close(self) -> None:
        self.transport.close()
        self.far.close()


def test_an_event_does_not_reach_the_next_owner_of_the_descriptor(loop: Loop) -> None:
    """As nginx, which has the `instance` bit of an event for it."""
    reactor = loop[0]
    first, old, spare = Line(reactor), Line(reactor), socket.socketpair()
    successors: list[Transport] = []

    def reuse() -> None:
        number = old.transport.fd
        old.transport.close()
        os.dup2(spare[0].fileno(), number)
        successor = Transport(reactor, socket.socket(fileno=number))
        successor.ready = False
        successor.register()
        successors.append(successor)

    first.when_readable(reuse)
    first.far.send(b"x")  # reported first
    old.far.close()  # EPOLLHUP for the descriptor of `old`
    reactor.dispatch(1.0)
    (successor,) = successors
    assert not successor.ready and not successor.peer_closed and not successor.broken
    spare[1].send(b"y")
    reactor.dispatch(1.0)
    assert successor.ready and not successor.peer_closed
    first.close()
    successor.close()
    for sock in spare:
        sock.close()


def test_nor_the_next_owner_that_is_asyncio(loop: Loop) -> None:
    reactor, asyncio_loop = loop
    first, old, spare = Line(reactor), Line(reactor), socket.socketpair()
    called: list[str] = []
    number = old.transport.fd

    def reuse() -> None:
        old.transport.close()
        os.dup2(spare[0].fileno(), number)
        asyncio_loop.add_reader(number, called.append, "readable")

    def turn() -> None:
        asyncio_loop.call_soon(asyncio_loop.stop)
        asyncio_loop.run_forever()

    first.when_readable(reuse)
    first.far.send(b"x")
    old.far.close()
    turn()
    turn()
    assert called == []
    spare[1].send(b"y")
    turn()
    turn()
    assert called
    asyncio_loop.remove_reader(number)
    os.close(number)
    first.close()
    for sock in spare:
        sock.close()


def test_idle_connections_come_first(loop: Loop) -> None:
    reactor = loop[0]
    used, idle = Line(reactor), Line(reactor)
    order: list[str] = []
    used.when_readable(lambda: order.append("used"))
    idle.when_readable(lambda: order.append("idle"))
    idle.transport.idle = True
    reactor.idle = 1
    used.far.send(b"x")
    idle.far.send(b"x")
    reactor.dispatch(1.0)
    assert order == ["idle", "used"]
    used.close()
    idle.close()
