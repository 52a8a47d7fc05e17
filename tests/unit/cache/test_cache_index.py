"""The index of a cache: found, claimed, given up in order of use, and whole again after a death in the middle."""

from __future__ import annotations

import os
import random
import signal

import pytest

from portico.cache.index import COLUMNS, EXISTS, KNOWN, Index
from portico.cache.store import digest
from portico.zones.table import SharedTable

NOW = 1_700_000_000


def make(slots: int) -> Index:
    return Index(SharedTable(slots, COLUMNS))


def store(index: Index, key: bytes, size: int = 100, now: int = NOW) -> int:
    """The generation of the new file."""
    first, second = digest(key)
    return index.store(first, second, size, now + 60, 0, 0, now)[1]


def test_what_was_stored_is_found() -> None:
    index = make(16)
    slot, flags, generation, uses, _ = index.use(*digest(b"a"), NOW)
    assert flags & EXISTS == 0 and generation == 0 and uses == 1
    made = store(index, b"a")
    again, flags, generation, uses, _ = index.use(*digest(b"a"), NOW)
    assert (again, generation, uses) == (slot, made, 2) and flags & EXISTS and flags & KNOWN
    assert index.is_same(slot, digest(b"a")[0], made) and index.valid(slot) == NOW + 60
    assert index.look(*digest(b"b")) == (0, 0)


def test_a_new_file_is_another_generation() -> None:
    index = make(16)
    first = store(index, b"a")
    second = store(index, b"a", 50)
    assert second != first and index.size() == 50
    assert index.drop(*digest(b"a"), first) is False  # the old file's worker knows nothing of the new one
    assert index.drop(*digest(b"a")) is True and index.size() == 0


def test_a_megabyte_holds_eight_thousand() -> None:
    assert (1 << 20) // (8 * COLUMNS) == 8192


def test_the_one_used_longest_ago_goes_first() -> None:
    index = make(4)
    for key in (b"a", b"b", b"c"):
        store(index, key)
    index.use(*digest(b"a"), NOW + 1)
    removed = index.store(*digest(b"d"), 1, NOW, 0, 0, NOW + 2)[2]
    assert removed is not None and (removed.first, removed.second) == digest(b"b")
    assert [bool(index.look(*digest(key))[0]) for key in (b"a", b"b", b"c", b"d")] == [True, False, True, True]
    gone = index.shrink(110, 9)
    assert [(one.first, one.second) for one in gone] == [digest(b"c")]
    gone = index.oldest(NOW + 2, 9)
    assert [(one.first, one.second) for one in gone] == [digest(b"a")] and index.count() == 1


def test_only_one_may_fetch() -> None:
    index = make(8)
    key = digest(b"a")
    index.use(*key, NOW)
    assert index.claim(*key, 1, 1000, 500) == 0
    assert index.claim(*key, 2, 1400, 500) == 1
    assert index.claim(*key, 2, 1600, 500) == 0  # the first one takes too long
    index.release(*key, 1)
    assert index.is_fetched_by(*key) == 2
    index.release(*key, 2)
    assert index.claim(*key, 3, 1600, 500) == 0


def test_a_row_that_somebody_fetches_stays() -> None:
    index = make(8)
    key = digest(b"a")
    store(index, b"a")
    index.claim(*key, 1, 0, 0)
    assert index.drop(*key) is True
    assert index.is_fetched_by(*key) == 1 and index.look(*key)[0] & EXISTS == 0 and index.size() == 0


def test_a_failure_does_not_take_an_answers_place() -> None:
    index = make(8)
    store(index, b"a")
    index.store_failure(*digest(b"a"), 502, NOW + 5, NOW)
    assert index.look(*digest(b"a"))[0] & EXISTS
    index.store_failure(*digest(b"b"), 502, NOW + 5, NOW)
    assert index.look(*digest(b"b"))[0] >> 8 == 502


@pytest.mark.parametrize("seed", range(3))
def test_it_keeps_its_books(seed: int) -> None:
    """Against a dict: whatever is done, sizes add up and what is there is found."""
    dice = random.Random(seed)
    index = make(40)
    sizes: dict[tuple[int, int], int] = {}
    for step in range(3000):
        key = digest(b"%d" % dice.randrange(60))
        action = dice.randrange(4)
        if action < 2:
            size = dice.randrange(1000)
            removed = index.store(*key, size, NOW, 0, 0, NOW + step)[2]
            sizes[key] = size
            if removed is not None:
                del sizes[removed.first, removed.second]
        elif action == 2:
            assert index.drop(*key) == (key in sizes)
            sizes.pop(key, None)
        else:
            removed = index.use(*key, NOW + step)[4]
            if removed is not None:
                del sizes[removed.first, removed.second]
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
                if dice.randrange(3):
                    store(index, key)
                else:
                    index.drop(*digest(key))
        while index.count() < 20:
            pass
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        for number in range(200):
            store(index, b"%d" % number)
        assert index.count() == 63 and index.size() == 6300
        assert len(index.shrink(0, 100)) == 63 and index.size() == 0
