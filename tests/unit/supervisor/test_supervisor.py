"""The supervisor as a story, without processes: what happens to it, and what it does then.

Every row is an event and the system calls that follow: `fork` gives 101, 102, …, `kill` and `load` are noted, time stands still but
for `pass`. The meanings of the signals are nginx's, https://nginx.org/en/docs/control.html.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.supervisor.plans import Log, NotedPlan, mistake, prepared

from portico.config.diagnostics import Diagnostics
from portico.supervisor import pidfile, signals, supervisor, title, workers
from portico.supervisor.plan import LoadFailed, Plan
from portico.supervisor.signals import Received
from portico.supervisor.supervisor import READY_LIMIT, Supervisor

Story = list[tuple[str, list[str]]]
NUMBERS = {
    "HUP": signal.SIGHUP, "QUIT": signal.SIGQUIT, "TERM": signal.SIGTERM, "INT": signal.SIGINT, "USR1": signal.SIGUSR1,
    "USR2": signal.SIGUSR2, "WINCH": signal.SIGWINCH,
}  # fmt: skip
START: tuple[str, list[str]] = ("start", ["fork 101", "fork 102"])
READY: Story = [START, ("ready 101", []), ("ready 102", [])]
OLD_BINARY = 50


class Told(Exception):
    """The story is at its end, and the supervisor still runs."""


class Kernel:
    """Time, signals and processes."""

    def __init__(self, story: Story, directory: Path) -> None:
        self.story = story
        self.directory = directory
        self.at = -1
        self.done: list[str] = []  # since the last event
        self.now = 1000.0
        self.next_pid = 100
        self.parent = 1
        self.deaths: list[tuple[int, int]] = []
        self.load_fails: list[str] = []
        self.waited: float | None = None
        self.server: Supervisor | None = None

    # -- what the supervisor calls

    def monotonic(self) -> float:
        return self.now

    def fork(self) -> int:
        self.next_pid += 1
        self.done.append(f"fork {self.next_pid}")
        return self.next_pid

    def kill(self, pid: int, number: int) -> None:
        self.done.append(f"{signal.Signals(number).name[3:]} {pid}")

    def waitpid(self, pid: int, options: int) -> tuple[int, int]:
        assert (pid, options) == (-1, os.WNOHANG)
        return self.deaths.pop(0) if self.deaths else (0, 0)

    def load(self, running: Plan | None) -> Plan:
        self.done.append("load")
        if self.load_fails:
            diagnostics = Diagnostics()
            diagnostics.error(mistake(self.load_fails.pop()))
            raise LoadFailed(diagnostics)
        return plan(self.directory)

    def wait(self, seconds: float | None) -> Received | None:
        """The next event; before it, what the last one led to is compared."""
        self.compare()
        self.at += 1
        if self.at + 1 >= len(self.story):
            raise Told
        self.waited = seconds
        return self._happen(self.story[self.at + 1][0])

    def compare(self) -> None:
        event, expected = self.story[self.at + 1]
        assert self.done == expected, f"after {event!r}"
        self.done = []

    def _happen(self, event: str) -> Received | None:
        word, _, rest = event.partition(" ")
        assert self.server is not None
        if word in NUMBERS:
            return Received(NUMBERS[word], 7, rest != "of a terminal")
        if word == "ready":
            os.write(self.server.workers._ready_end, f"{rest}\n".encode())
        elif word == "exit":
            pid, _, status = rest.partition(" ")
            self.deaths.append((int(pid), int(status or "0") << 8))
        elif word == "killed":
            self.deaths.append((int(rest), signal.SIGKILL))
        elif word == "pass":
            assert self.waited is not None, "it would sleep for ever"
            self.now += float(rest)
            assert self.waited <= float(rest) or not self.story[self.at + 1][1], "it would sleep longer"
        elif word == "breaks":
            self.load_fails.append("unknown directive")
        elif word == "orphaned":
            self.parent = 1
        return None


def plan(directory: Path, text: str = "worker_processes 2;") -> NotedPlan:
    return NotedPlan(directory, f"{text} pid {directory}/pid;")


class Scene:
    def __init__(self, kernel: Kernel, server: Supervisor, log: Log) -> None:
        self.kernel = kernel
        self.server = server
        self.log = log
        self.still_runs = True

    def play(self) -> int | None:
        """The exit code; None when it still runs at the end of the story."""
        try:
            code = self.server.run()
        except Told:
            return None
        self.still_runs = False
        self.kernel.compare()
        assert self.kernel.at + 2 == len(self.kernel.story), "it ended before the story"
        return code

    def told(self) -> list[str]:
        """What it logged, from the first configuration's log on."""
        logs = sorted(self.kernel.directory.glob("log*"), key=lambda path: path.stat().st_mtime_ns)
        return [message for path in logs for message in path.read_text().splitlines()]


