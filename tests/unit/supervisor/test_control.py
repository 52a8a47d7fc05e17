"""`-s`: the signals, and what is told when there is nobody to be told (nginx: ngx_signal_process)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from tests.unit.supervisor.plans import Log

from portico.supervisor import control


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """(pid, signal) of every kill(2), which is not done."""
    found: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: found.append((pid, number)))
    return found


@pytest.mark.parametrize(
    ("name", "number"),
    [("stop", signal.SIGTERM), ("quit", signal.SIGQUIT), ("reload", signal.SIGHUP), ("reopen", signal.SIGUSR1)],
)
def test_the_signals(tmp_path: Path, sent: list[tuple[int, int]], name: str, number: int) -> None:
    (tmp_path / "pid").write_text("4711\n")
    log = Log(tmp_path).open()
    assert control.send(name, str(tmp_path / "pid"), log.log) == 0
    assert sent == [(4711, number)]
    assert log.lines() == [("notice", "signal process started")]


def test_there_are_no_others() -> None:
    assert sorted(control.SIGNALS) == ["quit", "reload", "reopen", "stop"]


@pytest.mark.parametrize(
    ("content", "level", "message"),
    [
        (None, "error", 'open() "{}" failed (2: No such file or directory)'),
        ("", "error", 'invalid PID number "" in "{}"'),
        ("\n", "error", 'invalid PID number "" in "{}"'),
        ("0\n", "error", 'invalid PID number "0" in "{}"'),  # kill(0) is everybody in our own process group
        ("-1\n", "error", 'invalid PID number "-1" in "{}"'),  # and kill(-1) everybody at all
        ("+5\n", "error", 'invalid PID number "+5" in "{}"'),
        ("12 13\n", "error", 'invalid PID number "12 13" in "{}"'),
        ("2147483648\n", "error", 'invalid PID number "2147483648" in "{}"'),
        ("٣\n", "error", 'invalid PID number "٣" in "{}"'),  # a digit to str.isdecimal
    ],
)
def test_a_pid_file_that_names_no_process(
    tmp_path: Path, sent: list[tuple[int, int]], capfd: pytest.CaptureFixture[str], content: str | None, level: str, message: str
) -> None:
    path = tmp_path / "pid"
    if content is not None:
        path.write_text(content)
    log = Log(tmp_path).open()
    assert control.send("stop", str(path), log.log) == 1
    assert sent == []
    assert log.lines()[1:] == [(level, message.format(path))]
    assert capfd.readouterr().err == f"portico: [{level}] {message.format(path)}\n"


def test_a_process_that_is_gone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    def gone(pid: int, number: int) -> None:
        raise ProcessLookupError(3, "No such process")

    monkeypatch.setattr(os, "kill", gone)
    (tmp_path / "pid").write_text("4711\n")
    log = Log(tmp_path).open()
    assert control.send("quit", str(tmp_path / "pid"), log.log) == 1
    assert log.lines()[1:] == [("alert", "kill(4711, 3) failed (3: No such process)")]
    assert capfd.readouterr().err == "portico: [alert] kill(4711, 3) failed (3: No such process)\n"
