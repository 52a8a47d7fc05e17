"""A tunnel between a client and an upstream that speak anything: both directions, their ends, and their failures."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from tests.unit.balancing.ends import SocketOutcome, end_of, reset, wait, wait_for

from portico.balancing.tunnel import Tunnel
from portico.net.reactor import ClientFailed, ClientGone, Reactor, Timeout, UpstreamFailed


class Line:
    """A tunnel with a plain socket at each of its far ends."""

    def __init__(self, seconds: float = 10.0, unix: bool = False) -> None:
        self.reactor = Reactor()
        self.reports: list[BaseException] = []
        self.reactor.on_error = self.reports.append
        self.client, self.far_client = end_of(self.reactor, False, unix)
        self.upstream, self.far_upstream = end_of(self.reactor, True, unix)
        self.tunnel = Tunnel(self.client, self.upstream, seconds)

    def run(self, from_client: bytes = b"", from_upstream: bytes = b"") -> SocketOutcome:
        return SocketOutcome(self.reactor, self.tunnel.run(from_client, from_upstream))

    def passes(self, source: socket.socket, sink: socket.socket, data: bytes) -> None:
        source.sendall(data)
        self.arrives(sink, data)

    def arrives(self, sink: socket.socket, data: bytes) -> None:
        """`data` arrives; b"": the end of the stream."""
        got = b""
        sink.setblocking(False)

        def received() -> bool:
            nonlocal got
            try:
                piece = sink.recv(65536)
            except BlockingIOError:
                return False
            got += piece
            assert piece or not data, "the stream has ended"
            return got == data

        wait_for(self.reactor, received)
        sink.settimeout(5)

    def close(self) -> None:
        for end in (self.client, self.upstream, self.far_client, self.far_upstream):
            end.close()
        assert self.reports == []


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    yield made
    made.close()


def test_bytes_pass_both_ways_and_are_counted(line: Line) -> None:
    running = line.run()
    for word in (b"one", b"twice"):
        line.passes(line.far_client, line.far_upstream, word)
        line.passes(line.far_upstream, line.far_client, word[::-1] + b"!")
    assert not running.task.done
    assert (line.tunnel.from_client, line.tunnel.from_upstream) == (8, 10)


def test_what_was_received_already_comes_first(line: Line) -> None:
    line.far_client.sendall(b", then this")
    line.far_upstream.sendall(b", then that")
    line.run(b"this first", b"that first")
    line.arrives(line.far_upstream, b"this first, then this")
    line.arrives(line.far_client, b"that first, then that")


@pytest.mark.parametrize("first", ["client", "upstream"])
def test_one_side_ends_and_the_other_goes_on(line: Line, first: str) -> None:
    ends, goes_on = (line.far_client, line.far_upstream) if first == "client" else (line.far_upstream, line.far_client)
    running = line.run()
    ends.sendall(b"last words")
    ends.shutdown(socket.SHUT_WR)
    line.arrives(goes_on, b"last words")
    line.arrives(goes_on, b"")
    line.passes(goes_on, ends, b"one more thing")
    assert not running.task.done
    goes_on.shutdown(socket.SHUT_WR)
    line.arrives(ends, b"")
    assert running.wait().error is None
    assert not line.client.closed and not line.upstream.closed  # who closes them is the caller's matter


def test_who_reads_nothing_slows_the_other_down(line: Line) -> None:
    line.run()
    data = bytes(1 << 16)
    sent = 0
    line.far_client.setblocking(False)
    for _ in range(2000):  # 128 MB, if nothing stopped it
        try:
            sent += line.far_client.send(data)
        except BlockingIOError:
            before = line.tunnel.from_client
            wait(line.reactor, 0.05)
            if line.tunnel.from_client == before:
                break
    else:
        raise AssertionError("it is held in memory without a bound")
    line.passes(line.far_upstream, line.far_client, b"the other direction is not held up")
    received = 0

    def drained() -> bool:
        nonlocal received
        try:
            while received < sent:
                received += len(line.far_upstream.recv(1 << 20))
        except BlockingIOError:
            pass
        return received == sent

    line.far_upstream.setblocking(False)
    wait_for(line.reactor, drained)
    assert line.tunnel.from_client == sent


def test_a_tunnel_that_is_idle_for_too_long_ends() -> None:
    line = Line(0.2)
    running = line.run()
    for _ in range(4):  # one direction keeps both alive
        wait(line.reactor, 0.1)
        line.passes(line.far_upstream, line.far_client, b"tick")
    assert not running.task.done
    assert isinstance(running.wait().error, Timeout)
    line.close()


def test_a_blocked_side_is_idle_too() -> None:
    line = Line(0.2)
    running = line.run(bytes(32 << 20))
    assert isinstance(running.wait().error, Timeout)
    line.close()


def test_an_earlier_deadline_of_an_end_is_not_the_tunnels(line: Line) -> None:
    line.client.set_deadline(0.05)
    line.upstream.set_deadline(0.05)
    running = line.run()
    wait(line.reactor, 0.2)
    assert not running.task.done
    line.passes(line.far_client, line.far_upstream, b"alive")


@pytest.mark.parametrize(("side", "failure"), [("client", ClientFailed), ("upstream", UpstreamFailed)])
def test_the_failure_of_a_side_ends_the_tunnel(line: Line, side: str, failure: type[BaseException]) -> None:
    running = line.run()
    line.passes(line.far_client, line.far_upstream, b"so far so good")
    reset(line.far_client if side == "client" else line.far_upstream)
    assert type(running.wait().error) is failure


def test_an_upstream_that_fails_while_it_is_blocked_ends_the_tunnel(line: Line) -> None:
    running = line.run(bytes(32 << 20))
    wait(line.reactor, 0.05)
    assert not running.task.done
    reset(line.far_upstream)
    error = running.wait().error  # the kernel tells of a reset once: either direction may be the one that hears it
    assert error is None or type(error) is UpstreamFailed


def test_an_upstream_that_takes_no_more_may_still_speak() -> None:
    line = Line(unix=True)
    running = line.run()
    line.far_upstream.shutdown(socket.SHUT_RD)
    line.far_client.sendall(b"nobody reads this")
    wait_for(line.reactor, lambda: line.tunnel.from_client > 0)
    line.passes(line.far_upstream, line.far_client, b"but this is read")
    assert not running.task.done
    line.far_upstream.shutdown(socket.SHUT_WR)
    assert running.wait().error is None
    line.close()


def test_what_is_thrown_into_it_ends_both_directions(line: Line) -> None:
    running = line.run(bytes(32 << 20), bytes(32 << 20))
    wait(line.reactor, 0.05)
    assert line.client.writer is not None and line.upstream.writer is not None
    running.task.throw(ClientGone())
    assert running.task.done and isinstance(running.error, ClientGone)
    for end in (line.client, line.upstream):  # nobody is left that an event could resume
        assert end.reader is None and end.writer is None
    line.far_client.close()
    wait(line.reactor, 0.02)
