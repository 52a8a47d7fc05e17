"""USR2: the sockets go to the new program by their numbers in the environment (nginx: ngx_add_inherited_sockets)."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path

import pytest
from tests.processes import free_port
from tests.unit.supervisor.plans import Log

from portico.net.listen import ListenSpec
from portico.supervisor import signals, upgrade
from portico.supervisor.sockets import open_sockets


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path).open()


def listening() -> int:
    """A listening socket's descriptor that nobody else owns."""
    return socket.create_server(("127.0.0.1", 0)).detach()


def test_an_ordinary_start_inherits_nothing(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PORTICO", raising=False)
    assert upgrade.inherited_sockets(log.report) is None
    assert log.lines() == []


@pytest.mark.parametrize(
    ("value", "taken", "bad"),
    [
        ("{0};{1};", [0, 1], None),
        ("{0}", [0], None),
        (";;{0};;", [0], None),
        ("", [], None),
        ("{0};x;{1};", [0], "x"),
        ("{0};-1;{1};", [0], "-1"),
        ("{0};1.5;", [0], "1.5"),
        ("{0}; {1};", [0], " {1}"),
        ("{0};٣;", [0], "٣"),
        ("{0};99999;", [0], None),  # no descriptor of that number is open: nothing to take over
    ],
)
def test_the_variable(log: Log, monkeypatch: pytest.MonkeyPatch, value: str, taken: list[int], bad: str | None) -> None:
    descriptors = [listening(), listening()]
    text = value.format(*descriptors)
    monkeypatch.setenv("PORTICO", text)
    found = upgrade.inherited_sockets(log.report)
    assert found is not None
    assert sorted(one.fileno() for one in found.all()) == sorted(descriptors[number] for number in taken)
    assert not any(os.get_inheritable(one.fileno()) for one in found.all())
    assert "PORTICO" not in os.environ  # a program that a worker starts does not get it
    told = [("notice", f'using inherited sockets from "{text}"')]
    if bad is not None:
        number = bad.format(*descriptors)
        told.append(
            ("emerg", f'invalid socket number "{number}" in PORTICO environment variable, ignoring the rest of the variable')
        )
    assert log.lines() == told
    found.close(unlink=False)
    for descriptor in set(descriptors) - {descriptors[number] for number in taken}:
        os.close(descriptor)


class Ended(Exception):
    """Instead of the end of a process."""


@pytest.mark.parametrize("failure", [None, OSError(2, "No such file or directory")])
def test_the_new_program(
    log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: OSError | None
) -> None:
    """The child runs the same command with the listening sockets open; when that fails it ends, and says why."""
    sockets = open_sockets([ListenSpec(socket.AF_INET, ("127.0.0.1", free_port())) for _ in range(2)], 1, None, log.report)
    numbers = [one.fileno() for one in sockets.all()]
    ran: list[tuple[str, list[str], dict[str, str]]] = []
    events: list[str] = []

    def execve(path: str, command: list[str], environment: dict[str, str]) -> None:
        ran.append((path, command, environment))
        assert all(os.get_inheritable(number) for number in numbers)
        assert events == ["unblocked"]
        if failure is not None:
            raise failure
        raise Ended

    def leave(code: int) -> None:
        events.append(f"left with {code}")
        raise Ended

    monkeypatch.setattr(os, "fork", lambda: 0)
    monkeypatch.setattr(os, "execve", execve)
    monkeypatch.setattr(upgrade, "leave", leave)
    monkeypatch.setattr(signals, "unblock", lambda: events.append("unblocked"))
    monkeypatch.setattr(sys, "executable", "/usr/bin/python3")
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "portico", "-c", "x.conf"])
    monkeypatch.setenv("KEPT", "1")
    with pytest.raises(Ended):
        upgrade.start_new_binary(sockets, log.report)
    ((path, command, environment),) = ran
    assert path == "/usr/bin/python3"
    assert command == ["/usr/bin/python3", "-m", "portico", "-c", "x.conf"]
    assert environment["PORTICO"] == f"{numbers[0]};{numbers[1]};"
    assert environment["KEPT"] == "1" and "PORTICO" not in os.environ
    assert events[-1] == "left with 1"
    if failure is not None:
        assert log.lines() == [(
            "alert", 'execve() of "/usr/bin/python3 -m portico -c x.conf" failed (2: No such file or directory) '
            "while executing new binary process",
        )]  # fmt: skip
    sockets.close(unlink=True)


def test_the_old_program_notes_the_pid(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    sockets = open_sockets([ListenSpec(socket.AF_INET, ("127.0.0.1", free_port()))], 1, None, log.report)
    monkeypatch.setattr(os, "fork", lambda: 4711)
    assert upgrade.start_new_binary(sockets, log.report) == 4711
    assert log.lines() == [("notice", "start new binary process 4711")]
    assert not any(os.get_inheritable(one.fileno()) for one in sockets.all())  # a worker must not inherit them by exec
    sockets.close(unlink=True)
