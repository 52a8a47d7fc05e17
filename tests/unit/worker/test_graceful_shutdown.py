"""A worker that ends gracefully closes what is idle, waits for what is not, and then stops its loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.worker.served import Logged, is_closed

from portico.net.reactor import NetworkSignal, Reactor
from portico.net.transport import Transport
from portico.worker.connection import ServedConnection
from portico.worker.graceful_shutdown import GracefulShutdown
from portico.worker.runtime import Runtime

QUIET = 0.2  # seconds for which a connection has been idle when it is closed


class Loop(asyncio.AbstractEventLoop):
    """A clock that the test moves, and what is to be called at which time."""

    def __init__(self) -> None:
        self.now = 100.0
        self.calls: list[tuple[float, Callable[[], object]]] = []
        self.stopped = False

    def time(self) -> float:
        return self.now

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        self.calls.append((self.now + delay, callback))

    def stop(self) -> None:
        self.stopped = True

    def pass_time(self, seconds: float) -> None:
        until = self.now + seconds
        while self.calls and self.calls[0][0] <= until:
            self.now, callback = self.calls.pop(0)
            callback()
        self.now = until


class Ending:
    """A worker with one client, told to end."""

    def __init__(self, folder: Path) -> None:
        self.loop = Loop()
        self.reactor = Reactor()
        self.runtime = Runtime(self.reactor, Logged(folder).log, 10, 0)
        near, self.client = socket.socketpair()
        near.setblocking(False)
        self.client.setblocking(False)
        self.connection = ServedConnection(self.runtime, Transport(self.reactor, near))
        self.connection.transport.register()
        self.connection.begin(self._serve())
        self.shutdown = GracefulShutdown(self.runtime, self.loop)

    async def _serve(self) -> None:
        try:
            await self.connection.transport.readable(60.0)
        except NetworkSignal:
            pass
        finally:
            self.connection.end()

    def idle(self, is_idle: bool) -> None:
        if is_idle:
            self.runtime.idle[self.connection] = None
        else:
            self.runtime.idle.pop(self.connection)

    def close(self) -> None:
        self.connection.abandon()
        self.client.close()
        self.reactor.epoll.close()


@pytest.fixture
def ending(tmp_path: Path) -> Iterator[Ending]:
    made = Ending(tmp_path)
    yield made
    made.close()


def test_an_idle_connection_is_closed_once_it_has_been_quiet(ending: Ending) -> None:
    ending.idle(True)
    ending.shutdown.begin()
    assert ending.runtime.draining  # every response is the last of its connection
    ending.loop.pass_time(QUIET - 0.05)
    assert not is_closed(ending.client) and not ending.loop.stopped
    ending.loop.pass_time(0.1)
    assert is_closed(ending.client) and ending.loop.stopped


def test_a_request_that_has_just_arrived_is_not_lost(ending: Ending) -> None:
    ending.idle(True)
    ending.shutdown.begin()
    ending.client.send(b"GET / HTTP/1.1\r\n")
    ending.loop.pass_time(1.0)
    assert not is_closed(ending.client) and not ending.loop.stopped


def test_the_time_of_quiet_starts_anew_after_a_request(ending: Ending) -> None:
    ending.idle(True)
    ending.shutdown.begin()
    ending.loop.pass_time(QUIET - 0.05)
    ending.idle(False)
    ending.loop.pass_time(0.03)
    ending.idle(True)
    ending.loop.pass_time(QUIET - 0.05)
    assert not is_closed(ending.client)
    ending.loop.pass_time(0.1)
    assert is_closed(ending.client)


def test_a_busy_connection_is_waited_for(ending: Ending) -> None:
    ending.shutdown.begin()
    ending.loop.pass_time(10.0)
    assert not is_closed(ending.client) and not ending.loop.stopped
    ending.connection.end()
    ending.loop.pass_time(0.05)
    assert ending.loop.stopped


def test_responses_that_are_still_read_for_the_cache_are_waited_for(ending: Ending) -> None:
    ending.connection.end()
    ending.runtime.background = 1
    ending.shutdown.begin()
    ending.loop.pass_time(1.0)
    assert not ending.loop.stopped
    ending.runtime.background = 0
    ending.loop.pass_time(0.05)
    assert ending.loop.stopped