Play = Callable[..., Scene]


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Play]:
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)  # of the ready pipe
    stderr = os.dup(2)
    made: list[Scene] = []

    def make(story: Story, text: str = "worker_processes 2;", old_binary: int = 0, hangup_ends: bool = False) -> Scene:
        kernel = Kernel(story, tmp_path)
        kernel.parent = old_binary
        for module in (supervisor, workers):
            monkeypatch.setattr(module, "time", kernel)
        for name, call in (("fork", kernel.fork), ("kill", kernel.kill), ("waitpid", kernel.waitpid)):
            monkeypatch.setattr(os, name, call)
        monkeypatch.setattr(os, "getppid", lambda: kernel.parent)
        monkeypatch.setattr(signals, "wait", kernel.wait)
        monkeypatch.setattr(title, "show", lambda text: None)
        monkeypatch.setattr(supervisor, "start_new_binary", lambda sockets, report: kernel.fork())
        first = prepared(plan(tmp_path, text))
        log = Log(tmp_path, "early").open()
        log.report.log = first.plan.error_log
        log.report.starting = True
        pidfile.write(str(tmp_path / "pid"), os.getpid())
        server = Supervisor(kernel.load, first, log.report, None, old_binary)
        if hangup_ends:
            server.let_hangup_end()
        kernel.server = server
        made.append(Scene(kernel, server, log))
        return made[-1]

    yield make
    for one in made:
        if one.still_runs:
            one.server.workers.close()
    os.dup2(stderr, 2)
    os.close(stderr)
    signal.signal(signal.SIGIO, before)


@pytest.mark.parametrize("number", ["TERM", "INT"])
def test_the_fast_end(scene: Play, tmp_path: Path, number: str) -> None:
    made = scene([
        *READY,
        (number, ["TERM 101", "TERM 102"]),
        ("exit 101", []),
        (number, []),  # they are told once
        ("exit 102", []),
    ])  # fmt: skip
    assert made.play() == 0
    assert not (tmp_path / "pid").exists()


def test_a_worker_that_does_not_end_is_killed(scene: Play) -> None:
    made = scene([*READY, ("TERM", ["TERM 101", "TERM 102"]), ("exit 102", []), ("pass 2", ["KILL 101"]), ("killed 101", [])])
    assert made.play() == 0


def test_the_graceful_end_has_no_limit_of_its_own_and_a_fast_one_may_follow(scene: Play) -> None:
    made = scene([
        *READY,
        ("QUIT", ["QUIT 101", "QUIT 102"]),
        ("QUIT", []),
        ("HUP", []),
        ("USR2", []),
        ("WINCH", []),
        ("exit 101", []),
        ("TERM", ["TERM 102"]),
        ("exit 102", []),
    ])  # fmt: skip
    assert made.play() == 0


def test_the_old_workers_go_once_every_new_one_serves(scene: Play) -> None:
    made = scene([
        *READY,
        ("HUP", ["load", "fork 103", "fork 104"]),
        ("ready 103", []),
        ("ready 104", ["QUIT 101", "QUIT 102"]),
        ("exit 101", []),
        ("exit 102", []),
    ])  # fmt: skip
    assert made.play() is None


def test_a_reload_does_not_wait_for_ever(scene: Play) -> None:
    """A new worker that is slow to serve does not keep the old ones."""
    made = scene([
        *READY, ("HUP", ["load", "fork 103", "fork 104"]), ("ready 103", []), (f"pass {READY_LIMIT:g}", ["QUIT 101", "QUIT 102"]),
    ])  # fmt: skip
    assert made.play() is None


def test_a_reload_that_fails_changes_nothing(scene: Play) -> None:
    made = scene([*READY, ("breaks", []), ("HUP", ["load"]), ("exit 101 1", ["fork 103"]), ("HUP", ["load", "fork 104", "fork 105"])])
    first = made.server.running
    assert made.play() is None
    assert first.plan.life == ["close"]  # type: ignore[attr-defined]  # only once the second was there
    assert any("[emerg]" in line and line.endswith("unknown directive") for line in made.told())


def test_reloads_in_a_row(scene: Play) -> None:
    made = scene([
        *READY,
        ("HUP", ["load", "fork 103", "fork 104"]),
        ("HUP", ["load", "fork 105", "fork 106"]),
        ("ready 103", []),
        ("ready 105", []),
        ("ready 106", ["QUIT 101", "QUIT 102", "QUIT 103", "QUIT 104"]),
    ])  # fmt: skip
    assert made.play() is None


def test_a_dead_worker_is_replaced_later_and_later(scene: Play) -> None:
    made = scene([
        *READY,
        ("exit 101 1", ["fork 103"]),
        ("killed 103", []),
        ("pass 0.11", ["fork 104"]),
        ("killed 104", []),
        ("pass 0.19", []),
        ("pass 0.02", ["fork 105"]),
    ])  # fmt: skip
    assert made.play() is None


def test_an_old_worker_is_not_replaced(scene: Play) -> None:
    made = scene([*READY, ("HUP", ["load", "fork 103", "fork 104"]), ("exit 101 1", [])])
    assert made.play() is None


