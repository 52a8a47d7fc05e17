"""Going to the background: the command waits until all is up, and its exit code says whether it is."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from portico.supervisor.daemon import Daemon, detach


def command(act: Callable[[Daemon], None]) -> tuple[int, list[str]]:
    """The exit code of a command that goes to the background and does `act` there; what the background wrote of itself."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        code = 9
        try:
            own, session = os.getpid(), os.getsid(0)
            daemon = detach()
            facts = [
                str(os.getpid() != own),
                str(os.getsid(0) not in (session, os.getpid())),
                *(os.readlink(f"/proc/self/fd/{number}") for number in (0, 1)),
            ]
            os.write(writing, " ".join(facts).encode())
            act(daemon)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    with open(reading, "rb") as pipe:
        facts = pipe.read().decode().split()
    return code, facts


def test_all_is_up() -> None:
    """In a process of its own, that leads no session (so no terminal becomes its own), without stdin and stdout."""
    assert command(lambda daemon: daemon.up()) == (0, ["True", "True", "/dev/null", "/dev/null"])


@pytest.mark.parametrize("act", [lambda daemon: None, lambda daemon: os._exit(1), lambda daemon: 1 // 0])
def test_it_ended_before(act: Callable[[Daemon], None]) -> None:
    assert command(act)[0] == 1


def test_what_goes_on_behind_is_not_waited_for() -> None:
    """The command ends although the background still runs: it is this test's pipe that ends it."""
    reading, writing = os.pipe()

    def act(daemon: Daemon) -> None:
        os.close(writing)
        daemon.up()
        os.read(reading, 1)

    pid = os.fork()
    if pid == 0:
        try:
            act(detach())
        finally:
            os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    os.close(writing)
    os.close(reading)
