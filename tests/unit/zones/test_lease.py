"""A lease: one process at a time has it, and it passes on when that one releases it, dies, or hangs."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from portico.zones.lease import COLUMNS, Lease
from portico.zones.owner import own_identity
from portico.zones.table import SharedTable

LONG = 3600.0
OTHER = own_identity() + 1  # no process that lives: it has our number and another start


@contextmanager
def forked(work: Callable[[], object]) -> Iterator[tuple[int, str]]:
    """A process that does `work` and stays: its number, and what `work` returned. It is killed at the end."""
    read_end, write_end = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            os.write(write_end, str(work()).encode())
            signal.pause()
        finally:
            os._exit(1)
    os.close(write_end)
    try:
        yield pid, os.read(read_end, 99).decode()
    finally:
        os.close(read_end)
        kill(pid)


def kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass  # the test has done so


def test_it_is_nobodys_at_first_and_then_of_whoever_comes_first() -> None:
    lease = Lease(SharedTable(1, COLUMNS))
    assert lease.holder() == 0
    assert lease.acquire(own_identity(), LONG) and lease.holder() == own_identity()
    assert not lease.acquire(OTHER, LONG) and lease.holder() == own_identity()


def test_released_it_is_free_at_once() -> None:
    lease = Lease(SharedTable(1, COLUMNS))
    assert lease.acquire(own_identity(), LONG)
    lease.release(own_identity())
    assert lease.holder() == 0
    assert lease.acquire(OTHER, LONG) and lease.holder() == OTHER


def test_only_its_holder_releases_it() -> None:
    lease = Lease(SharedTable(1, COLUMNS))
    assert lease.acquire(own_identity(), LONG)
    lease.release(OTHER)
    assert lease.holder() == own_identity()


def test_rows_and_columns_are_leases_of_their_own_and_nothing_else_is_touched() -> None:
    table = SharedTable(2, 5, locks=2)
    for row in range(2):
        table.write(row, (7, 7, 0, 0, 7))
    first, second = Lease(table, 0, 2), Lease(table, 1, 2)
    assert first.acquire(1, LONG) and second.acquire(2, LONG)
    assert (first.holder(), second.holder()) == (1, 2)
    assert [(table.read(row, 5)[:3], table.get(row, 4)) for row in range(2)] == [((7, 7, 1), 7), ((7, 7, 2), 7)]


def test_who_does_not_renew_it_loses_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the process lives: it may hang."""
    moment = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: moment)
    lease = Lease(SharedTable(1, COLUMNS))
    assert lease.acquire(own_identity(), 30.0)
    moment += 29.0
    assert not lease.acquire(OTHER, 30.0)
    assert lease.acquire(own_identity(), 30.0)  # renews it
    moment += 29.0
    assert not lease.acquire(OTHER, 30.0)
    moment += 1.0
    assert lease.acquire(OTHER, 30.0) and lease.holder() == OTHER


def test_late_and_still_its_own() -> None:
    """Nobody wanted it in between."""
    lease = Lease(SharedTable(1, COLUMNS))
    assert lease.acquire(own_identity(), 0.0) and lease.acquire(own_identity(), LONG) and not lease.acquire(OTHER, LONG)


def test_of_two_who_see_that_it_is_free_one_gets_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between this one's look at the holder and its store, another process acquires it."""
    table = SharedTable(1, COLUMNS)
    lease = Lease(table)
    assert lease.acquire(OTHER, LONG)  # its holder is dead
    quicker = own_identity() + 2

    def look_at_the_clock() -> float:
        table.set(0, 0, quicker)
        return 100.0

    monkeypatch.setattr(time, "monotonic", look_at_the_clock)
    assert not lease.acquire(own_identity(), LONG) and lease.holder() == quicker


def test_it_passes_on_when_its_holder_is_killed() -> None:
    lease = Lease(SharedTable(1, COLUMNS))
    with forked(lambda: lease.acquire(own_identity(), LONG)) as (pid, acquired):
        assert acquired == "True" and lease.holder() >> 32 == pid
        assert not lease.acquire(own_identity(), LONG)
        kill(pid)
        assert lease.acquire(own_identity(), LONG) and lease.holder() == own_identity()


def test_it_passes_on_when_its_holder_is_stopped() -> None:
    lease = Lease(SharedTable(1, COLUMNS))
    with forked(lambda: lease.acquire(own_identity(), 0.2)) as (pid, acquired):
        os.kill(pid, signal.SIGSTOP)
        assert acquired == "True"
        until = time.monotonic() + 5.0
        while not lease.acquire(own_identity(), LONG):
            assert time.monotonic() < until
            time.sleep(0.01)
    assert lease.holder() == own_identity()


def test_of_many_who_want_what_a_dead_one_left_one_gets_it() -> None:
    for _ in range(5):
        lease = Lease(SharedTable(1, COLUMNS))
        assert lease.acquire(OTHER, LONG)
        gates = [os.pipe() for _ in range(6)]
        results, result = os.pipe()
        children = []
        for read_end, _ in gates:
            pid = os.fork()
            if pid == 0:
                os.read(read_end, 1)
                os.write(result, b"1" if lease.acquire(own_identity(), LONG) else b"0")
                signal.pause()
            children.append(pid)
        for _, write_end in gates:
            os.write(write_end, b"x")
        found = b""
        while len(found) < len(children):
            found += os.read(results, 9)
        for pid in children:
            kill(pid)
        for descriptor in [results, result, *(end for gate in gates for end in gate)]:
            os.close(descriptor)
        assert sorted(found) == sorted(b"100000")


def test_killed_at_any_point_it_passes_on() -> None:
    """In the middle of acquiring, renewing and releasing; the lock of the row is free again, too."""
    rng = random.Random(5)
    lease = Lease(SharedTable(1, COLUMNS))
    for _ in range(20):
        pid = os.fork()
        if pid == 0:
            mine = own_identity()
            while True:
                lease.acquire(mine, LONG)
                lease.acquire(mine, LONG)
                lease.release(mine)
        time.sleep(rng.random() * 0.005)
        kill(pid)
        assert lease.acquire(own_identity(), LONG)
        lease.release(own_identity())
