"""How many connections a worker may have, and who gives way when there are as many."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.processes import open_descriptors
from tests.unit.worker.served import WAIT, Logged, is_closed, line

from portico.net.reactor import Reactor
from portico.worker.connection_limit import limit_connections
from portico.worker.runtime import Runtime


@pytest.fixture
def logged(tmp_path: Path) -> Logged:
    return Logged(tmp_path)


@pytest.fixture
def files() -> Iterator[int]:
    """How many files this process may open: few."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    few = open_descriptors() + 200
    resource.setrlimit(resource.RLIMIT_NOFILE, (few, before[1]))
    yield few
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def made(logged: Logged, worker_connections: int) -> Runtime:
    return Runtime(Reactor(), logged.log, worker_connections, 0)


def end(runtime: Runtime) -> None:
    runtime.stop()
    runtime.close()
    runtime.reactor.epoll.close()


def test_worker_connections_besides_the_listening_sockets(logged: Logged) -> None:
    runtime = made(logged, 20)
    limit_connections(runtime, 3)
    assert runtime.reactor.room.limit == 23 and runtime.reactor.room.reason == "20 worker_connections"
    assert logged.lines() == []
    end(runtime)


def test_fewer_where_the_process_may_not_open_so_many_files(logged: Logged, files: int) -> None:
    """An eighth of them stays for files, logs and pipes."""
    runtime = made(logged, 100_000)
    opened = open_descriptors()
    limit_connections(runtime, 0)
    limit = runtime.reactor.room.limit
    assert abs(limit - (files - opened - files // 8)) <= 2
    assert logged.lines() == [
        f"[notice] 100000 worker_connections are lowered to {limit} connections, all that {files} open files "
        "(worker_rlimit_nofile) leave room for"
    ]
    assert runtime.reactor.pipes.most == files // 32
    end(runtime)


def test_the_longest_idle_gives_way_and_it_is_told_once_a_second(logged: Logged) -> None:
    runtime = made(logged, 32)
    limit_connections(runtime, 0)
    lines = [line(runtime) for _ in range(30)]
    assert runtime.reactor.room.make() and runtime.reactor.room.make()
    assert [number for number, (_, far) in enumerate(lines) if is_closed(far)] == [0]
    lines.append(line(runtime))
    assert runtime.reactor.room.make() and is_closed(lines[1][1])
    assert logged.lines() == ["[warn] 32 worker_connections are not enough, idle connections are closed"]
    end(runtime)


def test_nobody_idle_and_the_next_one_is_refused(logged: Logged) -> None:
    runtime = made(logged, 4)
    limit_connections(runtime, 0)
    lines = [line(runtime) for _ in range(4)]
    runtime.idle.clear()
    assert not runtime.reactor.room.make() and not any(is_closed(far) for _, far in lines)
    assert logged.lines() == ["[alert] 4 worker_connections are not enough"]
    end(runtime)


def test_a_connection_on_which_a_request_has_arrived_is_not_idle(logged: Logged) -> None:
    """Though the worker has not yet looked."""
    runtime = made(logged, 10)
    lines = [line(runtime) for _ in range(3)]
    lines[0][1].send(b"request")
    assert len(runtime.idle) == 3
    assert runtime.close_idle(1) == 1
    assert [is_closed(far) for _, far in lines] == [False, True, False]
    assert runtime.close_idle(9) == 1 and len(runtime.connections) == 1
    end(runtime)


def test_stopped_it_has_no_connection(logged: Logged) -> None:
    runtime = made(logged, 10)
    lines = [line(runtime) for _ in range(3)]
    lines[0][1].send(WAIT)
    runtime.stop()
    assert runtime.connections == {} and runtime.idle == {} and runtime.draining and runtime.reactor.owned == {}
    assert all(is_closed(far) for _, far in lines)
    end(runtime)
