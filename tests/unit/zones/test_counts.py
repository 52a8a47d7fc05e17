"""Counts by key and owner, and owners that are gone."""

from __future__ import annotations

import os
import random
import signal
from collections import Counter

from portico.zones.counts import COLUMNS, FULL, REACHED, Counts
from portico.zones.owner import is_alive, own_identity
from portico.zones.rows import Rows
from portico.zones.states import fingerprint
from portico.zones.table import SharedTable


def make(slots: int) -> Counts:
    return Counts(SharedTable(slots, COLUMNS))


def test_up_to_the_limit() -> None:
    counts = make(8)
    key = fingerprint(b"a")
    slot = counts.acquire(*key, 1, 2)
    assert slot > 0 and counts.acquire(*key, 1, 2) == slot
    assert counts.acquire(*key, 1, 2) == REACHED
    counts.release(slot, 1)
    assert counts.count(*key) == 1 and counts.acquire(*key, 1, 2) == slot


def test_owners_add_up() -> None:
    counts = make(8)
    key = fingerprint(b"a")
    one, two = counts.acquire(*key, 1, 3), counts.acquire(*key, 2, 3)
    assert one != two and counts.acquire(*key, 2, 3) == two
    assert counts.acquire(*key, 1, 3) == REACHED and sorted(counts.owners(*key)) == [1, 2]
    counts.release(one, 2)  # not its own: nothing happens
    assert counts.count(*key) == 3
    counts.release(one, 1)
    assert counts.count(*key) == 2 and counts.owners(*key) == [2]


def test_a_full_table_says_so_and_rows_come_back() -> None:
    counts = make(4)
    slots = [counts.acquire(*fingerprint(b"%d" % n), 1, 1) for n in range(4)]
    assert slots[3] == FULL and min(slots[:3]) > 0
    counts.release(slots[1], 1)
    assert counts.acquire(*fingerprint(b"3"), 1, 1) == slots[1]
    assert counts.acquire(*fingerprint(b"4"), 1, 1) == FULL


def test_as_a_counter_does() -> None:
    rng = random.Random(3)
    counts = make(64)
    model: Counter[tuple[bytes, int]] = Counter()
    held: list[tuple[bytes, int, int]] = []
    for _ in range(5000):
        if held and rng.random() < 0.5:
            key, owner, slot = held.pop(rng.randrange(len(held)))
            counts.release(slot, owner)
            model[key, owner] -= 1
        else:
            key, owner = b"%d" % rng.randrange(20), rng.randrange(1, 4)
            slot = counts.acquire(*fingerprint(key), owner, 5)
            total = sum(number for (name, _), number in model.items() if name == key)
            assert (slot > 0) == (total < 5)
            if slot > 0:
                held.append((key, owner, slot))
                model[key, owner] += 1


def test_what_the_dead_counted_is_removed() -> None:
    counts = make(32)
    for n in range(10):
        for owner in (1, 2):
            counts.acquire(*fingerprint(b"%d" % n), owner, 9)
    assert counts.remove_dead(lambda owner: owner == 2) == 1
    assert all(counts.owners(*fingerprint(b"%d" % n)) == [2] for n in range(10))
    assert counts.remove_dead(lambda owner: owner == 2) == 0
    assert sum(counts.acquire(*fingerprint(b"x%d" % n), 3, 1) > 0 for n in range(30)) == 21


def test_who_is_killed_before_it_counts_leaves_no_row() -> None:
    table = SharedTable(4, COLUMNS)
    counts = Counts(table)
    Rows(table, COLUMNS).add(5, 6)
    assert counts.count(5, 6) == 0 and counts.remove_dead(lambda owner: True) == 0
    assert [counts.acquire(number, 1, 1, 1) > 0 for number in range(4)] == [True, True, True, False]


def test_who_is_alive() -> None:
    mine = own_identity()
    assert is_alive(mine) and not is_alive(mine ^ 1), "the same number, but started at another time"
    pid = os.fork()
    if pid == 0:
        signal.pause()
    other = pid << 32
    assert is_alive(own_identity())
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            other |= int(stat.read().rpartition(b")")[2].split()[19]) & 0xFFFFFFFF
        assert is_alive(other)
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    assert not is_alive(other)
