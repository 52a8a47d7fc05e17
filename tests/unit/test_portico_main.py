"""The `portico` command around the command line: its exit code, and Ctrl-C."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from portico import cli
from portico.__main__ import main


@pytest.fixture(autouse=True)
def interrupts() -> Iterator[None]:
    """Put back what handles SIGINT."""
    before = signal.getsignal(signal.SIGINT)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_exit_code_is_that_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "main", lambda: 42)
    assert main() == 42


def test_an_interrupt_ends_it_without_a_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def note() -> int:
        seen.append(signal.getsignal(signal.SIGINT))
        return 0

    monkeypatch.setattr(cli, "main", note)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    main()
    assert seen == [signal.SIG_DFL]


def test_an_interrupt_that_is_ignored_stays_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """A shell starts programs in the background (`portico &`) with SIGINT ignored."""
    monkeypatch.setattr(cli, "main", lambda: 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    main()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN
