"""``master_process off``: supervisor and worker in one process, for development."""

import os
import signal
from typing import Final, final

from portico.errorlog import NOTICE
from portico.supervisor import garbage, pidfile, start
from portico.supervisor.daemon import Daemon
from portico.supervisor.plan import Load, WorkerContext
from portico.supervisor.report import Report
from portico.supervisor.signals import HANDLED, OF_WORKERS
from portico.supervisor.start import Prepared, StartFailed, prepare
from portico.supervisor.worker import filter_environment, serve

# Held back while one plan's loop ends and the next one's begins; those that end the process are not.
BETWEEN_LOOPS: Final = frozenset({signal.SIGHUP, signal.SIGUSR1})


@final
class Single:
    """One process that serves one plan after the other: HUP prepares the next, and lets the running one
    finish.
    """

    def __init__(self, load: Load, first: Prepared, report: Report, daemon: Daemon | None) -> None:
        self.load = load
        self.running = first
        self.report = report
        self.daemon = daemon
        self.next: Prepared | None = None
        self.context: WorkerContext = self._context()

    def run(self) -> int:
        """Serve until told to stop; return the exit code."""
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED - OF_WORKERS - BETWEEN_LOOPS)
        filter_environment(self.running.plan.settings)
        while True:
            code = serve(self.running.plan, self.context)
            self.context.detach()
            for _, listener in self.context.listeners:
                listener.close()
            following, self.next = self.next, None
            if following is None or code or self.context.quitting or self.context.terminating:
                self._end(following)
                return code
            start.close(self.running.plan)
            self.running = following
            self.context = self._context()
            garbage.unfreeze()
            garbage.free_replaced()

    def _context(self) -> WorkerContext:
        plan = self.running.plan
        # A loop closes its listeners; the sockets themselves must outlive it.
        listeners = [(spec, opened.dup()) for spec, opened in self.running.sockets.of_worker(0)]
        context = WorkerContext(0, listeners, plan.settings, plan.error_log)
        context.on_reopen = plan.reopen
        context.on_reload = self._reload
        context.on_ready = self._ready
        return context

    def _ready(self) -> None:
        self.report.starting = False
        self.report.log.redirect_stderr()
        if self.daemon is not None:
            self.daemon.up()
            self.daemon = None

    def _reload(self) -> None:
        self.report.write(NOTICE, "signal 1 (SIGHUP) received, reconfiguring")
        self.report.write(NOTICE, "reconfiguring")
        if self.next is not None:
            return  # one follows already
        with garbage.held_back():
            self.next = self._prepare()
            if self.next is None:
                garbage.free_failed()
                return
        signal.pthread_sigmask(signal.SIG_BLOCK, BETWEEN_LOOPS)
        self.running.sockets.close(unlink=True, keep=self.next.sockets)
        self.report.log = self.next.plan.error_log
        self.context.on_quit()

    def _prepare(self) -> Prepared | None:
        try:
            return prepare(self.load, self.running, None, self.report)
        except StartFailed:
            return None

    def _end(self, following: Prepared | None) -> None:
        pidfile.remove(self.running.plan.settings.pid, os.getpid())
        for prepared in (self.running, following):
            if prepared is not None:
                prepared.sockets.close(unlink=True)
                start.close(prepared.plan)
