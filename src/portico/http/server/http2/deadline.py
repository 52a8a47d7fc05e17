"""A deadline of its own for each of the waits that share a connection."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from portico.net.timers import Timed


@final
class Deadline(Timed):
    """Calls `act` when it has passed."""

    def __init__(self, act: Callable[[], None]) -> None:
        super().__init__()
        self._act = act

    def on_deadline(self, now: float) -> None:
        self._act()
