"""The index of a cache: found, claimed, given up in order of use, and whole again after a death in the middle."""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable

import pytest

from portico.cache import index as index_module
from portico.cache.index import COLUMNS, EXISTS, KNOWN, LEFT, Index, Removed
from portico.cache.store import digest
from portico.zones.table import SharedTable

NOW = 1_700_000_000


def make(slots: int) -> Index:
    return Index(SharedTable(slots, COLUMNS))


def store(index: Index, key: bytes, size: int = 100, now: int = NOW) -> int:
    """The generation of the new file."""
    first, second = digest(key)
    return index.store(first, second, size, now + 60, 0, 0, now, index.purges())[0]


def fetched_by(index: Index, first: int, second: int) -> int:
    """The worker that has the right to fetch a key; 0: none has."""
    owner = index.claim(first, second, 999, 0, 0)
    if owner == 0:
        index.release(first, second, 999)
    return owner


def test_what_was_stored_is_found() -> None:
    index = make(16)
    row, flags, generation, uses, _ = index.use(*digest(b"a"), NOW)
    assert flags & EXISTS == 0 and generation == 0 and uses == 1
    made = store(index, b"a")
    again, flags, generation, uses, _ = index.use(*digest(b"a"), NOW)
    assert (again, generation, uses) == (row, made, 2) and flags & EXISTS and flags & KNOWN
    assert index.is_same(row, digest(b"a")[0], made) and index.valid(row, made) == NOW + 60
    assert index.look(*digest(b"b")) == (0, 0)


def test_a_new_file_is_another_generation() -> None:
    index = make(16)
    first = store(index, b"a")
    second = store(index, b"a", 50)
    assert second != first and index.size() == 50
    assert index.drop(*digest(b"a"), first) is False  # the old file's worker knows nothing of the new one
    assert index.drop(*digest(b"a"), 0) is False  # nor does who looked while it was about to come
    assert index.drop(*digest(b"a"), second) is True and index.size() == 0
    assert index.drop(*digest(b"a"), 0) is False  # there is none


def test_a_megabyte_holds_eight_thousand() -> None:
    assert (1 << 20) // (8 * COLUMNS) == 8192


def test_the_one_used_longest_ago_goes_first() -> None:
    index = make(4)
    for key in (b"a", b"b", b"c"):
        store(index, key)
    index.use(*digest(b"a"), NOW + 1)
    removed = index.store(*digest(b"d"), 1, NOW, 0, 0, NOW + 2, 0)[1]
    assert removed is not None and (removed.first, removed.second) == digest(b"b")
    assert [bool(index.look(*digest(key))[0]) for key in (b"a", b"b", b"c", b"d")] == [True, False, True, True]
    assert forgotten(index, index.shrink(110, 9)) == [digest(b"c")]
    assert forgotten(index, index.oldest(NOW + 2, 9)) == [digest(b"a")] and index.count() == 1


def forgotten(index: Index, gone: list[Removed]) -> list[tuple[int, int]]:
    """What was given up, once its files are removed."""
    for one in gone:
        index.forget(one.first, one.second)
    return [(one.first, one.second) for one in gone]


def test_what_was_given_up_is_known_until_its_file_is_gone() -> None:
    """Of a worker that dies in between, the next one removes the files."""
    index = make(8)
    store(index, b"a")
    assert forgotten(index, index.oldest(NOW + 1, 9)[:0]) == []
    assert index.size() == 0 and index.count() == 1 and not index.look(*digest(b"a"))[0] & EXISTS
    assert forgotten(index, index.oldest(NOW + 1, 9)) == [digest(b"a")] and index.count() == 0
    index.replace(*digest(b"b"))
    assert forgotten(index, index.oldest(NOW + 1, 9)) == [digest(b"b")]


def test_what_is_being_fetched_is_not_given_up() -> None:
    index = make(4)
    for key in (b"a", b"b", b"c"):
        store(index, key)
    index.claim(*digest(b"a"), 1, 0, 0)
    removed = index.store(*digest(b"d"), 1, NOW, 0, 0, NOW, 0)[1]
    assert removed is not None and (removed.first, removed.second) == digest(b"b")
    assert forgotten(index, index.shrink(0, 9)) == [digest(b"c"), digest(b"d")]
    assert fetched_by(index, *digest(b"a")) == 1 and index.size() == 100


