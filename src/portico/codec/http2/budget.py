"""How much a peer may ask for that costs something and brings nothing, before it is told to be calm."""

from __future__ import annotations

from typing import Final, final

from portico.codec.http2.errors import ENHANCE_YOUR_CALM, Http2Error
from portico.codec.http2.frames import NAMES

BUDGET: Final = 1000  # frames
_REFILL: Final = 10.0  # frames a second
_EARNED: Final = 4  # frames, for each stream that came to its end, and each piece of content that was sent


@final
class Budget:
    """The frames that one connection has left."""

    def __init__(self) -> None:
        self._left = BUDGET
        self._refilled: float = 0.0

    def refill(self, now: float) -> None:
        """Note the time, in seconds of a monotonic clock."""
        if self._left >= BUDGET:
            self._refilled = now
        elif now - self._refilled >= 1.0:
            self._left = min(BUDGET, self._left + int((now - self._refilled) * _REFILL))
            self._refilled = now

    def spend(self, kind: int) -> None:
        """Count a frame. Raises Http2Error when there were too many."""
        self._left -= 1
        if self._left < 0:
            raise Http2Error(ENHANCE_YOUR_CALM, f"a flood of {NAMES.get(kind, 'unknown')} frames")

    def is_full(self) -> bool:
        """Return whether nothing has been spent."""
        return self._left >= BUDGET

    def earn(self) -> None:
        """Give something back: work that brought the peer what it wanted."""
        self._left = min(BUDGET, self._left + _EARNED)
