"""From a configuration text to a plan that is ready to be served: the part that start, reload and ``-t``
share.
"""

from typing import final

from portico.config.diagnostics import ConfigError
from portico.errorlog import EMERG
from portico.supervisor import pidfile
from portico.supervisor.plan import Load, LoadFailed, Plan
from portico.supervisor.report import Report
from portico.supervisor.sockets import Sockets, open_sockets
from portico.supervisor.worker import log_traceback


class StartFailed(Exception):
    """It cannot be served; why was reported."""


@final
class Prepared:
    """A plan whose logs, memory and sockets are open."""

    def __init__(self, plan: Plan, sockets: Sockets) -> None:
        self.plan = plan
        self.sockets = sockets


def prepare(load: Load, running: Prepared | None, inherited: Sockets | None, report: Report) -> Prepared:
    """Read the configuration and open what it asks for. Raises StartFailed and leaves the running one
    alone.
    """
    try:
        plan = load(running.plan if running is not None else None)
    except LoadFailed as failed:
        report.mistakes(failed)
        raise StartFailed from None
    except ConfigError as error:
        report.write(EMERG, str(error))
        raise StartFailed from None
    except Exception:
        _survive(running, report)
        raise StartFailed from None
    try:
        return _open(plan, running, inherited, report)
    except (ConfigError, OSError) as error:
        report.write(EMERG, str(error))
    except Exception:
        _survive(running, report)
    close(plan)
    raise StartFailed


def _survive(running: Prepared | None, report: Report) -> None:
    """Log a mistake of ours, which does not end a server that runs; raise it again at start, where it is not hidden."""
    if running is None:
        raise
    log_traceback(report.log)


def _open(plan: Plan, running: Prepared | None, inherited: Sockets | None, report: Report) -> Prepared:
    plan.log_files.open()
    if running is None:
        report.log = plan.error_log
    report.warnings(plan)
    plan.open()
    reused = running.sockets if running is not None else inherited
    workers = plan.settings.worker_processes if plan.settings.master_process else 1
    return Prepared(plan, open_sockets(plan.listens, workers, reused, report))


def close(plan: Plan) -> None:
    """Release what a plan has open."""
    plan.close()
    plan.error_log.close()
    plan.log_files.close()


def test(plan: Plan, report: Report) -> bool:
    """Do what ``-t`` does beyond reading: open logs, memory and sockets, and release them. Return False when that failed (reported).
    """
    try:
        plan.log_files.open()
        plan.open()
        pidfile.check(plan.settings.pid)
        open_sockets(plan.listens, 1, None, report, testing=True).close(unlink=True)
    except (ConfigError, OSError) as error:
        report.write(EMERG, str(error))
        return False
    finally:
        close(plan)
    return True
