"""A worker's life with connections that are not HTTP: it serves, drains, and ends."""

from __future__ import annotations

import asyncio
import gc
import select
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.processes import exempt_from_collections
from tests.unit.worker.served import WAIT, Echo, Logged, is_closed, line

from portico.features.stub_status import Board, BoardHook, BoardLogger
from portico.http.service import LoggersHook
from portico.net.acceptor import Acceptor
from portico.worker.hook import WorkerHook
from portico.worker.worker import Worker
from portico.zones.owner import own_identity
from portico.zones.table import SharedTable

QUIET = 0.2  # seconds after which a connection that idles may be closed


class Script:
    """A worker, and what happens while it runs."""

    def __init__(self, folder: Path, hooks: list[WorkerHook]) -> None:
        self.logged = Logged(folder)
        self.worker = Worker(hooks, self.logged.log, 100, 0)
        self.runtime = self.worker.runtime
        self.failures: list[BaseException] = []
        self._events: list[tuple[float, Callable[[], object]]] = []

    def at(self, seconds: float, happens: Callable[[], object]) -> None:
        """Call `happens` so many seconds after the start."""
        self._events.append((seconds, happens))

    def when(self, condition: Callable[[], object], happens: Callable[[], object]) -> None:
        """Call `happens` once `condition` is true."""

        def look() -> None:
            if condition():
                happens()
            else:
                self.worker.loop.call_later(0.01, self._happens, look)

        self.at(0.0, look)

    def _happens(self, happens: Callable[[], object]) -> None:
        try:
            happens()
        except BaseException as failure:
            self.failures.append(failure)
            self.worker.terminate()

    def run(self, most: float = 5.0) -> float:
        """Run the worker until it ends by itself; return how long that took."""
        self.at(most, self._too_long)
        self.worker.start()
        began = time.monotonic()
        for seconds, happens in self._events:
            self.worker.loop.call_later(seconds, self._happens, happens)
        self.worker.run()
        if self.failures:
            raise self.failures[0]
        return time.monotonic() - began

    def _too_long(self) -> None:
        raise AssertionError("it does not end")

    def line(self) -> tuple[Echo, socket.socket]:
        return line(self.runtime)


@pytest.fixture
def scripts(tmp_path: Path) -> Iterator[Callable[..., Script]]:
    """Makes scripts, and undoes what a worker does to its process."""
    made: list[Script] = []
    thresholds = gc.get_threshold()

    def make(*hooks: WorkerHook) -> Script:
        made.append(Script(tmp_path, list(hooks)))
        return made[-1]

    yield make
    exempt_from_collections()
    gc.set_threshold(*thresholds)
    for script in made:
        script.worker.loop.close()
    asyncio.set_event_loop(None)


@pytest.fixture
def script(scripts: Callable[..., Script]) -> Script:
    return scripts()


def test_with_nothing_to_do_it_ends_at_once(script: Script) -> None:
    script.at(0.0, lambda: script.worker.quit(0.0))
    script.run()
    assert script.runtime.draining


def test_what_is_in_flight_is_finished(script: Script) -> None:
    echo, far = script.line()

    def quit_and_release() -> None:
        assert echo.may_go_on is not None
        script.worker.quit(0.0)
        script.worker.loop.call_later(2 * QUIET, echo.may_go_on.set_result, None)

    far.send(WAIT)
    script.when(lambda: echo.may_go_on, quit_and_release)
    assert script.run() >= 2 * QUIET
    assert far.recv(99) == WAIT * 2 and far.recv(1) == b""


def test_an_idle_connection_is_closed_when_it_has_been_quiet(script: Script) -> None:
    _, far = script.line()
    script.at(0.0, lambda: script.worker.quit(0.0))
    assert script.run() >= QUIET and is_closed(far)


def test_a_request_that_was_on_its_way_is_served_and_is_the_last(script: Script) -> None:
    _, far = script.line()

    def quit_and_send() -> None:
        script.worker.quit(0.0)
        far.send(b"request")

    script.at(0.0, quit_and_send)
    script.run()
    assert far.recv(99) == b"requestrequest" and far.recv(1) == b""


def test_what_nobody_waits_for_is_finished_too(script: Script) -> None:
    """A response that the cache wants, and whose client has left."""
    script.runtime.background = 1

    def finish() -> None:
        script.runtime.background = 0

    script.at(0.0, lambda: script.worker.quit(0.0))
    script.at(0.3, finish)
    assert script.run() >= 0.3


def test_after_the_time_limit_it_ends_whatever_there_is(script: Script) -> None:
    echo, far = script.line()
    far.send(WAIT)
    script.when(lambda: echo.may_go_on, lambda: script.worker.quit(0.1))
    assert script.run() >= 0.1
    assert is_closed(far) and script.runtime.connections == {}


def test_terminated_it_closes_everything_at_once(script: Script) -> None:
    lines = [script.line() for _ in range(3)]
    lines[0][1].send(WAIT)

    def terminate() -> None:
        script.worker.terminate()
        assert all(is_closed(far) for _, far in lines)

    script.when(lambda: lines[0][0].may_go_on, terminate)
    script.run()


def test_it_listens_until_it_drains(script: Script) -> None:
    runtime = script.runtime
    accepted: list[Echo] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        script.worker.listening.append(
            Acceptor(runtime.reactor, listening, runtime.shortage, lambda sock, _: accepted.append(Echo(runtime, sock)), False)
        )
        clients = [socket.socket(), socket.socket()]

        def quit_and_connect() -> None:
            script.worker.quit(0.0)
            clients[1].connect(listening.getsockname())

        script.at(0.0, lambda: clients[0].connect(listening.getsockname()))
        script.when(lambda: accepted, quit_and_connect)
        script.run()
        assert len(accepted) == 1 and runtime.reactor.owned == {}
        assert listening.accept()[0]  # it is for another worker, which has the socket as well
        for client in clients:
            client.close()


def test_hooks_start_with_it_are_called_each_second_and_stop(scripts: Callable[..., Script]) -> None:
    """Seen by those of `stub_status`: a row that is taken, written and given back."""
    board = Board()
    board.table = table = SharedTable(1024, 6)
    script = scripts(LoggersHook([BoardLogger(board)]), BoardHook(board))
    owner_and_active = [0, 3]
    seen: list[list[int]] = []

    def look() -> None:
        seen.append([table.get(1, column) for column in owner_and_active])

    lines: list[tuple[Echo, socket.socket]] = []
    script.at(0.1, lambda: lines.append(script.line()))
    script.at(0.2, look)
    script.at(1.2, look)
    script.at(1.3, script.worker.terminate)
    script.run()
    look()
    assert seen == [[own_identity(), 0], [own_identity(), 1], [0, 0]]


def test_an_exception_that_nobody_expects_is_one_line_and_serving_goes_on(script: Script) -> None:
    async def fail() -> None:
        raise ValueError("of a defect")

    _, far = script.line()
    def fail_and_send() -> None:
        script.runtime.reactor.spawn(fail())
        far.send(b"request")

    script.at(0.0, fail_and_send)
    script.when(lambda: far in select.select([far], [], [], 0)[0], lambda: script.worker.quit(0.0))
    script.run()
    (told,) = [told for told in script.logged.lines() if "internal error" in told]
    assert told.startswith("[alert] internal error: ValueError: of a defect at test_worker.py:")
    assert far.recv(99) == b"requestrequest"
