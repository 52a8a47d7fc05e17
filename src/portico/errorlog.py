"""The error log, and the files that all logs are written to.

A line is nginx's, one line per event, written by one ``write`` to a descriptor opened with ``O_APPEND`` so
that lines of several processes never mix::

    2026/11/23 08:07:42 [error] 123#123: *45 message, client: 1.2.3.4, server: x, request: "GET / HTTP/1.1"

Three objects share the work: `LogFiles` owns every log file of one configuration (each path once, also the
access logs'), `LogTarget` is one ``error_log`` line as configured, `ErrorLog` is what one block of the
configuration logs to. Nothing here raises once serving: a full disk costs log lines, not responses.
"""

import errno
import os
import stat
import time
from threading import get_native_id
from typing import Final, final

from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, LOCATION, MAIN, SERVER, Directive, Scope
from portico.config.reader import Statement, Where
from portico.syslog import Syslog, SyslogTarget, parse_target

STDERR: Final = 0
SILENT: Final = 0  # no line at all
EMERG: Final = 1
ALERT: Final = 2
CRIT: Final = 3
ERR: Final = 4
WARN: Final = 5
NOTICE: Final = 6
INFO: Final = 7
DEBUG: Final = 8
LEVEL_NAMES: Final = ("stderr", "emerg", "alert", "crit", "error", "warn", "notice", "info", "debug")
# Names that a configuration may write. nginx splits debug by subsystem; here each of them means debug.
LEVELS: Final[dict[str, int]] = {
    "emerg": EMERG, "alert": ALERT, "crit": CRIT, "error": ERR, "warn": WARN, "notice": NOTICE,
    "info": INFO, "debug": DEBUG, "debug_core": DEBUG, "debug_alloc": DEBUG, "debug_mutex": DEBUG,
    "debug_event": DEBUG, "debug_http": DEBUG, "debug_mail": DEBUG, "debug_stream": DEBUG,
}  # fmt: skip

DEFAULT_PATH: Final = "logs/error.log"
LINE_LIMIT: Final = 2048  # bytes of one line, nginx's NGX_MAX_ERROR_STR
STDERR_FD: Final = 2
FULL_DISK_PAUSE: Final = (
    1.0  # seconds without writing after ENOSPC, as nginx: a write to a full disk can block
)
ESCAPES: Final[dict[int, str]] = {code: f"\\x{code:02X}" for code in (*range(32), 127)}


def failed_call(call: str, error: OSError) -> str:
    """Return nginx's words for a system call that failed: ``open() "/x" failed (13: Permission denied)``."""
    number = error.errno or 0
    return f"{call} failed ({number}: {os.strerror(number)})"


@final
class LogFile:
    """One file that lines are appended to. `fd` is -1 until opened; the number never changes while it is
    open.
    """

    def __init__(self, path: str, where: Where | None) -> None:
        self.path = path
        self.where = where
        self.fd: int = -1
        self._paused_until: float = 0.0

    def open(self) -> None:
        """Open for appending, creating it; raises ConfigError naming the directive that asked for it."""
        try:
            self.fd = open_append(self.path)
        except OSError as error:
            raise ConfigError(failed_call(f'open() "{self.path}"', error), self.where) from None

    def write(self, line: bytes) -> None:
        """Append. What cannot be written is dropped."""
        if self.fd < 0 or (self._paused_until and time.monotonic() < self._paused_until):
            return
        try:
            os.write(self.fd, line)
            self._paused_until = 0.0
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self._paused_until = time.monotonic() + FULL_DISK_PAUSE

    def reopen(self, user: int) -> None:
        """Open the path anew and put it in the place of the old descriptor; raises OSError and keeps the
        old one.
        """
        fresh = open_append(self.path)
        try:
            if user >= 0:
                _give_to(fresh, user)
            if self.fd < 0:
                self.fd, fresh = fresh, -1
            else:
                os.dup2(fresh, self.fd, inheritable=False)
        finally:
            if fresh >= 0:
                os.close(fresh)

    def close(self) -> None:
        """Close the descriptor if it is open."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def open_append(path: str | bytes) -> int:
    """Open a log for appending, creating it; return the descriptor. Raises OSError; ValueError for a zero byte in the path.

    A FIFO that nobody reads is an error (ENXIO): waiting for a reader would hold up a start, a reload or a request.
    """
    fd = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK, 0o644)
    os.set_blocking(fd, True)
    return fd


def _give_to(fd: int, user: int) -> None:
    """Let the workers' user open the file itself at the next USR1, as ngx_reopen_files() does."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        return
    if status.st_uid != user:
        os.fchown(fd, user, -1)
    if status.st_mode & 0o700 != 0o600:
        os.fchmod(fd, (status.st_mode & 0o777) | 0o600)