def test_what_dead_workers_fetched_does_not_stay_for_ever() -> None:
    """However many of their claims stand at the old end: those behind them are given up, and then they themselves."""
    index = make(64)
    for number in range(30):
        store(index, b"dead %d" % number)
        index.claim(*digest(b"dead %d" % number), 1 if number % 2 else 2, 0, 0)
    for number in range(5):
        store(index, b"%d" % number)
    assert forgotten(index, index.shrink(0, 9)) == []  # twenty were looked at
    assert forgotten(index, index.shrink(0, 9)) == [digest(b"%d" % number) for number in range(5)]
    assert index.blocking_owners() == {1, 2} and index.blocking_owners() == set()
    assert index.release_dead({1}, 0, 20) and not index.release_dead({1}, index.release_dead({1}, 0, 20), 50)
    for _ in range(5):
        forgotten(index, index.shrink(0, 9))
    assert index.count() == 15 and index.size() == 1500
    assert {fetched_by(index, *digest(b"dead %d" % number)) for number in range(30)} == {0, 2}


def test_a_row_that_must_go_stays_until_its_file_is_gone() -> None:
    """A killed worker leaves a row for every file that is still there, also where the index was full."""
    index = make(300)
    for number in range(297):
        store(index, b"%d" % number)
    removed = index.use(*digest(b"one more"), NOW)[4]
    assert removed is not None and (removed.first, removed.second) == digest(b"0")
    assert index.count() == 298 and index.keys(0, 300)[0][0].first == removed.first and not index.look(*digest(b"0"))[0] & EXISTS
    again = index.use(*digest(b"and one"), NOW)[4]
    assert again is not None and (again.first, again.second) == digest(b"1") and index.count() == 299
    full = index.use(*digest(b"when both were killed"), NOW)[4]
    assert full is not None and (full.first, full.second) == digest(b"2") and index.count() == 299
    assert forgotten(index, [removed]) and index.count() == 298


def test_a_purge_keeps_out_what_was_asked_for_before() -> None:
    index = make(4)
    key, other = digest(b"a"), digest(b"b")
    asked = index.purges()
    assert index.purge(*key) is False
    assert index.store(*key, 1, NOW, 0, 0, NOW, asked)[0] == 0
    assert index.store(*other, 1, NOW, 0, 0, NOW, asked)[0] > 0  # of another key
    assert index.store(*key, 1, NOW, 0, 0, NOW, index.purges())[0] > 0
    asked = index.purges()
    assert index.purge(*key) is True and index.look(*key)[0] & EXISTS == 0 and index.size() == 1
    for name in (b"c", b"d", b"e"):  # the row that knows of the purge has to go
        store(index, name)
    assert index.look(*key) == (0, 0)
    assert index.store(*key, 1, NOW, 0, 0, NOW, asked)[0] == 0
    index.store_failure(*digest(b"c"), 502, NOW, NOW, asked)
    assert index.look(*digest(b"c"))[0] >> 8 == 0  # nor a failure
    asked = index.purges()
    index.note_purge()
    assert index.store(*other, 1, NOW, 0, 0, NOW, asked)[0] == 0


def test_the_times_are_those_of_the_file_asked_about() -> None:
    index = make(4)
    generation = store(index, b"a")
    row = index.use(*digest(b"a"), NOW)[0]
    assert index.valid(row, generation) == NOW + 60
    store(index, b"a")
    assert index.valid(row, generation) == index.updating(row, generation) == index.error(row, generation) == 0


