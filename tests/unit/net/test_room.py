"""What gives way when connections become few, in which order, and what is refused."""

from __future__ import annotations

import os
import socket

import pytest

from portico.balancing.connect import NoConnection, connect
from portico.balancing.peer import Peer
from portico.balancing.pool import PeerConnection, Pool
from portico.net.pipe import PipePool
from portico.net.reactor import Reactor
from portico.net.room import Spare
from portico.net.transport import Transport


def connected(reactor: Reactor) -> tuple[Transport, socket.socket]:
    near, far = socket.socketpair()
    near.setblocking(False)
    transport = Transport(reactor, near, True)
    transport.register()
    transport.ready = False
    return transport, far


def test_the_longest_idle_gives_way_before_the_limit_is_reached() -> None:
    reactor = Reactor()
    reactor.room.set_limit(32, "32 worker_connections")
    told: list[bool] = []
    reactor.room.complain = told.append
    pool = Pool(64, 60.0, 1000, 3600.0)
    peer = Peer(b"p", socket.AF_UNIX, "p")
    far = []
    for _ in range(29):
        assert reactor.room.make()
        transport, end = connected(reactor)
        far.append(end)
        pool.release(PeerConnection(transport, peer, None, b""))
    assert told == []  # 29 of 32: two are kept free
    assert reactor.room.make() and reactor.room.make()
    transport, end = connected(reactor)
    far.append(end)
    assert reactor.room.make() and told == [False]
    assert far[0].recv(1) == b"" and len(reactor.owned) == 29
    pool.close()
    transport.close()
    assert len(reactor.owned) == 0
    for end in far:
        end.close()


def test_nobody_idle_means_no_room() -> None:
    reactor = Reactor()
    reactor.room.set_limit(4, "4 worker_connections")
    told: list[bool] = []
    reactor.room.complain = told.append
    lines = [connected(reactor) for _ in range(4)]
    assert not reactor.room.make()
    assert told == [True]
    failures: list[str] = []

    async def work() -> None:
        try:
            await connect(reactor, Peer(b"p", socket.AF_UNIX, "/nowhere"), None, b"", 1.0)
        except NoConnection as none:
            failures.append(none.reason)

    reactor.spawn(work())
    assert failures == ["4 worker_connections are not enough"]
    for transport, far in lines:
        transport.close()
        far.close()


def test_pipes_give_way_to_files_not_to_connections() -> None:
    """An idle pipe is no connection: closing it makes no room for one, and idle connections to upstreams are still there to close."""
    reactor = Reactor()
    reactor.room.set_limit(16, "16 worker_connections")
    told: list[bool] = []
    reactor.room.complain = told.append
    pipes = [reactor.pipes.acquire() for _ in range(8)]
    for pipe in pipes:
        assert pipe is not None
        reactor.pipes.release(pipe)
    pool = Pool(64, 60.0, 1000, 3600.0)
    peer = Peer(b"p", socket.AF_UNIX, "p")
    lines = [connected(reactor) for _ in range(16)]
    for transport, _ in lines[:4]:
        pool.release(PeerConnection(transport, peer, None, b""))
    assert reactor.room.make()
    assert told == [False] and len(reactor.owned) < 16
    assert reactor.pipes.close_idle(99) == 8
    pool.close()
    for transport, far in lines:
        transport.close()
        far.close()


def test_nobody_is_told_of_what_was_not_done() -> None:
    reactor = Reactor()
    reactor.room.set_limit(32, "32 worker_connections")
    told: list[bool] = []
    reactor.room.complain = told.append
    lines = [connected(reactor) for _ in range(31)]  # few are free, and none is idle
    assert reactor.room.make()
    assert told == []
    for transport, far in lines:
        transport.close()
        far.close()


def test_pipes_are_bounded_and_give_way() -> None:
    pool = PipePool(3)
    pipes = [pool.acquire() for _ in range(3)]
    assert all(pipe is not None for pipe in pipes)
    assert pool.acquire() is None
    first = pipes[0]
    assert first is not None
    pool.release(first)
    assert pool.acquire() is first
    for pipe in pipes:
        assert pipe is not None
        pool.release(pipe)
    assert pool.close_idle(2) == 2
    assert pool.close_idle(2) == 1
    with pytest.raises(OSError):
        os.fstat(first.read_end)


def test_a_client_is_refused_with_the_spare_descriptor() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_connection(listening.getsockname()) as client:
        client.settimeout(5)
        spare = Spare()
        assert spare.refuse(listening)
        assert client.recv(1) == b""
        spare.close()
