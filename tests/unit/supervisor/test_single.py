"""`master_process off`: one process serves one plan after the other."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.supervisor.plans import Log, NotedPlan, mistake, prepared

from portico.supervisor import pidfile, single
from portico.supervisor.plan import Plan, WorkerContext
from portico.supervisor.single import Single

Act = Callable[[WorkerContext], int]


@pytest.fixture(autouse=True)
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is of the whole process stays as it is: signals, environment, stderr."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [])
    stderr = os.dup(2)
    monkeypatch.setattr(single, "filter_environment", lambda settings: None)
    yield
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    os.dup2(stderr, 2)
    os.close(stderr)


class Served:
    """The plans that were served, each for one turn of `acts`."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch, plans: list[NotedPlan], acts: list[Act]) -> None:
        self.plans: list[Plan] = []
        self.acts = acts
        self.following = plans[1:]
        self.log = Log(directory, "early").open()
        self.pid = Path(plans[0].settings.pid)
        pidfile.write(str(self.pid), os.getpid())
        monkeypatch.setattr(single, "serve", self.serve)
        self.single = Single(self.load, prepared(plans[0]), self.log.report, None)

    def load(self, running: Plan | None) -> Plan:
        if not self.following:
            raise mistake("unknown directive")
        return self.following.pop(0)

    def serve(self, plan: Plan, context: WorkerContext) -> int:
        self.plans.append(plan)
        context.on_ready()
        return self.acts.pop(0)(context)


def reload(context: WorkerContext) -> None:
    assert context.on_reload is not None
    context.on_reload()


def quits(context: WorkerContext) -> int:
    context.quitting = True
    return 0


def terminates(context: WorkerContext) -> int:
    context.terminating = True
    return 0


def reloads(context: WorkerContext) -> int:
    told: list[str] = []
    context.on_quit = lambda: told.append("quit")
    reload(context)
    assert told == ["quit"]  # it finishes what is in flight, then the next plan is served
    return 0


def reloads_twice(context: WorkerContext) -> int:
    reload(context)
    reload(context)
    return 0


def plans(directory: Path, count: int) -> list[NotedPlan]:
    return [NotedPlan(directory, f"master_process off; pid {directory}/pid;") for _ in range(count)]


@pytest.mark.parametrize("act", [quits, terminates])
def test_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: Act) -> None:
    made = plans(tmp_path, 1)
    served = Served(tmp_path, monkeypatch, made, [act])
    assert served.single.run() == 0
    assert made[0].life == ["close"]
    assert not served.pid.exists()


def test_a_failure_is_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    served = Served(tmp_path, monkeypatch, plans(tmp_path, 1), [lambda context: 1])
    assert served.single.run() == 1
    assert not served.pid.exists()


def test_a_reload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = plans(tmp_path, 2)
    served = Served(tmp_path, monkeypatch, [first, second], [reloads, quits])
    assert served.single.run() == 0
    assert served.plans == [first, second]
    assert (first.life, second.life) == (["close"], ["open", "close"])


def test_a_second_reload_before_the_first_is_done_loads_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = plans(tmp_path, 3)
    served = Served(tmp_path, monkeypatch, made, [reloads_twice, quits])
    assert served.single.run() == 0
    assert served.plans == made[:2]


def test_a_reload_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is told to quit: the running plan goes on."""

    def act(context: WorkerContext) -> int:
        context.on_quit = lambda: pytest.fail("it was told to quit")
        reload(context)
        return quits(context)

    (first,) = plans(tmp_path, 1)
    served = Served(tmp_path, monkeypatch, [first], [act])
    assert served.single.run() == 0
    assert served.plans == [first]
    assert ("emerg", "unknown directive") in served.log.lines()


@pytest.mark.parametrize("end", [quits, terminates, lambda context: 1])
def test_the_end_comes_before_a_plan_that_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: Act) -> None:
    """QUIT behind HUP: the next plan is given back, not served."""

    def act(context: WorkerContext) -> int:
        reload(context)
        return end(context)

    first, second = plans(tmp_path, 2)
    served = Served(tmp_path, monkeypatch, [first, second], [act])
    served.single.run()
    assert served.plans == [first]
    assert (first.life, second.life) == (["close"], ["open", "close"])


def test_signals_wait_while_one_loop_follows_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HUP and USR1 are held back then; their default action would end the process."""
    seen: list[bool] = []

    def act(context: WorkerContext) -> int:
        reload(context)
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, [])
        seen.append({signal.SIGHUP, signal.SIGUSR1} <= blocked)
        return 0

    served = Served(tmp_path, monkeypatch, plans(tmp_path, 2), [act, quits])
    assert served.single.run() == 0
    assert seen == [True]
