"""Where the supervisor tells what it does: the error log and, while it starts, also stderr."""

from typing import final

from portico.config.diagnostics import printable
from portico.errorlog import LEVEL_NAMES, WARN, ErrorLog, write_stderr
from portico.supervisor.plan import LoadFailed, Plan


@final
class Report:
    """Writes to the log of the configuration that runs. While `starting`, stderr gets warnings too."""

    def __init__(self, log: ErrorLog, starting: bool) -> None:
        self.log = log
        self.starting = starting

    def write(self, level: int, message: str) -> None:
        """Log, and print as nginx does: ``portico: [emerg] message``."""
        self.log.write(level, message)
        if self.starting and level <= WARN and not self.log.uses_stderr():
            write_stderr(f"portico: [{LEVEL_NAMES[level]}] {printable(message)}\n".encode("utf-8", "replace"))

    def warnings(self, plan: Plan) -> None:
        """Report what the configuration is doubtful about; at start with the source lines, for whoever is there."""
        if self.starting:
            write_stderr(plan.diagnostics.render().encode("utf-8", "replace"))
            if self.log.uses_stderr():
                return
        for warning in plan.diagnostics.warnings:
            self.log.write(WARN, str(warning))

    def mistakes(self, failed: LoadFailed) -> None:
        """Report all that is wrong with a configuration; on stderr once, with the source lines, though the log may be stderr too."""
        if self.starting:
            write_stderr(failed.diagnostics.render().encode("utf-8", "replace"))
            if self.log.uses_stderr():
                return
        for warning in failed.diagnostics.warnings:
            self.log.write(WARN, str(warning))
        for error in failed.diagnostics.errors:
            self.log.write(LEVEL_NAMES.index(error.level), str(error))