def test_while_a_file_is_replaced_it_may_answer_as_a_stale_one() -> None:
    """Who looks between `replace` and `store` finds the old file or the new one; its time is over, and nobody keeps it at hand."""
    index = make(4)
    key = digest(b"a")
    generation = index.store(*key, 10, NOW + 60, NOW + 70, NOW + 80, NOW, 0)[0]
    row = index.use(*key, NOW)[0]
    index.replace(*key)
    flags, now_none = index.look(*key)
    assert flags & EXISTS and not flags & KNOWN and now_none == 0
    assert not index.is_same(row, key[0], 0) and not index.is_same(row, key[0], generation)
    assert [index.valid(row, 0), index.updating(row, 0), index.error(row, 0)] == [0, NOW + 70, NOW + 80]
    assert not index.refresh(row, key[0], 0, NOW + 90, 0, 0, True) and index.size() == 10
    index.replace(*digest(b"b"))  # one that has no file yet
    assert not index.look(*digest(b"b"))[0] & EXISTS
    index.purge(*key)
    index.replace(*key)
    assert not index.look(*key)[0] & EXISTS


def test_only_one_may_fetch() -> None:
    index = make(8)
    key = digest(b"a")
    index.use(*key, NOW)
    assert index.claim(*key, 1, 1000, 500) == 0
    assert index.claim(*key, 2, 1400, 500) == 1
    assert index.claim(*key, 2, 1600, 500) == 0  # the first one takes too long
    index.release(*key, 1)
    assert fetched_by(index, *key) == 2
    index.release(*key, 2)
    assert index.claim(*key, 3, 1600, 500) == 0


def test_a_row_that_somebody_fetches_stays() -> None:
    index = make(8)
    key = digest(b"a")
    generation = store(index, b"a")
    index.claim(*key, 1, 0, 0)
    assert index.drop(*key, generation) is True
    assert fetched_by(index, *key) == 1 and index.look(*key)[0] & EXISTS == 0 and index.size() == 0


def test_a_failure_does_not_take_an_answers_place() -> None:
    index = make(8)
    store(index, b"a")
    index.store_failure(*digest(b"a"), 502, NOW + 5, NOW, 0)
    assert index.look(*digest(b"a"))[0] & EXISTS
    index.store_failure(*digest(b"b"), 502, NOW + 5, NOW, 0)
    assert index.look(*digest(b"b"))[0] >> 8 == 502


@pytest.mark.parametrize("seed", range(3))
def test_it_keeps_its_books(seed: int) -> None:
    """Against a dict: whatever is done, sizes add up and what is there is found."""
    dice = random.Random(seed)
    index = make(40)
    sizes: dict[tuple[int, int], int] = {}
    for step in range(3000):
        key = digest(b"%d" % dice.randrange(60))
        action = dice.randrange(6)
        if action < 2:
            size = dice.randrange(1000)
            removed = index.store(*key, size, NOW, 0, 0, NOW + step, 0)[1]
            sizes[key] = size
            if removed is not None:
                sizes.pop((removed.first, removed.second), None)
        elif action == 2:
            assert index.drop(*key, index.look(*key)[1]) == (key in sizes)
            sizes.pop(key, None)
        elif action == 3:
            removed = index.replace(*key)  # the file that was there still takes room
            if removed is not None:
                sizes.pop((removed.first, removed.second), None)
            index.drop(*key, 0)
            sizes.pop(key, None)
        elif action == 4:
            for gone in forgotten(index, index.shrink(max(0, index.size() - 700), 3)):
                sizes.pop(gone, None)
        else:
            removed = index.use(*key, NOW + step)[4]
            if removed is not None:
                sizes.pop((removed.first, removed.second), None)
        assert index.size() == sum(sizes.values())
    for number in range(60):
        key = digest(b"%d" % number)
        assert bool(index.look(*key)[0] & EXISTS) == (key in sizes)


def test_a_death_at_any_moment_leaves_an_index() -> None:
    """A child changes it without end and is killed; what it leaves is found, forgotten and counted as before."""
    index = make(64)
    for _ in range(15):
        pid = os.fork()
        if pid == 0:
            dice = random.Random()
            while True:
                key = b"%d" % dice.randrange(200)
                what = dice.randrange(4)
                if what < 2:
                    index.replace(*digest(key))
                    store(index, key)
                elif what == 2:
                    index.purge(*digest(key))
                else:
                    forgotten(index, index.shrink(5000, 2))
        while index.count() < 20:
            pass
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for number in range(200):
            store(index, b"%d" % number)
        assert index.count() == 63 and index.size() == 6300
        assert len(forgotten(index, index.shrink(0, 100))) == 63 and index.size() == index.count() == 0


