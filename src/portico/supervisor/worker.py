"""What a worker does first: become the process that the configuration asks for. Then the plan takes over.

The order is nginx's (ngx_worker_process_init): what needs root comes before the user changes.
"""

import ctypes
import os
import resource
import signal
import sys
import traceback
from types import FrameType
from typing import Final

from portico.errorlog import ALERT, EMERG, NOTICE, ErrorLog, failed_call
from portico.supervisor import title
from portico.supervisor.plan import Plan, WorkerContext
from portico.supervisor.report import Report
from portico.supervisor.settings import ProcessSettings
from portico.supervisor.signals import HANDLED, OF_WORKERS

EXIT_OK: Final = 0
EXIT_CRASHED: Final = 1
EXIT_FATAL: Final = 2  # nginx's code for "starting it again would not help"
PR_SET_DUMPABLE: Final = 4
PR_SET_KEEPCAPS: Final = 8
_CAPABILITY_VERSION: Final = 0x19980330  # linux/capability.h: _LINUX_CAPABILITY_VERSION_1, which nginx uses as well
_CAP_NET_RAW: Final = 13


def run(plan: Plan, context: WorkerContext) -> int:
    """Run a worker; return the exit code. Signals of `OF_WORKERS` are blocked and wait for `attach`."""
    log = plan.error_log
    title.show(title.WORKER)
    try:
        _ignore_signals()
        _become(plan.settings, context.number, log)
    except OSError as error:
        Report(log, starting=True).write(EMERG, str(error))
        return EXIT_FATAL
    log.redirect_stderr()
    return serve(plan, context)


def serve(plan: Plan, context: WorkerContext) -> int:
    """Run the plan; what it raises is logged, line by line."""
    log = plan.error_log
    try:
        plan.run_worker(context)
    except BaseException:
        log_traceback(log)
        return EXIT_CRASHED
    if not context.terminating:
        log.write(NOTICE, "exiting")
    log.write(NOTICE, "exit")
    return EXIT_OK


def log_traceback(log: ErrorLog) -> None:
    """Log the exception that is being handled."""
    for line in traceback.format_exc().splitlines():
        log.write(ALERT, line)


def _ignored(number: int, frame: FrameType | None) -> None:
    """Ignore a signal; unlike SIG_IGN this is not passed on to programs that the worker starts."""


def _ignore_signals() -> None:
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGHUP, signal.SIGUSR2, signal.SIGIO):
        signal.signal(number, _ignored)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED - OF_WORKERS)


def _become(settings: ProcessSettings, number: int, log: ErrorLog) -> None:
    """Set user, limits and CPUs. Raises OSError, with nginx's words for text, when going on would be unsafe; the rest is logged."""
    filter_environment(settings)
    _set_limits(settings, log)
    _change_user(settings)
    cpus = settings.affinity.cpus(number)
    if cpus is not None:
        try:
            os.sched_setaffinity(0, cpus)
        except OSError as error:
            log.write(ALERT, failed_call("sched_setaffinity()", error))
    if settings.rlimit_core >= 0:
        # A process that changed its user leaves no core file unless it asks to (prctl(2)).
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 1, 0, 0, 0)
    if settings.working_directory:
        try:
            os.chdir(settings.working_directory)
        except OSError as error:
            raise OSError(failed_call(f'chdir("{settings.working_directory}")', error)) from None


def _set_limits(settings: ProcessSettings, log: ErrorLog) -> None:
    if settings.worker_priority:
        try:
            os.setpriority(os.PRIO_PROCESS, 0, settings.worker_priority)
        except OSError as error:
            log.write(ALERT, failed_call(f"setpriority({settings.worker_priority})", error))
    limits = (
        ("RLIMIT_NOFILE", resource.RLIMIT_NOFILE, settings.rlimit_nofile),
        ("RLIMIT_CORE", resource.RLIMIT_CORE, settings.rlimit_core),
    )
    for name, limit, value in limits:
        if value < 0:
            continue
        try:
            resource.setrlimit(limit, (value, value))
        except (OSError, ValueError) as error:
            log.write(ALERT, f"setrlimit({name}, {value}) failed ({error})")


def _change_user(settings: ProcessSettings) -> None:
    user = settings.user
    if user.uid < 0 or os.geteuid() != 0:
        return
    keeps_raw = settings.is_transparent and user.uid != 0
    if keeps_raw and ctypes.CDLL(None, use_errno=True).prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0:
        raise OSError(failed_call("prctl(PR_SET_KEEPCAPS, 1)", _last_error()))
    try:
        call = f"setgid({user.gid})"
        os.setgid(user.gid)
        call = f"initgroups({user.name}, {user.gid})"
        os.initgroups(user.name, user.gid)
        call = f"setuid({user.uid})"
        os.setuid(user.uid)
    except OSError as error:
        raise OSError(failed_call(call, error)) from None
    if keeps_raw:
        _keep_raw()


def _keep_raw() -> None:
    """Keep, of root's capabilities, CAP_NET_RAW: connections shall come from addresses that are not this machine's."""
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    data = (ctypes.c_uint32 * 3)(1 << _CAP_NET_RAW, 1 << _CAP_NET_RAW, 0)  # effective, permitted, inheritable
    if ctypes.CDLL(None, use_errno=True).capset(header, data) < 0:
        raise OSError(failed_call("capset()", _last_error()))


def _last_error() -> OSError:
    """Return the error of the last call through ctypes."""
    code = ctypes.get_errno()
    return OSError(code, os.strerror(code))


def filter_environment(settings: ProcessSettings) -> None:
    """Leave only what ``env`` lists, and TZ."""
    variables = {name: os.environ.get(name) if value is None else value for name, value in settings.env}
    variables.setdefault("TZ", os.environ.get("TZ"))
    for name in list(os.environ):
        if name not in variables:
            del os.environ[name]
    for name, value in variables.items():
        if value is not None and name:
            os.environ[name] = value


def leave(code: int) -> None:
    """End this process without what belongs to the one that it was forked from."""
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        pass
    os._exit(code)
