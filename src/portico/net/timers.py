"""Deadlines without a heap: a wheel of coarse slots.

A proxy sets a deadline for every wait and almost none is ever reached. So setting one is an assignment to `Timed.deadline`;
only when the object is in no slot early enough is it put into one. When a slot comes up, objects whose deadline has moved on are
put into a later slot. A deadline is met late by at most `SLOT` seconds, never early.
"""

from __future__ import annotations

from typing import Final, final

SLOT: Final = 0.05  # seconds; nginx's timers have millisecond keys, its time is cached per wake-up as ours
NEVER: Final = 1e18


class Timed:
    """Something with a deadline. `deadline` is in monotonic seconds; 0.0 is none."""

    def __init__(self) -> None:
        self.deadline: float = 0.0
        self.slot: int = 0  # the slot that holds it; 0 = none

    def on_deadline(self, now: float) -> None:
        """Act on the deadline, which has passed and has been cleared before this is called."""
        raise NotImplementedError


@final
class Timers:
    """The wheel. Slots are kept in a dict, so far deadlines need no cascade."""

    def __init__(self, now: float) -> None:
        self.due: float = NEVER  # no slot comes up before this
        self._slots: dict[int, dict[Timed, None]] = {}

    def set(self, timed: Timed, deadline: float) -> None:
        """Have `timed.on_deadline` called once `deadline` (monotonic seconds) has passed. Replaces an earlier deadline."""
        timed.deadline = deadline
        slot = int(deadline / SLOT) + 1
        if timed.slot == 0 or slot < timed.slot:
            self._put(timed, slot)

    def forget(self, timed: Timed) -> None:
        """Take `timed` out of the wheel for good: a closed connection must not be held until its slot comes up."""
        timed.deadline = 0.0
        if timed.slot != 0:
            entries = self._slots.get(timed.slot)
            timed.slot = 0
            if entries is not None:
                entries.pop(timed, None)

    def next_due(self) -> float:
        """Return when to wake up for a timer at the latest, in monotonic seconds; -1.0 when there is none."""
        return self.due if self.due < NEVER else -1.0

    def _put(self, timed: Timed, slot: int) -> None:
        if timed.slot != 0:
            earlier = self._slots.get(timed.slot)
            if earlier is not None:
                earlier.pop(timed, None)
        timed.slot = slot
        entries = self._slots.get(slot)
        if entries is None:
            self._slots[slot] = {timed: None}
            due = slot * SLOT
            if due < self.due:
                self.due = due
        else:
            entries[timed] = None

    def run(self, now: float) -> None:
        """Serve the slots that have come up."""
        current = int(now / SLOT)
        for slot in [number for number in self._slots if number <= current]:
            for timed in self._slots.pop(slot):
                if timed.slot != slot:
                    continue  # forgotten by one that was served just before it
                timed.slot = 0
                deadline = timed.deadline
                if deadline == 0.0:
                    continue
                if deadline <= now:
                    timed.deadline = 0.0
                    timed.on_deadline(now)
                else:
                    self._put(timed, int(deadline / SLOT) + 1)
        self.due = min(self._slots) * SLOT if self._slots else NEVER