# -- killed before any store into the memory that all share ---------------------------------------------------------------------


class Killed(BaseException):
    """Ends a process that is not one."""


class Cells:
    """The cells of a table, of which the one who writes is killed before a certain store."""

    def __init__(self, cells: memoryview[int]) -> None:
        self.cells = cells
        self.left = -1

    def __getitem__(self, at: int) -> int:
        return self.cells[at]

    def __setitem__(self, at: int, value: int) -> None:
        if self.left == 0:
            raise Killed
        self.left -= 1
        self.cells[at] = value


ACTIONS: tuple[Callable[[Index, tuple[int, int], int], object], ...] = (
    lambda index, key, now: index.use(*key, now),
    lambda index, key, now: index.replace(*key),
    lambda index, key, now: index.store(*key, now, now + 5, 0, 0, now, index.purges()),
    lambda index, key, now: index.store_failure(*key, 502, now, now, index.purges()),
    lambda index, key, now: index.load(*key, now, now),
    lambda index, key, now: index.drop(*key, index.look(*key)[1]),
    lambda index, key, now: index.purge(*key),
    lambda index, key, now: index.claim(*key, 7, now, 3),
    lambda index, key, now: index.oldest(now - 5, 2),
    lambda index, key, now: index.shrink(now, 2),
    lambda index, key, now: index.forget(*key),
)


def books(index: Index, cells: memoryview[int]) -> dict[tuple[int, int], int]:
    """What the index knows, and flags. Whoever comes next finds all of it in order."""
    rows = index._rows
    rows.enter()
    rows.leave()
    used = rows.used()
    ring = []
    row = rows.oldest()
    while row:
        ring.append(row)
        row = rows.newer(row)
    assert sorted(ring) == used and (rows.newest() == ring[-1] if ring else rows.newest() == 0)
    assert all(rows.find(cells[row], cells[row + 1]) == row for row in used)
    assert index.size() == sum(cells[row + 11] for row in used)
    free = 0
    while rows.has_room():
        rows.add(free, 1 << 40)
        free += 1
    assert len(used) + free == rows.most
    return {(cells[row], cells[row + 1]): cells[row + 4] for row in used}


@pytest.mark.skipif(not index_module.__file__.endswith(".py"), reason="compiled code takes nothing for memory but memory")
def test_a_death_before_any_store() -> None:
    """Whatever is done to an index whose keys are in each other's way: a death leaves its order, and a row for every file."""
    dice = random.Random(4)
    table = SharedTable(6, COLUMNS)
    cells = table.cells()
    keys = [(dice.choice((0, 1, 8)) + 9 * dice.randrange(4), dice.randrange(1, 1 << 40)) for _ in range(8)]
    deaths = 0
    for step in range(250):
        act, key = dice.choice(ACTIONS), dice.choice(keys)
        before = cells.tolist()
        known = books_of_copy(table, before)
        number = 0
        while True:
            for at, value in enumerate(before):
                cells[at] = value
            index = Index(table)
            index._rows._secret = 0  # nothing keeps the keys from being in each other's way
            index._cells = index._rows.cells = mortal = Cells(cells)  # type: ignore[assignment]
            mortal.left = number
            try:
                act(index, key, step)
            except Killed:
                number += 1
            else:
                break
            mortal.left = -1
            deaths += 1
            left = books(index, cells)
            if act is not ACTIONS[-1] and len(known) < 5:  # so small an index has no spare rows for what must go when it is full
                assert all(left[each] & (EXISTS | LEFT) for each, flags in known.items() if flags & (EXISTS | LEFT))
    assert deaths > 1000


def books_of_copy(table: SharedTable, cells: list[int]) -> dict[tuple[int, int], int]:
    """The books of what is there, which stays as it is."""
    index = Index(table)
    index._rows._secret = 0
    known = books(index, table.cells())
    for at, value in enumerate(cells):
        table.cells()[at] = value
    return known
