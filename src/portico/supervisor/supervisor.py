"""The supervisor, nginx's master process: one loop that takes a signal, acts, and looks after its children.

What each signal does (nginx's meanings, https://nginx.org/en/docs/control.html):

    HUP        read the configuration again; new workers, then the old ones finish and go
    QUIT       finish what is in flight, then end            TERM, INT   end now
    USR1       open the log files anew                       USR2        start the new binary (upgrade.py)
    WINCH      let the workers finish and go, but stay: the new binary serves

A reload goes through three states: *prepared* (new sockets listen, the old workers serve), *started* (both
serve), and done (the old ones are told QUIT) once every new worker says that it serves.
"""

import os
import platform
import resource
import signal
import time
from collections.abc import Callable
from typing import Final, final

from portico import __version__
from portico.config.diagnostics import ConfigError
from portico.errorlog import ALERT, CRIT, EMERG, NOTICE, WARN, ErrorLog, failed_call
from portico.supervisor import garbage, pidfile, signals, start, title
from portico.supervisor.daemon import Daemon, detach
from portico.supervisor.plan import Load
from portico.supervisor.report import Report
from portico.supervisor.signals import Received
from portico.supervisor.single import Single
from portico.supervisor.start import Prepared, StartFailed, prepare
from portico.supervisor.upgrade import inherited_sockets, start_new_binary
from portico.supervisor.workers import Workers, tell_death

READY_LIMIT: Final = (
    10.0  # seconds after which old workers are told to go although a new one does not serve yet
)
KILL_DELAY: Final = 2.0  # seconds from TERM to KILL for a worker that does not go

RUNNING: Final = 0
QUITTING: Final = 1
TERMINATING: Final = 2

NEW_BINARY_IN_THE_WAY: Final = (
    "the changing binary signal is ignored: you should shutdown or terminate "
    "before either old or new binary's process"
)


def supervise(load: Load, early: ErrorLog, hangup_ends: bool = False) -> int:
    """Serve until told to stop; return the exit code. `early` is the log until a configuration is read.

    `hangup_ends`: HUP is no reload, but ends everything as TERM does.
    """
    server = _begin(load, early, hangup_ends)  # no local variable here: it would hold the first plan to the end
    return server.run() if server is not None else 1


def _begin(load: Load, early: ErrorLog, hangup_ends: bool) -> "Supervisor | Single | None":
    """Open the sockets and write the pid file; return what serves the configuration, None when that is impossible (and reported)."""
    report = Report(early, starting=True)
    inherited = inherited_sockets(report)
    garbage.freeze()
    try:
        with garbage.held_back():
            first = prepare(load, None, inherited, report)
    except StartFailed:
        return None
    early.close()
    if inherited is not None:
        inherited.close(unlink=False, keep=first.sockets)
    _greet(report, first)
    settings = first.plan.settings
    daemon = detach() if settings.daemon and inherited is None else None
    signals.block()
    try:
        pidfile.write(settings.pid, os.getpid())
    except ConfigError as error:
        report.write(EMERG, str(error))
        return None
    if not settings.master_process:
        return Single(load, first, report, daemon)
    server = Supervisor(load, first, report, daemon, os.getppid() if inherited is not None else 0)
    if hangup_ends:
        server.let_hangup_end()
    return server


def _greet(report: Report, first: Prepared) -> None:
    """Log what nginx logs at start (ngx_os_status)."""
    report.write(NOTICE, 'using the "epoll" event method')
    report.write(NOTICE, f"portico/{__version__}")
    report.write(NOTICE, f"OS: {platform.system()} {platform.release()}")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    report.write(NOTICE, f"getrlimit(RLIMIT_NOFILE): {soft}:{hard}")
    settings = first.plan.settings
    limit = settings.rlimit_nofile if settings.rlimit_nofile >= 0 else soft
    if settings.worker_connections > limit:
        connections = settings.worker_connections
        report.write(WARN, f"{connections} worker_connections exceed open file resource limit: {limit}")


