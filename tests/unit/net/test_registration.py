"""A connection that is used before it is registered with epoll: no event is lost, and one that never waits needs none."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from portico.net.reactor import Reactor
from portico.net.transport import Transport


@pytest.fixture
def reactor() -> Iterator[Reactor]:
    made = Reactor()
    yield made
    made.epoll.close()


def owned(reactor: Reactor) -> tuple[Transport, socket.socket]:
    near, far = socket.socketpair()
    near.setblocking(False)
    transport = Transport(reactor, near)
    reactor.own(transport)
    return transport, far


def test_it_counts_as_a_connection_from_the_start(reactor: Reactor) -> None:
    reactor.room.set_limit(1, "")
    transport, far = owned(reactor)
    assert not reactor.room.make()
    transport.close()
    assert reactor.room.make() and far.recv(1) == b""
    far.close()


def test_closed_before_it_is_registered_it_stays_so(reactor: Reactor) -> None:
    transport, far = owned(reactor)
    transport.close()
    transport.register()
    assert not transport.registered and reactor.owned == {}
    far.close()


def test_what_came_between_the_read_and_the_registration_is_reported(reactor: Reactor) -> None:
    transport, far = owned(reactor)
    got: list[bytes | None] = []

    async def read() -> None:
        got.append(transport.recv(9))
        await transport.readable(5.0)
        got.append(transport.recv(9))

    reactor.spawn(read())
    far.send(b"late")
    transport.register()
    reactor.dispatch(1.0)
    assert got == [None, b"late"]
    transport.close()
    far.close()


def test_a_peer_that_left_in_between_is_reported(reactor: Reactor) -> None:
    transport, far = owned(reactor)
    far.close()
    transport.register()
    reactor.dispatch(1.0)
    assert transport.peer_closed
    transport.close()


def test_who_waits_for_room_is_resumed_too(reactor: Reactor) -> None:
    transport, far = owned(reactor)
    sent: list[int] = []

    async def write() -> None:
        while transport.send(b"x" * 65536):
            pass
        await transport.writable(5.0)
        sent.append(transport.send(b"y"))

    reactor.spawn(write())
    transport.register()
    far.setblocking(False)
    while not sent:
        far.recv(1 << 20)
        reactor.dispatch(1.0)
    assert sent == [1]
    transport.close()
    far.close()


def test_a_successor_takes_over_what_it_was(reactor: Reactor) -> None:
    """TLS begins with bytes that are here already, so before anything has been waited for."""
    for registered in (False, True):
        plain, far = owned(reactor)
        if registered:
            plain.register()
        successor = Transport(reactor, plain.sock)
        plain.give_way(successor)
        assert successor.registered == registered
        if not registered:
            successor.register()
        successor.ready = False
        far.send(b"x")
        reactor.dispatch(1.0)
        assert successor.ready
        successor.close()
        far.close()


@pytest.mark.parametrize("registered", [True, False])
def test_it_can_be_given_up_open(reactor: Reactor, registered: bool) -> None:
    transport, far = owned(reactor)
    if registered:
        transport.register()
    sock = transport.detach()
    far.send(b"x")
    assert sock.recv(1) == b"x" and reactor.owned == {} and reactor.dispatch(0.0) == []
    sock.close()
    far.close()
