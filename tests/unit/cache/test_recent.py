"""Which keys were asked for lately."""

from __future__ import annotations

from portico.cache.recent import Recent


def test_again_within_so_many() -> None:
    recent = Recent()
    assert not recent.is_again(1, 200)
    assert recent.is_again(1, 200)
    for key in range(2, 101):
        assert not recent.is_again(key, 200)
    assert recent.is_again(1, 200)  # a hundred others is half of it


def test_forgotten_after_so_many() -> None:
    recent = Recent()
    assert not recent.is_again(1, 200)
    for key in range(2, 202):
        assert not recent.is_again(key, 200)
    assert not recent.is_again(1, 200)


def test_memory_is_bounded() -> None:
    recent = Recent()
    for key in range(10_000):
        recent.is_again(key, 100)
    assert len(recent._newer) + len(recent._older) <= 100
    for key in range(10_000):
        recent.is_again(key, 0)  # nothing is at hand: a few are remembered all the same
    assert len(recent._newer) + len(recent._older) <= 64