@final
class Supervisor:
    """The state of a running supervisor. Signals are blocked and the pid file is written when it is made."""

    def __init__(
        self, load: Load, first: Prepared, report: Report, daemon: Daemon | None, old_binary: int
    ) -> None:
        self.load = load
        self.running = first
        self.report = report
        self.daemon = daemon
        self.old_binary = old_binary  # pid of the program that we were started by with USR2; 0: by none
        self.new_binary = 0  # pid of the program that USR2 started; 0: none lives
        self.workers = Workers(report)
        self.state = RUNNING
        self.serving = True  # False after WINCH
        self.failed = False  # no worker can be started
        self.retire_at = 0.0  # when the workers of older generations go at the latest
        self.kill_at = 0.0
        self._actions: dict[int, tuple[str, Callable[[], None]]] = {
            signal.SIGHUP: (", reconfiguring", self._reconfigure),
            signal.SIGQUIT: (", shutting down", self._quit),
            signal.SIGTERM: (", exiting", self._terminate),
            signal.SIGINT: (", exiting", self._terminate),
            signal.SIGUSR1: (", reopening logs", self._reopen),
            signal.SIGUSR2: (", changing binary", self._change_binary),
            signal.SIGWINCH: (", stop accepting connections", self._stop_accepting),
        }

    def let_hangup_end(self) -> None:
        """Take HUP as TERM."""
        self._actions[signal.SIGHUP] = self._actions[signal.SIGTERM]

    def run(self) -> int:
        """Run the loop; return the exit code."""
        title.show(title.MASTER)
        self.workers.start(self.running.plan, self.running.sockets)
        while self.state == RUNNING or self.workers.alive:
            received = signals.wait(self._patience())
            if received is not None:
                self._handle(received)
            self._reap()
            self.workers.read_ready()
            self._look_after()
        return self._end()

    def _handle(self, received: Received) -> None:
        action, act = self._actions.get(received.number, ("", _nothing))
        if received.number == signal.SIGWINCH and not received.by_process:
            return  # the terminal was resized
        if received.number == signal.SIGUSR2 and self._binary_is_changing():
            self.report.write(NOTICE, received.describe(", ignoring"))
            self.report.write(CRIT, NEW_BINARY_IN_THE_WAY)
            return
        self.report.write(NOTICE, received.describe(action))
        act()

    def _patience(self) -> float | None:
        """Return the seconds until something is to be done without a signal; None: nothing is."""
        moments = list(self.workers.due.values())
        moments += [moment for moment in (self.retire_at, self.kill_at) if moment]
        return max(0.0, min(moments) - time.monotonic()) if moments else None

    def _look_after(self) -> None:
        """Do what time and the deaths of children ask for."""
        now = time.monotonic()
        if self.state == RUNNING and self.serving:
            self.workers.start_due(self.running.plan, self.running.sockets)
            self._settle(now)
        if self.kill_at and now >= self.kill_at:
            self.kill_at = 0.0
            self.workers.tell(list(self.workers.alive.values()), signal.SIGKILL)

    def _settle(self, now: float) -> None:
        """Dismiss older workers once the new ones serve, and tell whoever started us."""
        current = self.workers.current()
        ready = self.workers.all_ready()
        if not current and not self.workers.due:
            self._nobody_serves()
        elif self.retire_at and (ready or now >= self.retire_at):
            self.retire_at = 0.0
            self.workers.dismiss(self.workers.older(), signal.SIGQUIT)
        if self.report.starting and current and ready:
            self._up()

    def _nobody_serves(self) -> None:
        """Terminate, as every worker of this configuration said that it can never run."""
        self.retire_at = 0.0
        if not self.workers.alive and self.state == RUNNING:
            self.report.write(EMERG, "no worker process can be started")
            self.failed = True
            self.state = TERMINATING

    def _up(self) -> None:
        """Report that it has started: from now on there is only the log."""
        self.report.starting = False
        self.running.plan.error_log.redirect_stderr()
        if self.daemon is not None:
            self.daemon.up()
            self.daemon = None

    # -- children

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.new_binary:
                self._new_binary_died(status)
            else:
                self.workers.died(pid, status)

    def _new_binary_died(self, status: int) -> None:
        """End the upgrade: take the pid file back, and serve again if WINCH had stopped that."""
        tell_death(self.report, "new binary process", self.new_binary, status)
        self.new_binary = 0
        path = self.running.plan.settings.pid
        try:
            pidfile.move(path + pidfile.OLD_SUFFIX, path)
        except OSError as error:
            self.report.write(ALERT, failed_call(f'rename() back of "{path}{pidfile.OLD_SUFFIX}"', error))
        if not self.serving and self.state == RUNNING:
            self._serve_again()

    def _serve_again(self) -> None:
        self.serving = True
        self.workers.start(self.running.plan, self.running.sockets)

    # -- what the signals ask for

    def _reconfigure(self) -> None:
        if self.state != RUNNING:
            return
        if self.new_binary:
            # This is nginx's way back from an upgrade: the configuration that the workers had.
            if not self.serving:
                self._serve_again()
            return
        self.report.write(NOTICE, "reconfiguring")
        with garbage.held_back():
            if not self._replace_plan():
                garbage.free_failed()
                return
            garbage.free_replaced()
        self.serving = True
        self.workers.start(self.running.plan, self.running.sockets)
        self.retire_at = time.monotonic() + READY_LIMIT

    def _replace_plan(self) -> bool:
        """Load anew and let the new plan take the place of the old one. False: it failed, and the old one goes on.

        A function of its own: once it has returned, nothing refers to the plan that is not to be used any more.
        """
        try:
            fresh = prepare(self.load, self.running, None, self.report)
            self._move_pid_file(fresh)
        except StartFailed:
            return False
        old, self.running = self.running, fresh
        old.sockets.close(unlink=self._owns_files(), keep=fresh.sockets)
        self.report.log = fresh.plan.error_log
        self.report.log.redirect_stderr()
        start.close(old.plan)
        return True

    def _move_pid_file(self, fresh: Prepared) -> None:
        before, after = self.running.plan.settings.pid, fresh.plan.settings.pid
        if before == after:
            return
        try:
            pidfile.write(after, os.getpid())
        except ConfigError as error:
            self.report.write(EMERG, str(error))
            fresh.sockets.close(unlink=self._owns_files(), keep=self.running.sockets)
            start.close(fresh.plan)
            raise StartFailed from None
        pidfile.remove(before, os.getpid())

    def _quit(self) -> None:
        if self.state == RUNNING:
            self.state = QUITTING
            self.workers.dismiss_all(signal.SIGQUIT)
            self._close_sockets()

    def _terminate(self) -> None:
        if self.state != TERMINATING:
            self.state = TERMINATING
            self.workers.dismiss_all(signal.SIGTERM)
            self.kill_at = time.monotonic() + KILL_DELAY

    def _reopen(self) -> None:
        self.report.write(NOTICE, "reopening logs")
        plan = self.running.plan
        plan.reopen(plan.settings.user.uid if os.geteuid() == 0 else -1)
        if not self.report.starting:
            plan.error_log.redirect_stderr()
        self.workers.tell(list(self.workers.alive.values()), signal.SIGUSR1)

    def _stop_accepting(self) -> None:
        if self.state == RUNNING:
            self.serving = False
            self.retire_at = 0.0
            self.workers.dismiss_all(signal.SIGQUIT)

    def _binary_is_changing(self) -> bool:
        return self.new_binary != 0 or self._old_binary_lives()

    def _old_binary_lives(self) -> bool:
        return self.old_binary != 0 and os.getppid() == self.old_binary

    def _change_binary(self) -> None:
        if self.state != RUNNING:
            return
        self.report.write(NOTICE, "changing binary")
        path = self.running.plan.settings.pid
        try:
            pidfile.move(path, path + pidfile.OLD_SUFFIX)
        except OSError as error:
            call = f'rename() "{path}" to "{path}{pidfile.OLD_SUFFIX}"'
            self.report.write(ALERT, failed_call(call, error) + " before executing new binary process")
            return
        try:
            self.new_binary = start_new_binary(self.running.sockets, self.report)
        except OSError as error:
            self.report.write(ALERT, failed_call("fork()", error) + " while starting new binary process")
            pidfile.move(path + pidfile.OLD_SUFFIX, path)

    # -- the end

    def _owns_files(self) -> bool:
        """Return whether the files of Unix sockets are ours to remove: not while another binary serves them too."""
        return not self._binary_is_changing()

    def _close_sockets(self) -> None:
        self.running.sockets.close(unlink=self._owns_files())
        self.running.sockets.opened.clear()

    def _end(self) -> int:
        path = self.running.plan.settings.pid
        pidfile.remove(path + pidfile.OLD_SUFFIX if self.new_binary else path, os.getpid())
        self._close_sockets()
        self.report.write(NOTICE, "exit")
        self.workers.close()
        start.close(self.running.plan)
        return 1 if self.failed else 0


def _nothing() -> None:
    """Do nothing: SIGCHLD and SIGIO only wake the loop up."""
