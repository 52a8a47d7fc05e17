"""What was asked for lately: what is asked for once in a long while takes nobody's place."""

from __future__ import annotations

from typing import Final, final

_LEAST: Final = 64


@final
class Recent:
    """The keys asked for last, of each one byte in a place that others may take.

    Who keeps things for those that come again does it at the second time. A key asked for again after as many others as there are
    places is known with a chance of one in e; one that was never asked for is taken for another one once in 255 times, which does
    no harm. (The doorkeeper of TinyLFU; this one forgets by itself.)
    """

    def __init__(self) -> None:
        self._marks = bytearray(_LEAST)

    def is_again(self, key: int, most: int) -> bool:
        """Note that a key, which is some hash, was asked for; whether it was among about the last `most`."""
        marks = self._marks
        if len(marks) < most:
            marks = self._marks = bytearray(2 * most)
        place = key % len(marks)
        mark = (key >> 32) & 0xFF or 1
        if marks[place] == mark:
            return True
        marks[place] = mark
        return False
