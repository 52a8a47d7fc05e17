"""Which keys were asked for lately."""

from __future__ import annotations

import random

from portico.cache.recent import Recent

DICE = random.Random(3)
KEYS = [DICE.getrandbits(64) - (1 << 63) for _ in range(5000)]


def test_again_soon() -> None:
    recent = Recent()
    assert not recent.is_again(KEYS[0], 1000)
    assert recent.is_again(KEYS[0], 1000)
    again = 0
    for n in range(20, 4020, 20):  # after twenty others
        again += sum(recent.is_again(key, 1000) for key in KEYS[n - 20 : n]) == 0
    assert again > 150
    known = sum(recent.is_again(key, 1000) for key in KEYS[4000 - 100 : 4000])
    assert known > 85


def test_forgotten_after_many() -> None:
    recent = Recent()
    for key in KEYS:
        recent.is_again(key, 100)
    assert sum(recent.is_again(key, 100) for key in KEYS[:1000]) < 40


def test_memory_is_bounded() -> None:
    recent = Recent()
    for key in KEYS:
        recent.is_again(key, 0)  # nothing is kept: a few are remembered all the same
    assert len(recent._marks) == 64
    recent.is_again(1, 300)
    assert len(recent._marks) == 600
