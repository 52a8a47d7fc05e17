"""The pool: which connection an upstream request gets, which are kept for the next one, and what a connection decides itself."""

from __future__ import annotations

import select
import socket
from collections.abc import Iterator

import pytest
from tests.processes import wait_until
from tests.unit.balancing.ends import end_of, reset, wait, wait_for

from portico.balancing.local import local_address
from portico.balancing.peer import Peer
from portico.balancing.pool import PeerConnection, Pool
from portico.balancing.tls import PeerTLSSettings, UpstreamTLS
from portico.net.reactor import Reactor

ONE, TWO = (Peer(name, socket.AF_UNIX, "unused") for name in (b"one", b"two"))


class House:
    """A pool and connections for it, each in use by the request that it was made for."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        self.far: list[socket.socket] = []
        self.all: list[PeerConnection] = []

    def connection(self, peer: Peer = ONE, tls: UpstreamTLS | None = None, tls_name: bytes = b"") -> PeerConnection:
        transport, far = end_of(self.reactor)
        transport.ready = False
        self.far.append(far)
        self.all.append(PeerConnection(transport, peer, tls, tls_name))
        return self.all[-1]

    def is_open(self, connection: PeerConnection) -> bool:
        return not connection.transport.closed


@pytest.fixture
def house() -> Iterator[House]:
    made = House()
    yield made
    for connection in made.all:
        connection.close()
    for far in made.far:
        far.close()
    assert len(made.reactor.owned) == 0 and made.reactor.idle == 0


def a_pool(most: int = 8, timeout: float = 60.0, requests: int = 1000, time: float = 3600.0) -> Pool:
    return Pool(most, timeout, requests, time)


# -- who gets which -----------------------------------------------------------------------------------------------------


def test_a_connection_is_of_the_address_that_it_comes_from(house: House) -> None:
    pool = a_pool()
    here, there = local_address("127.0.0.2", False), local_address("127.0.0.3", False)
    connection = house.connection()
    connection.local = here
    pool.release(connection)
    for other in (None, there, local_address("127.0.0.2", True)):
        assert pool.acquire(ONE, None, b"", other) is None
    assert pool.acquire(ONE, None, b"", local_address("127.0.0.2", False)) is connection
    connection.local = None
    pool.release(connection)
    assert pool.acquire(ONE, None, b"", here) is None
    assert pool.acquire(ONE, None, b"") is connection


def test_a_connection_serves_one_request_after_the_other(house: House) -> None:
    pool = a_pool()
    assert pool.acquire(ONE, None, b"") is None
    connection = house.connection()
    pool.release(connection)
    assert house.reactor.idle == 1
    assert pool.acquire(ONE, None, b"") is connection
    assert house.reactor.idle == 0
    assert pool.acquire(ONE, None, b"") is None  # it is in use
    pool.release(connection)
    assert pool.acquire(ONE, None, b"") is connection
    assert connection.requests == 3


def test_the_most_recently_used_comes_first(house: House) -> None:
    pool = a_pool()
    first, second = house.connection(), house.connection()
    pool.release(first)
    pool.release(second)
    assert pool.acquire(ONE, None, b"") is second
    assert pool.acquire(ONE, None, b"") is first


def test_peers_do_not_share_connections(house: House) -> None:
    pool = a_pool()
    connection = house.connection(ONE)
    pool.release(connection)
    assert pool.acquire(TWO, None, b"") is None
    assert pool.acquire(ONE, None, b"") is connection


def test_connections_with_other_tls_or_another_name_are_passed_over(house: House) -> None:
    pool = a_pool()
    tls, other = UpstreamTLS(PeerTLSSettings()), UpstreamTLS(PeerTLSSettings())
    named = house.connection(ONE, tls, b"a.test")
    renamed = house.connection(ONE, tls, b"b.test")
    plain = house.connection(ONE)
    for connection in (named, renamed, plain):
        pool.release(connection)
    assert pool.acquire(ONE, other, b"a.test") is None
    assert pool.acquire(ONE, tls, b"c.test") is None
    assert pool.acquire(ONE, tls, b"a.test") is named
    assert pool.acquire(ONE, None, b"of no interest without TLS") is plain
    assert pool.acquire(ONE, None, b"") is None
    assert pool.acquire(ONE, tls, b"b.test") is renamed


def test_a_pool_forgets_peers_without_connections(house: House) -> None:
    """Peers leave: a name gets other addresses, or a `proxy_pass` with variables resolves another one."""
    pool = a_pool(most=2)
    for number in range(20):
        peer = Peer(b"%d" % number, socket.AF_UNIX, "unused")
        pool.release(house.connection(peer))
        acquired = pool.acquire(peer, None, b"")
        assert acquired is not None
        acquired.close()
    assert len(pool._by_peer) <= 2 * pool.most + 1


# -- several requests at once ---------------------------------------------------------------------------------------------


def test_a_connection_that_multiplexes_is_handed_out_as_often_as_it_can_carry(house: House) -> None:
    pool = a_pool()
    connection = house.connection()
    connection.concurrency = 3
    pool.release(connection)
    assert [pool.acquire(ONE, None, b"") for _ in range(4)] == [connection, connection, connection, None]
    assert connection.active == 3 and not connection.is_available()
    pool.release(connection)
    assert house.reactor.idle == 0  # two requests are still on it
    assert pool.acquire(ONE, None, b"") is connection
    assert pool.acquire(ONE, None, b"") is None
    for _ in range(3):
        pool.release(connection)
    assert house.reactor.idle == 1 and connection.active == 0
    assert pool.acquire(ONE, None, b"") is connection


def test_it_is_not_closed_under_the_requests_that_it_carries(house: House) -> None:
    pool = a_pool(requests=4)
    connection = house.connection()
    connection.concurrency = 3
    pool.release(connection)
    for _ in range(3):
        pool.acquire(ONE, None, b"")
    house.far[0].send(b"for one of them")
    pool.release(connection)
    pool.release(connection)
    wait(house.reactor, 0.02)
    assert house.is_open(connection) and pool.close_idle(9) == 0
    assert pool.acquire_checked(ONE, None, b"") is connection  # what is there to read is another request's
    pool.release(connection)
    pool.release(connection)
    assert not house.is_open(connection)  # nobody is left, and it has served enough
    assert pool.acquire(ONE, None, b"") is None


def test_one_that_fails_while_it_could_carry_more_leaves_the_pool(house: House) -> None:
    pool = a_pool()
    connection = house.connection()
    connection.concurrency = 2
    pool.release(connection)
    assert pool.acquire(ONE, None, b"") is connection
    connection.close()
    assert pool.acquire(ONE, None, b"") is None


# -- which are kept -------------------------------------------------------------------------------------------------------


def test_the_longest_idle_is_closed_when_there_are_too_many(house: House) -> None:
    pool = a_pool(most=2)
    first, second, third = (house.connection(ONE), house.connection(TWO), house.connection(ONE))
    for connection in (first, second, third):
        pool.release(connection)
    assert [house.is_open(each) for each in (first, second, third)] == [False, True, True]
    assert pool.acquire(ONE, None, b"") is third
    assert pool.acquire(ONE, None, b"") is None


def test_none_are_kept_where_none_may_be_idle(house: House) -> None:
    pool = a_pool(most=0)
    connection = house.connection()
    pool.release(connection)
    assert not house.is_open(connection)


def test_after_its_last_request_it_is_closed(house: House) -> None:
    pool = a_pool(requests=2)
    connection = house.connection()
    pool.release(connection)
    assert pool.acquire(ONE, None, b"") is connection
    pool.release(connection)
    assert not house.is_open(connection)


def test_an_old_one_is_closed(house: House) -> None:
    pool = a_pool(time=100.0)
    connection = house.connection()
    house.reactor.now += 99.9
    pool.release(connection)
    assert pool.acquire(ONE, None, b"") is connection
    house.reactor.now += 0.2
    pool.release(connection)
    assert not house.is_open(connection)


def test_one_that_received_more_than_the_response_is_closed(house: House) -> None:
    pool = a_pool()
    connection = house.connection()
    house.far[0].send(b"HTTP/1.1 200")
    wait_for(house.reactor, lambda: connection.transport.ready)
    pool.release(connection)
    assert not house.is_open(connection)


def test_one_that_its_peer_has_closed_is_closed(house: House) -> None:
    pool = a_pool()
    connection = house.connection()
    house.far[0].close()
    wait_for(house.reactor, lambda: connection.transport.peer_closed)
    pool.release(connection)
    assert not house.is_open(connection)


# -- while it is idle -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["closed", "reset", "unasked"])
def test_an_idle_one_leaves_the_pool_when_anything_happens(house: House, how: str) -> None:
    pool = a_pool()
    connection = house.connection()
    pool.release(connection)
    if how == "closed":
        house.far[0].close()
    elif how == "reset":
        reset(house.far[0])
    else:
        house.far[0].send(b"HTTP/1.1 408 Request Timeout\r\n")
    wait_for(house.reactor, lambda: connection.transport.closed)
    assert pool.acquire(ONE, None, b"") is None


def test_an_idle_one_is_closed_after_a_while(house: House) -> None:
    pool = a_pool(timeout=0.1)
    connection, used = house.connection(), house.connection()
    pool.release(used)
    assert pool.acquire(ONE, None, b"") is used
    pool.release(connection)
    wait_for(house.reactor, lambda: connection.transport.closed)
    wait(house.reactor, 0.1)
    assert house.is_open(used)  # its deadline went with its idleness
    assert pool.acquire(ONE, None, b"") is None


@pytest.mark.parametrize("how", ["reset", "closed", "unasked"])
def test_what_cannot_be_sent_twice_looks_at_its_connection_first(house: House, how: str) -> None:
    """The events of an idle connection are still to be told."""
    pool = a_pool()
    connection = house.connection()
    pool.release(connection)
    far = house.far[0]
    if how == "reset":
        reset(far)
    elif how == "unasked":
        far.send(b"HTTP/1.1 200 OK\r\n")
    else:
        far.close()
    near = connection.transport.sock
    wait_until(lambda: select.select([near], [], [], 0)[0], what="the kernel's knowledge of it")
    assert pool.acquire_checked(ONE, None, b"") is None
    assert not house.is_open(connection) and house.reactor.idle == 0


def test_a_look_finds_the_next_one_that_lives(house: House) -> None:
    pool = a_pool()
    alive, dead = house.connection(), house.connection()
    pool.release(alive)
    pool.release(dead)
    house.far[1].close()
    wait_until(lambda: select.select([dead.transport.sock], [], [], 0)[0], what="the kernel's knowledge of it")
    assert pool.acquire_checked(ONE, None, b"") is alive


def test_the_longest_idle_make_room(house: House) -> None:
    pool = a_pool()
    connections = [house.connection() for _ in range(3)]
    for connection in connections:
        pool.release(connection)
    assert pool.close_idle(2) == 2
    assert [house.is_open(each) for each in connections] == [False, False, True]
    assert house.reactor.room.free_some()  # which asks the pool
    assert not house.is_open(connections[2])


def test_a_pool_that_is_closed_keeps_nothing(house: House) -> None:
    pool = a_pool()
    idle, used = house.connection(), house.connection()
    pool.release(idle)
    pool.close()
    assert not house.is_open(idle) and house.is_open(used)
    pool.release(used)
    assert not house.is_open(used)
    assert not house.reactor.room.free_some()  # nor does anybody ask it for room
