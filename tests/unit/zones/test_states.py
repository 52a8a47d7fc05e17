"""States by key: found, and forgotten in order of use."""

from __future__ import annotations

import random

from portico.zones.states import COLUMNS, States, fingerprint
from portico.zones.table import SharedTable


def make(slots: int) -> States:
    return States(SharedTable(slots, COLUMNS))


def put(states: States, key: bytes, last: int, excess: int) -> None:
    first, second = fingerprint(key)
    states.enter()
    try:
        slot = states.find(first, second)
        if slot:
            states.put(slot, last, excess)
        else:
            states.add(first, second, last, excess)
    finally:
        states.leave()


def get(states: States, key: bytes) -> tuple[int, int] | None:
    states.enter()
    try:
        return (states.last, states.excess) if states.find(*fingerprint(key)) else None
    finally:
        states.leave()


def test_what_was_put_is_found() -> None:
    states = make(8)
    assert get(states, b"a") is None
    put(states, b"a", 1, 2)
    put(states, b"b", 3, 4)
    put(states, b"a", 5, 6)
    assert (get(states, b"a"), get(states, b"b"), states.used()) == ((5, 6), (3, 4), 2)


def test_a_megabyte_holds_sixteen_thousand() -> None:
    states = make((1 << 20) // (8 * COLUMNS))
    for number in range(16_000):
        put(states, b"%d" % number, number, 0)
    assert all(get(states, b"%d" % number) == (number, 0) for number in range(16_000))


def test_the_one_used_longest_ago_is_forgotten() -> None:
    states = make(4)
    for key in (b"a", b"b", b"c"):
        put(states, key, 1, 1)
    get(states, b"a")
    put(states, b"d", 1, 1)
    assert [get(states, key) is not None for key in (b"a", b"b", b"c", b"d")] == [True, False, True, True]


def test_as_an_ordered_dict_does() -> None:
    rng = random.Random(5)
    states = make(33)
    model: dict[bytes, tuple[int, int]] = {}
    for step in range(5000):
        key = b"%d" % rng.randrange(60)
        expected = model.pop(key, None)
        assert get(states, key) == expected
        if expected is None or rng.random() < 0.5:
            expected = (step, rng.randrange(1000))
            put(states, key, *expected)
            if len(model) == 32:
                del model[next(iter(model))]
        model[key] = expected
    assert states.used() == 32


def test_fingerprints() -> None:
    assert fingerprint(b"a") == fingerprint(b"a")
    assert fingerprint(b"a") != fingerprint(b"a\0") and fingerprint(b"a")[0] != fingerprint(b"a")[1]
