"""``-s``: tell the running supervisor what to do, by the pid file that the configuration names."""

import os
import signal
from typing import Final

from portico.config.diagnostics import ConfigError
from portico.errorlog import ALERT, LEVEL_NAMES, NOTICE, ErrorLog, failed_call
from portico.supervisor import pidfile
from portico.supervisor.report import Report

SIGNALS: Final[dict[str, int]] = {
    "stop": signal.SIGTERM,
    "quit": signal.SIGQUIT,
    "reload": signal.SIGHUP,
    "reopen": signal.SIGUSR1,
}


def send(name: str, pid_path: str, log: ErrorLog) -> int:
    """Send the signal of that name (a key of `SIGNALS`); return the exit code, failures go to stderr and
    `log`: as with nginx the one that is open before the configuration is read. No other is opened.
    """
    report = Report(log, starting=True)
    report.write(NOTICE, "signal process started")
    try:
        pid = pidfile.read(pid_path)
    except ConfigError as error:
        report.write(LEVEL_NAMES.index(error.level), str(error))
        return 1
    number = int(SIGNALS[name])
    try:
        os.kill(pid, number)
    except OSError as error:
        report.write(ALERT, failed_call(f"kill({pid}, {number})", error))
        return 1
    return 0
