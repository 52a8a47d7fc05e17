"""`stub_status`: what workers counted is added up, and outlives them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.features import local_site

from portico.errorlog import ErrorLog, LogFiles
from portico.features import stub_status
from portico.features.stub_status import Board
from portico.net.reactor import Reactor
from portico.worker.runtime import Runtime
from portico.zones.owner import is_alive, own_identity
from portico.zones.table import SharedTable
from portico.zones.zone import Zones

ROWS, COLUMNS = 1024, 6


@pytest.fixture
def table() -> SharedTable:
    return Zones().add("boards", ROWS * COLUMNS * 8, "test").open(COLUMNS)


class Site:
    """Workers of one configuration, all of them in this process."""

    def __init__(self, table: SharedTable) -> None:
        self.table = table
        self.reactors: list[Reactor] = []

    def worker(self, accepted: int = 0, requests: int = 0, serving: int = 0) -> Board:
        reactor = Reactor()
        self.reactors.append(reactor)
        runtime = Runtime(reactor, ErrorLog([], LogFiles()), 100, 0)
        runtime.accepted, runtime.requests, runtime.serving = accepted, requests, serving
        board = Board()
        board.table = self.table
        board.join(runtime)
        return board


@pytest.fixture
def site(table: SharedTable) -> Iterator[Site]:
    made = Site(table)
    yield made
    for reactor in made.reactors:
        reactor.epoll.close()


def sums(board: Board) -> tuple[int, int, int]:
    found = board.totals()
    return found.accepted, found.requests, found.writing


def gone() -> int:
    """The identity of a process that is no more."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writing, str(own_identity()).encode())
        os._exit(0)
    os.close(writing)
    os.waitpid(pid, 0)
    with open(reading) as pipe:
        identity = int(pipe.read())
    assert not is_alive(identity)
    return identity


def test_every_worker_has_a_row_of_its_own_and_each_tells_the_sum(site: Site) -> None:
    boards = [site.worker(10, 20, 1), site.worker(1, 2, 3)]
    assert [board.row for board in boards] == [1, 2]
    assert [sums(board) for board in boards] == [(11, 22, 4)] * 2


def test_a_worker_knows_its_own_numbers_of_now(site: Site) -> None:
    first, second = site.worker(), site.worker()
    assert first.runtime is not None
    first.runtime.accepted = 5
    assert sums(second) == (0, 0, 0)  # not told yet
    assert sums(first) == (5, 0, 0)
    assert sums(second) == (5, 0, 0)


def test_what_a_worker_counted_outlives_it_and_what_it_held_does_not(site: Site) -> None:
    first, second = site.worker(10, 20, 3), site.worker(1, 2, 1)
    first.leave()
    first.leave()  # twice is once
    assert sums(second) == (11, 22, 1)
    first.publish()  # it writes into nobody's row
    assert sums(second) == (11, 22, 1)
    third = site.worker(100, 200)
    assert third.row == 1  # the row is free
    assert sums(second) == (111, 222, 1)


def test_a_killed_worker_is_found_by_the_next_one(site: Site, table: SharedTable) -> None:
    killed = site.worker(10, 20, 3)
    table.set(killed.row, 0, gone())
    following = site.worker(1, 2)
    assert following.row == killed.row
    assert sums(following) == (11, 22, 0)


def test_where_all_rows_are_taken_a_worker_counts_for_itself_only(site: Site, table: SharedTable) -> None:
    own = own_identity()
    table.set(0, 0, ROWS - 1)
    for row in range(1, ROWS):
        table.set(row, 0, own)
    late = site.worker(5, 5)
    assert late.row == 0
    late.publish()
    assert sums(late) == (0, 0, 0)  # row 0 holds what is gone, and is not written over
    assert table.get(0, 0) == ROWS - 1


def test_reading_is_what_is_left_and_never_negative(site: Site, table: SharedTable) -> None:
    """Rows are not written at one moment."""
    board = site.worker()
    other = site.worker()
    table.write(other.row, (own_identity(), 0, 0, 5, 2, 1))
    assert board.totals().reading() == 2
    table.write(other.row, (own_identity(), 0, 0, 1, 2, 1))
    assert board.totals().reading() == 0


@pytest.mark.parametrize(("method", "status"), [("GET", 200), ("HEAD", 200), ("POST", 405)])
def test_the_text_is_nginx_s(tmp_path: Path, method: str, status: int) -> None:
    made = local_site.Site("location / { stub_status; }", tmp_path, (*local_site.FEATURES, stub_status.FEATURE))
    answer = made.ask("/", method=method)
    made.close()
    assert answer.status == status
    if method == "GET":
        assert answer.get("Content-Type") == "text/plain"
        assert answer.body == (
            b"Active connections: 0 \nserver accepts handled requests\n 0 0 0 \nReading: 0 Writing: 0 Waiting: 0 \n"
        )
