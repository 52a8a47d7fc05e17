"""Which entries were asked for lately: what a worker opens goes by, until it is asked for again."""

from __future__ import annotations

from typing import Final, final

_LEAST: Final = 64


@final
class Recent:
    """The keys asked for last, in two generations: as many as the worker has at hand, and at least half as many.

    A cache in memory keeps what is asked for again before as many others were. One that is asked for less often than that is of
    no use there. (TinyLFU's doorkeeper, but for that it counts nothing.) Keys are told by half of their digest.
    """

    def __init__(self) -> None:
        self._newer: set[int] = set()
        self._older: set[int] = set()

    def is_again(self, key: int, most: int) -> bool:
        """Note that a key was asked for; whether it was among the last `most`."""
        if key in self._newer:
            return True
        if 2 * len(self._newer) >= max(most, _LEAST):
            self._older = self._newer
            self._newer = set()
        self._newer.add(key)
        return key in self._older
