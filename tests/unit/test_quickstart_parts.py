"""The parts of the quickstart that need no network: which file it serves, and what it makes of the ends of its children."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

pytest.importorskip("cryptography")

from portico import quickstart
from portico.quickstart import Quickstart, find_conf, main


class Script:
    """Signals that come one after another."""

    def __init__(self, *numbers: int) -> None:
        self.numbers = list(numbers)

    def wait(self, seconds: float | None) -> frozenset[int]:
        assert self.numbers, "it waits for ever"
        return frozenset({self.numbers.pop(0)})


class Process:
    def __init__(self, code: int | None) -> None:
        self.returncode = code
        self.pid = 4711


class Child:
    """A child that has ended with `code`; None: it runs."""

    def __init__(self, name: str, code: int | None) -> None:
        self.name = name
        self.process = Process(code)
        self.stopped = False

    def ended(self) -> bool:
        return self.process.returncode is not None

    def stop(self) -> None:
        self.stopped = True


INT, CHLD, HUP = 2, 17, 1


def served(monkeypatch: pytest.MonkeyPatch, directory: Path, children: list[Child], *signals: int, answers: bool = True) -> int:
    """The exit code with these children, once `signals` have come."""
    made = Quickstart(Path("x.conf"), directory, Script(*signals))  # type: ignore[arg-type]
    monkeypatch.setattr(Quickstart, "_fill_directory", lambda self: None)
    monkeypatch.setattr(Quickstart, "_start", lambda self: self.children.extend(children))
    monkeypatch.setattr(Quickstart, "_wait_for_answer", lambda self: answers)
    try:
        return made.run()
    finally:
        assert all(child.stopped for child in children)


@pytest.mark.parametrize("number", [INT, HUP, 15])
def test_told_to_end(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], number: int) -> None:
    assert served(monkeypatch, tmp_path, [Child("Portico", None)], CHLD, number) == 0
    assert "Ctrl-C ends everything." in capsys.readouterr().out


def test_a_child_that_ends_by_itself_ends_everything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    children = [Child("Portico", None), Child("application one", 3), Child("application two", None)]
    assert served(monkeypatch, tmp_path, children, answers=False) == 1
    said = capsys.readouterr()
    assert said.err == "quickstart: application one ended with code 3, so everything ends\n"
    assert "Try" not in said.out  # nothing of what the hints say would be true


def test_a_failure_while_starting_leaves_no_child(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    child = Child("Portico", None)
    made = Quickstart(Path("x.conf"), tmp_path, Script())  # type: ignore[arg-type]
    made.children.append(child)  # type: ignore[arg-type]

    def fails(self: Quickstart) -> None:
        raise OSError("no room")

    monkeypatch.setattr(Quickstart, "_fill_directory", fails)
    with pytest.raises(OSError, match="no room"):
        made.run()
    assert child.stopped


def test_which_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_conf(["some/file"]) == Path("some/file")
    here = tmp_path / quickstart.CONF
    here.parent.mkdir(parents=True)
    here.touch()
    monkeypatch.chdir(tmp_path)
    assert find_conf([]) == quickstart.CONF


def test_a_file_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["/nonexistent/x.conf"]) == 1
    assert capsys.readouterr().err == "quickstart: there is no /nonexistent/x.conf here; run this in a clone of Portico\n"


def test_the_directory(tmp_path: Path) -> None:
    """Workers of another user enter it, and the key is its owner's alone."""
    conf = tmp_path / "my.conf"
    conf.write_text("events {}")
    directory = tmp_path / "made"
    directory.mkdir(0o700)
    Quickstart(conf, directory, Script())._fill_directory()  # type: ignore[arg-type]
    assert directory.stat().st_mode & 0o777 == 0o755
    assert (directory / "key.pem").stat().st_mode & 0o777 == 0o600
    assert (directory / "certificate.pem").read_bytes().startswith(b"-----BEGIN CERTIFICATE")
    assert (directory / "nginx.conf").resolve() == conf
    assert (directory / "site" / "assets").is_dir()


@pytest.mark.parametrize(("parent", "code"), [("own", 0), ("another", 1)])
def test_a_child_of_a_parent_that_is_gone_does_not_start(parent: str, code: int) -> None:
    ask = quickstart.end_with(os.getpid() if parent == "own" else os.getpid() + 1)
    pid = os.fork()
    if pid == 0:
        ask()
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == code