@final
class LogFiles:
    """Every log file of one configuration, each path once."""

    def __init__(self) -> None:
        self.files: dict[str, LogFile] = {}
        self.stderr_is_used = False  # some block logs to stderr

    def get(self, path: str, where: Where | None = None) -> LogFile:
        """Return the file of that path, made known so that `open` opens it."""
        file = self.files.get(path)
        if file is None:
            file = self.files[path] = LogFile(path, where)
        return file

    def open(self) -> None:
        """Open all that are not open yet; raises ConfigError at the first that cannot be."""
        for file in self.files.values():
            if file.fd < 0:
                file.open()

    def reopen(self, user: int, log: "ErrorLog") -> None:
        """Open all files anew, as USR1 asks. `user`: the workers' uid when we run as root, else -1. Failures are logged."""
        for file in self.files.values():
            try:
                file.reopen(user)
            except OSError as error:
                log.write(EMERG, failed_call(f'open() "{file.path}"', error))

    def close(self) -> None:
        """Close all."""
        for file in self.files.values():
            file.close()


@final
class LogTarget:
    """One ``error_log`` line: a level and either a file, stderr (both others empty) or a syslog server."""

    def __init__(self, level: int, path: str, syslog: SyslogTarget | None, where: Where | None) -> None:
        self.level = level
        self.path = path
        self.syslog = syslog
        self.where = where


@final
class ErrorLog:
    """Where one block of the configuration logs to. Cheap when the level is off: ask `enabled` before
    formatting.
    """

    def __init__(self, targets: list[LogTarget], files: LogFiles) -> None:
        self.level: int = max((target.level for target in targets), default=STDERR)
        self._files: list[tuple[int, LogFile]] = []
        self._syslogs: list[tuple[int, Syslog]] = []
        self._stderr: list[int] = []  # levels up to which lines go to stderr, once for each `error_log stderr`
        self._log_files = files
        self._owns_files = False
        self._second: int = 0
        self._stamp: str = ""
        for target in targets:
            if target.syslog is not None:
                self._syslogs.append((target.level, Syslog(target.syslog)))
            elif target.path:
                self._files.append((target.level, files.get(target.path, target.where)))
            else:
                self._stderr.append(target.level)
                files.stderr_is_used = True

    def enabled(self, level: int) -> bool:
        """Return whether a line of that level is written anywhere."""
        return level <= self.level

    def write(self, level: int, message: str, connection: int = 0) -> None:
        """Log one line. Control characters are escaped; bytes from a peer come decoded with
        ``surrogateescape``.
        """
        if level > self.level:
            return
        number = f"*{connection} " if connection else ""
        text = f"[{LEVEL_NAMES[level]}] {os.getpid()}#{get_native_id()}: {number}{message}"
        body = text.translate(ESCAPES).encode("utf-8", "surrogateescape")[: LINE_LIMIT - 21]
        entry = self._time().encode() + b" " + body
        line = entry + b"\n"
        for limit, file in self._files:
            if level <= limit:
                file.write(line)
        for limit, syslog in self._syslogs:
            if level <= limit:
                syslog.send(entry, level - 1)
        for limit in self._stderr:
            if level <= limit:
                write_stderr(line)

    def _time(self) -> str:
        now = int(time.time())
        if now != self._second:
            self._stamp = time.strftime("%Y/%m/%d %H:%M:%S", time.localtime(now))
            self._second = now
        return self._stamp

    def uses_stderr(self) -> bool:
        """Return whether ``error_log stderr`` is among the targets."""
        return len(self._stderr) > 0

    def redirect_stderr(self) -> None:
        """Send what is printed to stderr to the first log file, as nginx does once it is up, unless some block logs to stderr."""
        if self._log_files.stderr_is_used or not self._files or self._files[0][1].fd < 0:
            return
        os.dup2(self._files[0][1].fd, STDERR_FD)

    def close(self) -> None:
        """Release what is not a file: those belong to `LogFiles`, unless this log is the `early` one."""
        for _, syslog in self._syslogs:
            syslog.close()
        if self._owns_files:
            self._log_files.close()


