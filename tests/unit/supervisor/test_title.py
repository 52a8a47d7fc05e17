"""What ps(1) shows: nginx's words, in the room that the command line had, whatever the process is called."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from portico.supervisor import title

ROOM = len(Path("/proc/self/cmdline").read_bytes())
OWN = Path("/proc/self")


def seen_in_a_child(act: Callable[[], None]) -> tuple[bytes, str]:
    """The command line and the name of a process that has done `act`, for there is but one of each."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            act()
            os.write(writing, (OWN / "comm").read_bytes() + (OWN / "cmdline").read_bytes())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        name, _, line = pipe.read().partition(b"\n")
    os.waitpid(pid, 0)
    return line.rstrip(b"\0"), name.decode()


def shown(text: str) -> bytes:
    """The text in that room; its last byte stays NUL, or the kernel would go on into the environment."""
    return text.encode("utf-8", "surrogateescape")[: ROOM - 1]


@pytest.mark.parametrize(
    ("argv", "what", "text"),
    [
        (["/usr/bin/portico"], title.MASTER, "portico: master process portico"),
        (["x", "-c", "a b.conf"], title.MASTER, "portico: master process portico -c a b.conf"),
        (["x", "-c", "\udcff.conf"], title.MASTER, "portico: master process portico -c \udcff.conf"),
        (["x", "-c", "y" * 10_000], title.MASTER, "portico: master process portico -c " + "y" * 10_000),
        (["x", "-c", "a.conf"], title.WORKER, "portico: worker process"),
        (["x"], title.LEAVING, "portico: worker process is shutting down"),
    ],
)
def test_the_titles(monkeypatch: pytest.MonkeyPatch, argv: list[str], what: str, text: str) -> None:
    monkeypatch.setattr(sys, "argv", argv)
    line, name = seen_in_a_child(lambda: title.show(what))
    assert line == shown(text)
    if what == title.MASTER:
        assert name == "portico"


def test_a_shorter_title_leaves_nothing_of_a_longer_one() -> None:
    def act() -> None:
        title.show(title.LEAVING)
        title.show(title.WORKER)

    assert seen_in_a_child(act)[0] == shown("portico: worker process")


def test_the_name_of_a_process_may_hold_what_looks_like_fields() -> None:
    """The second field of /proc/self/stat."""

    def act() -> None:
        (OWN / "comm").write_text(") 1 (2 3) R")
        title.show(title.WORKER)

    assert seen_in_a_child(act) == (shown("portico: worker process"), ") 1 (2 3) R")


@pytest.mark.parametrize("area", [(0, 0), (5, 5), (0, 100)])
def test_a_system_that_tells_no_area_is_left_alone(monkeypatch: pytest.MonkeyPatch, area: tuple[int, int]) -> None:
    monkeypatch.setattr(title, "_argument_area", lambda: area)
    before = (OWN / "cmdline").read_bytes()
    title.show(title.WORKER)
    assert (OWN / "cmdline").read_bytes() == before


@pytest.mark.parametrize("failure", [FileNotFoundError(2, "no /proc"), ValueError("no number"), IndexError("too few fields")])
def test_a_system_without_proc_is_served(monkeypatch: pytest.MonkeyPatch, failure: Exception) -> None:
    def no_area() -> tuple[int, int]:
        raise failure

    monkeypatch.setattr(title, "_argument_area", no_area)
    title.show(title.WORKER)