def test_workers_that_can_never_run_end_the_supervisor_with_1(scene: Play) -> None:
    """Exit code 2 is nginx's for "starting it again would not help"."""
    made = scene([START, ("exit 101 2", []), ("exit 102 2", [])])
    assert made.play() == 1
    assert any("[emerg]" in line and line.endswith("no worker process can be started") for line in made.told())


def test_new_workers_that_can_never_run_leave_the_old_ones(scene: Play) -> None:
    made = scene([
        *READY,
        ("HUP", ["load", "fork 103", "fork 104"]),
        ("exit 103 2", []),
        ("exit 104 2", []),
        ("HUP", ["load", "fork 105", "fork 106"]),
    ])  # fmt: skip
    assert made.play() is None


def test_logs_are_opened_anew_here_and_in_the_workers(scene: Play) -> None:
    made = scene([*READY, ("USR1", ["USR1 101", "USR1 102"])])
    assert made.play() is None
    assert [step for step in made.server.running.plan.life if step.startswith("reopen")]  # type: ignore[attr-defined]


def test_a_terminal_that_is_resized_stops_nobody(scene: Play) -> None:
    made = scene([*READY, ("WINCH of a terminal", []), ("WINCH", ["QUIT 101", "QUIT 102"]), ("exit 101", []), ("exit 102", [])])
    assert made.play() is None  # it stays without workers, for the new binary serves


def test_an_upgrade(scene: Play, tmp_path: Path) -> None:
    made = scene([
        *READY,
        ("USR2", ["fork 103"]),
        ("USR2", []),  # one is under way
        ("WINCH", ["QUIT 101", "QUIT 102"]),
        ("exit 101", []),
        ("exit 102", []),
        ("QUIT", []),
    ])  # fmt: skip
    assert made.play() == 0
    assert not (tmp_path / "pid.oldbin").exists()
    assert any("[crit]" in line and line.endswith(supervisor.NEW_BINARY_IN_THE_WAY) for line in made.told())


def test_the_way_back_from_an_upgrade(scene: Play, tmp_path: Path) -> None:
    """HUP starts the workers again with the configuration that they had; the new binary's death gives the pid file back."""
    made = scene([
        *READY,
        ("USR2", ["fork 103"]),
        ("WINCH", ["QUIT 101", "QUIT 102"]),
        ("HUP", ["fork 104", "fork 105"]),
        ("HUP", []),
        ("exit 103", []),
        ("HUP", ["load", "fork 106", "fork 107"]),
    ])  # fmt: skip
    assert made.play() is None
    assert pidfile.read(str(tmp_path / "pid")) == os.getpid()
    assert not (tmp_path / "pid.oldbin").exists()


def test_a_new_binary_that_dies_is_replaced_by_the_old_workers(scene: Play, tmp_path: Path) -> None:
    made = scene([*READY, ("USR2", ["fork 103"]), ("WINCH", ["QUIT 101", "QUIT 102"]), ("exit 103 1", ["fork 104", "fork 105"])])
    assert made.play() is None
    assert pidfile.read(str(tmp_path / "pid")) == os.getpid()


def test_no_second_upgrade_while_the_program_that_started_us_lives(scene: Play) -> None:
    made = scene([*READY, ("USR2", []), ("orphaned", []), ("USR2", ["fork 103"])], old_binary=OLD_BINARY)
    assert made.play() is None


def test_an_upgrade_without_a_pid_file_does_not_begin(scene: Play, tmp_path: Path) -> None:
    made = scene([*READY, ("USR2", [])])
    (tmp_path / "pid").unlink()
    assert made.play() is None
    assert any("[alert]" in line and "before executing new binary process" in line for line in made.told())


def test_hangup_as_the_end(scene: Play) -> None:
    made = scene([*READY, ("HUP", ["TERM 101", "TERM 102"]), ("exit 101", []), ("exit 102", [])], hangup_ends=True)
    assert made.play() == 0


def test_the_pid_file_moves_with_the_configuration(scene: Play, tmp_path: Path) -> None:
    made = scene([*READY, ("HUP", ["load", "fork 103", "fork 104"])])

    def load(running: Plan | None) -> Plan:
        made.kernel.done.append("load")
        return NotedPlan(tmp_path, f"worker_processes 2; pid {tmp_path}/moved;")

    made.server.load = load
    assert made.play() is None
    assert pidfile.read(str(tmp_path / "moved")) == os.getpid()
    assert not (tmp_path / "pid").exists()


def test_a_pid_file_that_cannot_be_written_keeps_the_old_configuration(scene: Play, tmp_path: Path) -> None:
    made = scene([*READY, ("HUP", ["load"])])
    fresh = NotedPlan(tmp_path, "pid /nonexistent/pid;")

    def load(running: Plan | None) -> Plan:
        made.kernel.done.append("load")
        return fresh

    made.server.load = load
    first = made.server.running
    assert made.play() is None
    assert made.server.running is first
    assert fresh.life == ["open", "close"]
    assert pidfile.read(str(tmp_path / "pid")) == os.getpid()