def write_stderr(line: bytes) -> None:
    """Write to stderr, ignoring that nobody may listen there."""
    try:
        os.write(STDERR_FD, line)
    except OSError:
        pass


def _parse_error_log(statement: Statement) -> LogTarget:
    target = statement.args[0]
    level = _parse_level(statement)
    if target.text == "stderr":
        return LogTarget(level, "", None, target.where)
    if target.text.startswith("memory:"):
        raise statement.fail(
            "logging to memory is not supported",
            target,
            "nginx's memory buffer is read with a debugger: log to a file instead",
        )
    if not target.text.startswith("syslog:"):
        return LogTarget(level, statement.load.full_path(target.text), None, target.where)
    try:
        return LogTarget(level, "", parse_target(target.text[7:]), target.where)
    except ValueError as error:
        raise statement.fail(str(error), target) from None


def _parse_level(statement: Statement) -> int:
    if len(statement.args) == 1:
        return ERR
    level = STDERR
    for argument in statement.args[1:]:
        found = LEVELS.get(argument.text)
        if found is None:
            raise statement.fail(f'invalid log level "{argument.text}"', argument)
        # Only kinds of debug may be combined (ngx_log_set_levels).
        if level and not (argument.text.startswith("debug_") and level == DEBUG):
            raise statement.fail(f'duplicate log level "{argument.text}"', argument)
        level = found
    return level


ERROR_LOG: Final = Directive[LogTarget](
    "error_log",
    MAIN | HTTP | SERVER | LOCATION,
    _parse_error_log,
    args="1+",
    many=True,
    default=LogTarget(ERR, DEFAULT_PATH, None, None),
    default_text="logs/error.log error",
    syntax="error_log FILE | stderr | syslog:server=ADDRESS[,PARAMETER=VALUE...] [LEVEL];",
    doc="""Where errors are logged, and from which level on. Levels, from the rarest to the most talkative:
`emerg`, `alert`, `crit`, `error`, `warn`, `notice`, `info`, `debug`; a level includes those before it.
`debug_http` and the other kinds of debug mean `debug`. Several lines in one block log to several places. A
block that has its own lines does not use those of the block around it.

`stderr` writes to the standard error stream. `syslog:` sends datagrams; its parameters, separated by
commas, are `server=` (an address with an optional port, 514 by default, or `unix:` and a path), `facility=`
(default `local7`), `tag=` (default `nginx`, which filters of syslog servers look for), `severity=` and `nohostname`.

The file is made when Portico starts, and opened anew when it receives `USR1`.""",
    example="error_log logs/error.log warn;\nerror_log stderr crit;",
)


def error_log(scope: Scope, files: LogFiles, default_path: str = "") -> ErrorLog:
    """Return the log of one block of the configuration. `default_path`: what ``-e`` gave, a path or ``stderr``."""
    return ErrorLog(
        scope.all(ERROR_LOG) or [default_target(scope.load.full_path(default_path or DEFAULT_PATH))], files
    )


def default_target(path: str) -> LogTarget:
    """Return the target that is used while, or where, no ``error_log`` is configured; `path` may be ``stderr``."""
    return LogTarget(ERR, "" if os.path.basename(path) == "stderr" else path, None, None)


def early(path: str) -> ErrorLog:
    """Return the log for what happens before the configuration is read: nginx's default or what ``-e`` gave.

    When it cannot be opened this is reported on stderr, and not an error: the configuration may name another one.
    """
    files = LogFiles()
    target = default_target(path)
    target.level = NOTICE
    log = ErrorLog([target], files)
    log._owns_files = True
    try:
        files.open()
    except ConfigError as error:
        write_stderr(f"portico: [alert] could not open error log file: {error}\n".encode("utf-8", "surrogateescape"))
    return log
