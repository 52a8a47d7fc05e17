"""The table of workers: who is replaced when it dies, when, and what is told of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.processes import open_descriptors
from tests.unit.supervisor.plans import Log, NotedPlan, prepared

from portico.supervisor import workers as table
from portico.supervisor.start import Prepared
from portico.supervisor.workers import LONGEST_DELAY, Worker, Workers

OK, CRASHED, FATAL = 0, 1 << 8, 2 << 8  # of waitpid(2)
ADDRESS_SPACE = int(signal.SIGSEGV)
CORE = 0x80


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(table, "time", made)
    return made


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path, "told").open()


@pytest.fixture
def workers(log: Log, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> Iterator[Workers]:
    """A table whose fork(2) gives 101, 102, … and starts nothing."""
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # of the ready pipe
    pids = iter(range(101, 1000))
    monkeypatch.setattr(os, "fork", lambda: next(pids))
    made = Workers(log.report)
    yield made
    made.close()
    signal.signal(signal.SIGIO, before)


@pytest.fixture
def two(tmp_path: Path) -> Prepared:
    return prepared(NotedPlan(tmp_path, "worker_processes 2;"))


def start(workers: Workers, what: Prepared) -> None:
    workers.start(what.plan, what.sockets)


def test_a_generation_has_the_workers_of_its_plan(workers: Workers, two: Prepared, log: Log) -> None:
    start(workers, two)
    assert [(w.pid, w.number, w.generation) for w in workers.current()] == [(101, 0, 1), (102, 1, 1)]
    start(workers, two)
    assert [w.pid for w in workers.current()] == [103, 104]
    assert [w.pid for w in workers.older()] == [101, 102]
    assert log.lines()[:3] == [
        ("notice", "start worker processes"), ("notice", "start worker process 101"), ("notice", "start worker process 102"),
    ]  # fmt: skip


def test_a_generation_serves_when_each_of_its_workers_has_said_so(workers: Workers, two: Prepared) -> None:
    start(workers, two)
    assert not workers.all_ready()
    for written, ready in ((b"101\n", False), (b"4711\n", False), (b"", False), (b"102\n", True)):
        os.write(workers._ready_end, written)
        workers.read_ready()
        assert workers.all_ready() == ready
    workers.died(102, CRASHED)
    assert not workers.all_ready()  # one is to be started again


@pytest.mark.parametrize(
    ("status", "leaving", "older", "replaced", "level", "message"),
    [
        (OK, False, False, True, "notice", "worker process 101 exited with code 0"),
        (CRASHED, False, False, True, "notice", "worker process 101 exited with code 1"),
        (FATAL, False, False, False, "alert", "worker process 101 exited with fatal code 2 and cannot be respawned"),
        (FATAL, True, False, False, "notice", "worker process 101 exited with code 2"),
        (OK, True, False, False, "notice", "worker process 101 exited with code 0"),
        (OK, False, True, False, "notice", "worker process 101 exited with code 0"),
        (ADDRESS_SPACE, False, False, True, "alert", "worker process 101 exited on signal 11"),
        (ADDRESS_SPACE | CORE, False, False, True, "alert", "worker process 101 exited on signal 11 (core dumped)"),
        (ADDRESS_SPACE, True, False, False, "alert", "worker process 101 exited on signal 11"),
    ],
)
def test_a_death(
    workers: Workers, two: Prepared, log: Log, status: int, leaving: bool, older: bool, replaced: bool, level: str, message: str
) -> None:
    """nginx: ngx_process_get_status and ngx_reap_children."""
    start(workers, two)
    workers.alive[101].leaving = leaving
    if older:
        start(workers, two)
    assert workers.died(101, status)
    assert (0 in workers.due) == replaced
    assert log.lines()[-1] == (level, message)


def test_a_stranger_is_no_worker(workers: Workers, two: Prepared, log: Log) -> None:
    start(workers, two)
    told = len(log.lines())
    assert not workers.died(4711, CRASHED)
    assert workers.due == {} and len(log.lines()) == told


def test_a_worker_that_keeps_dying_young_is_replaced_later_and_later(workers: Workers, two: Prepared, clock: Clock) -> None:
    start(workers, two)
    waits = []
    for _ in range(12):
        pid = next(pid for pid, worker in workers.alive.items() if worker.number == 1)
        clock.now += 0.5
        workers.died(pid, CRASHED)
        waits.append(round(workers.due[1] - clock.now, 3))
        clock.now = workers.due[1]
        workers.start_due(two.plan, two.sockets)
        assert workers.due == {}
    assert waits == [0.0, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0, 5.0, 5.0]


def test_one_that_has_lived_longer_begins_anew(workers: Workers, two: Prepared, clock: Clock) -> None:
    start(workers, two)
    for lived, wait in ((0.1, 0.0), (0.1, 0.1), (2.1, 0.0), (0.1, 0.0), (0.1, 0.1)):
        pid = next(pid for pid, worker in workers.alive.items() if worker.number == 0)
        clock.now += lived
        workers.died(pid, CRASHED)
        assert workers.due[0] - clock.now == pytest.approx(wait)
        clock.now = workers.due[0]
        workers.start_due(two.plan, two.sockets)


def test_deaths_of_one_do_not_delay_another(workers: Workers, two: Prepared, clock: Clock) -> None:
    start(workers, two)
    workers.died(101, CRASHED)
    workers.start_due(two.plan, two.sockets)
    workers.died(103, CRASHED)
    workers.died(102, CRASHED)
    assert workers.due == {0: clock.now + 0.1, 1: clock.now}


def test_a_reload_forgets_deaths_and_who_was_due(workers: Workers, two: Prepared, clock: Clock) -> None:
    start(workers, two)
    workers.died(101, CRASHED)
    workers.start_due(two.plan, two.sockets)
    workers.died(103, CRASHED)
    start(workers, two)
    assert workers.due == {} and len(workers.current()) == 2
    workers.died(workers.current()[0].pid, CRASHED)
    assert workers.due == {0: clock.now}


def test_nobody_can_be_forked(workers: Workers, two: Prepared, log: Log, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_fork() -> int:
        raise OSError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", no_fork)
    start(workers, two)
    assert workers.alive == {}
    assert workers.due == {0: clock.now + LONGEST_DELAY, 1: clock.now + LONGEST_DELAY}
    assert log.lines()[-1] == (
        "alert", 'fork() failed (11: Resource temporarily unavailable) while spawning "worker process"',
    )  # fmt: skip


def test_signals_go_to_those_who_live(workers: Workers, two: Prepared, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[tuple[int, int]] = []

    def kill(pid: int, number: int) -> None:
        if pid == 101:
            raise ProcessLookupError(3, "No such process")  # dead, and reaped soon: nothing to tell
        if pid == 102:
            raise PermissionError(1, "Operation not permitted")
        sent.append((pid, number))

    monkeypatch.setattr(os, "kill", kill)
    start(workers, two)
    start(workers, two)
    workers.dismiss_all(signal.SIGQUIT)
    assert sent == [(103, signal.SIGQUIT), (104, signal.SIGQUIT)]
    assert log.lines()[-1] == ("alert", "kill(102, 3) failed (1: Operation not permitted)")
    assert workers.current() == [] and workers.older() == []  # all are leaving
    workers.died(103, OK)
    assert workers.due == {}


def test_the_pipes_are_given_back(log: Log) -> None:
    before = open_descriptors()
    made = Workers(log.report)
    assert open_descriptors() == before + 4
    assert not os.get_blocking(made._ready)
    made.close()
    assert open_descriptors() == before


def test_a_worker_is_young_when_it_is_made(clock: Clock) -> None:
    made = Worker(1, 2, 3)
    assert (made.born, made.ready, made.leaving) == (clock.now, False, False)
