"""Recently requested keys: what is requested once in a long while shall not evict anything."""

from __future__ import annotations

from typing import Final, final

_LEAST: Final = 64


@final
class Recent:
    """The keys requested last, one byte each in a slot that others may overwrite.

    A cache that admits entries at their second request asks it. A key requested again after as many others as there are slots is
    known with a chance of one in e; one that was never requested is taken for another one once in 255 times, which does no harm.
    (The doorkeeper of TinyLFU; this one forgets by itself.)
    """

    def __init__(self) -> None:
        self._marks = bytearray(_LEAST)

    def is_again(self, key: int, most: int) -> bool:
        """Note that a key, which is some hash, is requested; return whether it was among about the last `most`."""
        marks = self._marks
        if len(marks) < most:
            marks = self._marks = bytearray(2 * most)
        place = key % len(marks)
        mark = (key >> 32) & 0xFF or 1
        if marks[place] == mark:
            return True
        marks[place] = mark
        return False
