"""The body of a response on its way from an upstream in memory to a client in memory: buffers, ends, copies."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.net.memory_transport import MemoryTransport
from tests.unit.passing.memory_upstream import MemoryOutcome, MemoryUpstreams

import portico.passing.body
from portico.http.errors import BodyCutShort
from portico.net.reactor import UpstreamFailed
from portico.passing.body import UpstreamBody
from portico.passing.hook import Sink

COMPILED = str(portico.passing.body.__file__).endswith(".so")
pytestmark = pytest.mark.skipif(COMPILED, reason="an interpreted class cannot inherit from a compiled one")

LENGTH_10 = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSE = b"HTTP/1.1 200 OK\r\n\r\n"


@pytest.fixture
def house(tmp_path: Path) -> Iterator[MemoryUpstreams]:
    made = MemoryUpstreams(tmp_path)
    yield made
    assert all(peer.connections == 0 for peer in made.group.balancer.peers)
    made.close()


class Copy(Sink):
    """A copy of the body, and how it ended."""

    def __init__(self, wanted: bool = True) -> None:
        self.content = b""
        self.end = ""
        self.wanted = wanted

    def write(self, data: bytes) -> None:
        assert not self.end
        self.content += data

    def finish(self) -> None:
        assert not self.end
        self.end = "finished"

    def abort(self) -> None:
        assert not self.end
        self.end = "aborted"

    def is_wanted(self) -> bool:
        return self.wanted


class Received:
    """A response whose header section is here, and its body."""

    def __init__(self, house: MemoryUpstreams, section: bytes, length: int = -1, buffered: bool = True) -> None:
        self.connection: MemoryTransport = house.connection()
        self.exchange = house.exchange(house.asked())
        outcome = house.run(self.exchange)
        self.connection.receive(section)
        assert outcome.done and outcome.error is None
        attempts = self.exchange.request.attempts()
        assert attempts
        self.attempt = attempts[-1]
        self.body = UpstreamBody(self.exchange, self.exchange.request, self.attempt, length, buffered)


# -- framing, and what becomes of the connection --------------------------------------------------------------------------


def test_a_length(house: MemoryUpstreams) -> None:
    got = Received(house, LENGTH_10 + b"hel", 10)
    assert got.body.take() == b"hel" and got.body.take() is None
    got.connection.receive(b"lo", b" you!")
    assert [got.body.take(), got.body.take(), got.body.take()] == [b"lo", b" you!", b""]
    assert got.connection.idle and got.attempt.length == 10


def test_chunks(house: MemoryUpstreams) -> None:
    got = Received(house, CHUNKED + b"5\r\nhel")
    assert got.body.take() == b"hel" and got.body.take() is None
    got.connection.receive(b"lo\r\n0\r\n\r\n")
    assert [got.body.take(), got.body.take()] == [b"lo", b""]
    assert got.connection.idle and got.attempt.length == 5


def test_the_end_of_the_connection(house: MemoryUpstreams) -> None:
    got = Received(house, UNTIL_CLOSE + b"hello")
    assert got.body.take() == b"hello" and got.body.take() is None
    got.connection.receive(b"")
    assert got.body.take() == b"" and got.connection.closed


def test_more_than_the_response(house: MemoryUpstreams) -> None:
    got = Received(house, LENGTH_10, 10)
    got.connection.receive(b"hello you!HTTP/1.1")
    assert [got.body.take(), got.body.take()] == [b"hello you!", b""]
    assert got.connection.closed


# (header section, length, what comes then, words in the error log)
TRUNCATED: list[tuple[bytes, int, bytes | UpstreamFailed, str]] = [
    (LENGTH_10 + b"hello", 10, b"", "upstream prematurely closed connection while reading upstream"),
    (CHUNKED + b"5\r\nhello", -1, b"", "upstream prematurely closed connection while reading upstream"),
    (CHUNKED + b"5\r\nhello", -1, b"?\r\n", "upstream sent invalid chunked response"),
    (LENGTH_10 + b"hello", 10, UpstreamFailed(errno.ECONNRESET, "reset"), "recv() failed (104: reset) while reading upstream"),
]


@pytest.mark.parametrize(("section", "length", "then", "words"), TRUNCATED)
def test_truncated(house: MemoryUpstreams, section: bytes, length: int, then: bytes | UpstreamFailed, words: str) -> None:
    """What came is sent before the client learns of it."""
    got = Received(house, section, length)
    copy = got.body.sink = Copy()
    assert got.body.take() == b"hello"
    got.connection.receive(then)
    assert got.body.take() is None
    with pytest.raises(BodyCutShort):
        got.body.take()
    assert words in house.log() and got.connection.closed and copy.end == "aborted"


def test_an_upstream_that_sends_no_more(house: MemoryUpstreams) -> None:
    got = Received(house, LENGTH_10 + b"hello", 10)
    got.body.take()
    waiting = MemoryOutcome(house.reactor, got.body.wait())
    house.pass_time(61.0)
    assert isinstance(waiting.error, BodyCutShort) and got.connection.closed
    assert "upstream timed out (110: Connection timed out) while reading upstream" in house.log()


# -- buffers ---------------------------------------------------------------------------------------------------------------


def test_the_upstream_is_free_however_slow_the_client_is(house: MemoryUpstreams) -> None:
    house.settings.memory = 100
    got = Received(house, LENGTH_10, 10)
    absorbing = MemoryOutcome(house.reactor, got.body.absorb(house.client_stream, 60.0))
    got.connection.receive(b"hello", b" you!")
    absorbing.turn()
    assert got.connection.idle and not absorbing.done  # it waits for the client alone
    house.client_stream.bring()  # it takes more
    assert absorbing.done
    assert [got.body.take(), got.body.take(), got.body.take()] == [b"hello", b" you!", b""]


def test_memory_then_a_file_then_the_upstream_waits(house: MemoryUpstreams) -> None:
    house.settings.memory = 4
    house.settings.max_temp_file_size = 4
    got = Received(house, LENGTH_10, 10)
    absorbing = MemoryOutcome(house.reactor, got.body.absorb(house.client_stream, 60.0))
    got.connection.receive(b"0123")
    absorbing.turn()
    assert got.body.queued == 4 and got.body.file < 0
    got.connection.receive(b"4567")
    absorbing.turn()
    assert got.body.file >= 0
    got.connection.receive(b"89")
    absorbing.turn()
    assert got.connection.incoming == [b"89"]  # there is no room
    house.client_stream.bring()
    assert absorbing.done
    assert [got.body.take() for _ in range(4)] == [b"0123", b"4567", b"89", b""]
    got.body.close()
    assert got.body.file < 0 and got.connection.idle


def test_without_buffering_the_upstream_waits_for_the_client(house: MemoryUpstreams) -> None:
    got = Received(house, LENGTH_10, 10, buffered=False)
    absorbing = MemoryOutcome(house.reactor, got.body.absorb(house.client_stream, 60.0))
    got.connection.receive(b"hello")
    assert not absorbing.done and got.connection.incoming == [b"hello"]
    house.client_stream.bring()
    assert absorbing.done and got.body.take() == b"hello"
    got.body.close()
    assert got.connection.closed


def test_what_is_copied_waits_for_no_client(house: MemoryUpstreams) -> None:
    """nginx: what a cache gets is not bounded by `proxy_max_temp_file_size`."""
    house.settings.memory = 1
    house.settings.max_temp_file_size = 1
    got = Received(house, LENGTH_10, 10)
    copy = got.body.sink = Copy()
    absorbing = MemoryOutcome(house.reactor, got.body.absorb(house.client_stream, 60.0))
    got.connection.receive(b"01", b"23", b"456789")
    absorbing.turn()
    assert copy.content == b"0123456789" and copy.end == "finished" and got.connection.idle
    house.client_stream.bring()
    assert b"".join(piece or b"" for piece in (got.body.take() for _ in range(5))) == b"0123456789"
    got.body.close()


# -- a client that leaves --------------------------------------------------------------------------------------------------


def test_the_rest_is_read_for_the_copy(house: MemoryUpstreams) -> None:
    got = Received(house, LENGTH_10 + b"hello", 10)
    copy = got.body.sink = Copy()
    got.body.take()
    got.body.close()
    assert not copy.end
    got.connection.receive(b" you!")
    house.reactor.dispatch(0.0)
    assert copy.content == b"hello you!" and copy.end == "finished" and got.connection.idle


def test_or_not_where_nobody_wants_it(house: MemoryUpstreams) -> None:
    got = Received(house, LENGTH_10 + b"hello", 10)
    copy = got.body.sink = Copy(wanted=False)
    got.body.take()
    got.body.close()
    assert copy.end == "aborted" and got.connection.closed


def test_only_long_bodies_of_known_length_are_spliced(house: MemoryUpstreams) -> None:
    section = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
    got = Received(house, section, 100_000)
    assert got.body.can_splice()
    got.connection.receive(b"x" * 50_000)
    got.body.take()
    assert not got.body.can_splice()
    got.body.close()
    behind = Received(house, section + b"x", 100_000)
    assert not behind.body.can_splice()  # what came with the header section is sent first
    behind.body.take()
    assert behind.body.can_splice()
    behind.body.close()
    chunks = Received(house, CHUNKED)
    assert not chunks.body.can_splice()
    chunks.body.close()
