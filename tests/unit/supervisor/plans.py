"""A plan whose life is noted, and a report that is read back; for the parts of the supervisor that need no process."""

from __future__ import annotations

from pathlib import Path

from portico.config.build import build
from portico.config.diagnostics import ConfigError
from portico.config.load import Load
from portico.config.reader import read_text
from portico.errorlog import ErrorLog, LogFiles, LogTarget
from portico.supervisor.plan import Plan, WorkerContext
from portico.supervisor.report import Report
from portico.supervisor.settings import MAIN_DIRECTIVES, ProcessSettings
from portico.supervisor.sockets import Sockets
from portico.supervisor.start import Prepared

DEBUG = 8
made: list[Log] = []  # by the test that runs


class Log:
    """An error log in a directory of a test."""

    def __init__(self, directory: Path, name: str = "log") -> None:
        self.path = directory / name
        self.files = LogFiles()
        self.log = ErrorLog([LogTarget(DEBUG, str(self.path), None, None)], self.files)
        self.report = Report(self.log, starting=False)
        made.append(self)

    def open(self) -> Log:
        self.files.open()
        return self

    def lines(self) -> list[tuple[str, str]]:
        """(level, message) of every line."""
        found = []
        for line in self.path.read_text().splitlines():
            level, _, message = line[20:].partition("] ")
            found.append((level.removeprefix("["), message.partition(": ")[2]))
        return found

    def levels(self) -> list[str]:
        return [level for level, _ in self.lines()]


class NotedPlan(Plan):
    """What happens to it is noted in `life`. `fails`: what `open` raises."""

    def __init__(self, directory: Path, text: str = "", fails: Exception | None = None) -> None:
        load = Load(str(directory), "conf")
        scope = build(read_text(f"{text} events {{}}", load.conf_path, load), MAIN_DIRECTIVES, load)
        assert not load.diagnostics.errors, load.diagnostics.render()
        self.made = Log(directory, f"log{len(list(directory.iterdir()))}")
        super().__init__(ProcessSettings(scope), self.made.log, self.made.files)
        self.fails = fails
        self.life: list[str] = []

    def open(self) -> None:
        self.life.append("open")
        if self.fails is not None:
            raise self.fails

    def run_worker(self, worker: WorkerContext) -> None:
        self.life.append("run")

    def close(self) -> None:
        self.life.append("close")

    def reopen(self, user: int = -1) -> None:
        self.life.append(f"reopen {user}")


def prepared(plan: NotedPlan) -> Prepared:
    """The plan with its log open and without sockets."""
    plan.made.open()
    return Prepared(plan, Sockets(plan.settings.worker_processes))


def mistake(message: str, level: str = "emerg") -> ConfigError:
    error = ConfigError(message)
    error.level = level
    return error
