"""The wheel of deadlines: never early, late by at most one slot, and nothing is called that was cleared or forgotten."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

import portico.net.timers
from portico.net.timers import SLOT, Timed, Timers

COMPILED = str(portico.net.timers.__file__).endswith(".so")
TICK = 1e-6  # seconds; the clock has gone on when a wait is over
pytestmark = pytest.mark.skipif(COMPILED, reason="an interpreted class cannot inherit from a compiled one")


class Alarm(Timed):
    """Notes when it was called, and then does `then`."""

    def __init__(self, then: Callable[[float], None] | None = None) -> None:
        super().__init__()
        self.calls: list[float] = []
        self.then = then

    def on_deadline(self, now: float) -> None:
        assert self.deadline == 0.0  # cleared before
        self.calls.append(now)
        if self.then is not None:
            self.then(now)


def drive(timers: Timers, until: float, start: float = 0.0) -> list[float]:
    """Let time pass as the reactor does: it wakes up just after the next slot is due. Returns when it woke up."""
    woken = []
    now = start
    while 0.0 <= timers.next_due() <= until:
        now = max(now, timers.next_due() + TICK)
        timers.run(now)
        woken.append(now)
        assert len(woken) < 1000
    return woken


def test_nothing_to_wake_up_for() -> None:
    timers = Timers(0.0)
    assert timers.next_due() == -1.0
    timers.run(1e6)
    assert timers.next_due() == -1.0


@given(st.floats(0.001, 1e7))
def test_met_late_by_at_most_a_slot_and_never_early(deadline: float) -> None:
    timers = Timers(0.0)
    alarm = Alarm()
    timers.set(alarm, deadline)
    drive(timers, deadline + 1.0)
    assert len(alarm.calls) == 1
    assert deadline <= alarm.calls[0] <= deadline + SLOT + 2 * TICK
    assert timers.next_due() == -1.0


def test_a_deadline_that_is_set_again_and_again_stays_in_its_slot() -> None:
    """As with every request on a connection: an assignment, and one move when the slot comes up."""
    timers = Timers(0.0)
    alarm = Alarm()
    for request in range(100):
        timers.set(alarm, 60.0 + request * 0.01)
    woken = drive(timers, 100.0)
    assert len(woken) == 2
    assert len(alarm.calls) == 1 and alarm.calls[0] >= 60.99


def test_a_deadline_that_moves_ahead_is_met() -> None:
    timers = Timers(0.0)
    alarm = Alarm()
    timers.set(alarm, 60.0)
    timers.set(alarm, 5.0)
    drive(timers, 100.0)
    assert len(alarm.calls) == 1 and 5.0 <= alarm.calls[0] <= 5.0 + 2 * SLOT


def test_a_cleared_deadline_is_not_met_and_may_be_set_anew() -> None:
    timers = Timers(0.0)
    alarm = Alarm()
    timers.set(alarm, 5.0)
    alarm.deadline = 0.0
    assert drive(timers, 6.0) and alarm.calls == []
    assert timers.next_due() == -1.0
    timers.set(alarm, 8.0)
    drive(timers, 10.0)
    assert len(alarm.calls) == 1


def test_set_after_clear_while_the_slot_still_holds_it() -> None:
    timers = Timers(0.0)
    alarm = Alarm()
    timers.set(alarm, 5.0)
    alarm.deadline = 0.0
    timers.set(alarm, 20.0)
    drive(timers, 30.0)
    assert len(alarm.calls) == 1 and alarm.calls[0] >= 20.0


def test_what_is_forgotten_is_held_by_nothing() -> None:
    timers = Timers(0.0)
    alarm = Alarm()
    timers.forget(alarm)  # never set
    timers.set(alarm, 5.0)
    timers.forget(alarm)
    assert (alarm.deadline, alarm.slot) == (0.0, 0)
    assert not any(alarm in entries for entries in timers._slots.values())
    drive(timers, 10.0)
    assert alarm.calls == []


def test_one_that_is_forgotten_by_another_of_the_same_slot_is_not_called() -> None:
    """A connection that times out closes another one."""
    timers = Timers(0.0)
    other = Alarm()
    first = Alarm(lambda now: timers.forget(other))
    timers.set(first, 5.0)
    timers.set(other, 5.0)
    drive(timers, 10.0)
    assert (len(first.calls), len(other.calls)) == (1, 0)


def test_one_that_is_cleared_by_another_of_the_same_slot_is_not_called() -> None:
    timers = Timers(0.0)
    other = Alarm()
    first = Alarm(lambda now: setattr(other, "deadline", 0.0))
    timers.set(first, 5.0)
    timers.set(other, 5.0)
    drive(timers, 10.0)
    assert (len(first.calls), len(other.calls)) == (1, 0)


def test_one_that_is_forgotten_and_set_anew_by_another_keeps_its_new_deadline() -> None:
    timers = Timers(0.0)
    other = Alarm()

    def renew(now: float) -> None:
        timers.forget(other)
        timers.set(other, 9.0)

    first = Alarm(renew)
    timers.set(first, 5.0)
    timers.set(other, 5.0)
    drive(timers, 20.0)
    assert len(first.calls) == 1
    assert len(other.calls) == 1 and other.calls[0] >= 9.0


def test_one_that_sets_itself_again_is_called_once_a_turn() -> None:
    """A deadline of now, set while the slot is served, waits for the next slot: the loop goes on serving sockets."""
    timers = Timers(0.0)
    alarm = Alarm()
    alarm.then = lambda now: timers.set(alarm, now)
    timers.set(alarm, 1.0)
    timers.run(2.0)
    assert alarm.calls == [2.0]
    assert timers.next_due() > 2.0
    timers.run(timers.next_due())
    assert len(alarm.calls) == 2


def test_slots_that_were_missed_are_all_served() -> None:
    """The worker was suspended, or one handler took long."""
    timers = Timers(0.0)
    alarms = [Alarm() for _ in range(50)]
    for number, alarm in enumerate(alarms):
        timers.set(alarm, 1.0 + number)
    timers.run(25.5)
    assert [len(alarm.calls) for alarm in alarms] == [1] * 25 + [0] * 25
    assert 25.5 < timers.next_due() <= 26.0 + SLOT * 1.001


actions = st.tuples(st.sampled_from(["set", "clear", "forget", "pass"]), st.integers(0, 4), st.floats(0.001, 3.0))


@given(st.lists(actions, max_size=40))
def test_any_sequence(steps: list[tuple[str, int, float]]) -> None:
    """Against the plain meaning: each alarm has one deadline or none."""
    timers = Timers(0.0)
    alarms = [Alarm() for _ in range(5)]
    wanted = [0.0] * 5
    now = 0.0
    for action, which, seconds in steps:
        alarm = alarms[which]
        if action == "set":
            timers.set(alarm, now + seconds)
            wanted[which] = now + seconds
        elif action == "clear":
            alarm.deadline = 0.0
            wanted[which] = 0.0
        elif action == "forget":
            timers.forget(alarm)
            wanted[which] = 0.0
        else:
            before = [len(each.calls) for each in alarms]
            end = now + seconds
            drive(timers, end, now)
            now = end
            timers.run(now)
            for number, deadline in enumerate(wanted):
                called = len(alarms[number].calls) - before[number]
                if deadline == 0.0 or deadline > now:
                    assert called == 0
                elif deadline <= now - 2 * SLOT:
                    assert called == 1
                if called:
                    wanted[number] = 0.0
