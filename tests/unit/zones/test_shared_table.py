"""Shared tables, and their locks in several processes, some of which die at the worst moment."""

import os
import signal
from collections.abc import Callable

import pytest

from portico.zones.lock import LOCKS, Lock, RecordLock, RobustLock
from portico.zones.memory import shared_pages
from portico.zones.table import SharedTable

KINDS = ["robust", "record"]


def make_lock(kind: str) -> Lock:
    if kind == "record":
        return LOCKS.record()
    pthread = LOCKS.robust()
    if pthread is None:
        pytest.skip("this libc has no robust mutexes")
    memory, address = shared_pages(64)
    KEPT.append(memory)
    return RobustLock(pthread, address)


KEPT: list[object] = []  # a lock does not keep its memory alive, its table does


def in_child(work: Callable[[], None]) -> int:
    """Run ``work`` in a forked process; its pid."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return pid


def wait_for(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def holder(lock: Lock) -> int:
    """A child that took the lock and sleeps."""
    there, here = os.pipe()

    def hold() -> None:
        lock.acquire()
        os.write(here, b"!")
        signal.pause()

    pid = in_child(hold)
    assert os.read(there, 1) == b"!"
    os.close(there)
    os.close(here)
    return pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    assert wait_for(pid) == -signal.SIGKILL


def test_cells_start_at_zero_and_keep_what_is_stored() -> None:
    table = SharedTable(3, 2)
    assert [table.get(slot, column) for slot in range(3) for column in range(2)] == [0] * 6
    table.set(1, 1, -(2**63))
    table.set(2, 0, 2**63 - 1)
    assert table.add(0, 1, 5) == 5
    assert table.add(0, 1, -7) == -2
    assert table.read(0, 6) == (0, -2, 0, -(2**63), 2**63 - 1, 0)


def test_rows_are_read_and_written_at_once() -> None:
    table = SharedTable(3, 2, locks=2)
    table.write(1, (7, 8, 9, 10))
    assert table.read(1, 2) == (7, 8)
    assert table.read(2, 2) == (9, 10)
    assert table.get(0, 1) == 0


@pytest.mark.parametrize(("slot", "column"), [(-1, 0), (3, 0), (0, 2), (0, -1)])
def test_cells_outside_are_refused(slot: int, column: int) -> None:
    table = SharedTable(3, 2)
    for call in (lambda: table.get(slot, column), lambda: table.set(slot, column, 1)):
        with pytest.raises(IndexError):
            call()


def test_rows_outside_are_refused() -> None:
    table = SharedTable(3, 2)
    for slot, count in ((2, 3), (-1, 1), (3, 1)):
        with pytest.raises(IndexError):
            table.read(slot, count)
        with pytest.raises(IndexError):
            table.write(slot, [1] * count)


@pytest.mark.parametrize("shape", [(0, 1, 1), (1, 0, 1), (1, 1, 0)])
def test_an_empty_table_is_refused(shape: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="at least one"):
        SharedTable(*shape)


def test_a_value_beyond_64_bits_is_refused() -> None:
    table = SharedTable(1, 1)
    with pytest.raises(ValueError):
        table.set(0, 0, 2**63)
    assert table.get(0, 0) == 0


def test_additions_of_several_processes_all_count() -> None:
    table = SharedTable(4, 1, locks=2)

    def work() -> None:
        for i in range(4000):
            table.add(i % 4, 0, 1)

    assert [wait_for(pid) for pid in [in_child(work) for _ in range(4)]] == [0] * 4
    assert table.read(0, 4) == (4000,) * 4


def test_slots_of_other_locks_are_not_held_up() -> None:
    table = SharedTable(2, 1, locks=2)
    table.lock(0)
    try:
        assert table.add(1, 0, 1) == 1
    finally:
        table.unlock(0)


@pytest.mark.parametrize("kind", KINDS)
def test_only_one_process_is_inside(kind: str) -> None:
    lock = make_lock(kind)
    table = SharedTable(1, 1)

    def work() -> None:
        for _ in range(2000):
            lock.acquire()
            table.set(0, 0, table.get(0, 0) + 1)
            lock.release()

    assert [wait_for(pid) for pid in [in_child(work) for _ in range(3)]] == [0] * 3
    assert table.get(0, 0) == 6000


@pytest.mark.parametrize("kind", KINDS)
def test_the_lock_of_a_killed_holder_opens(kind: str) -> None:
    lock = make_lock(kind)
    for _ in range(3):
        kill(holder(lock))
        lock.acquire()
        lock.release()
    if isinstance(lock, RobustLock):
        assert lock.recovered == 3


@pytest.mark.parametrize("kind", KINDS)
def test_those_who_wait_go_on_when_the_holder_is_killed(kind: str) -> None:
    lock = make_lock(kind)
    table = SharedTable(1, 1)
    pid = holder(lock)

    def work() -> None:
        lock.acquire()
        table.set(0, 0, table.get(0, 0) + 1)
        lock.release()

    waiting = [in_child(work) for _ in range(3)]
    for child in waiting:
        assert os.waitpid(child, os.WNOHANG) == (0, 0)
    assert table.get(0, 0) == 0
    kill(pid)
    assert [wait_for(child) for child in waiting] == [0] * 3
    assert table.get(0, 0) == 3


@pytest.mark.parametrize("kind", KINDS)
def test_taking_twice_and_giving_what_is_not_held_are_errors(kind: str) -> None:
    lock = make_lock(kind)
    with pytest.raises(RuntimeError, match="does not hold"):
        lock.release()
    lock.acquire()
    with pytest.raises(RuntimeError, match="already"):
        lock.acquire()
    lock.release()


def test_linux_has_the_cheap_lock() -> None:
    memory, address = shared_pages(64)
    KEPT.append(memory)
    assert isinstance(LOCKS.make(address), RobustLock | RecordLock)
