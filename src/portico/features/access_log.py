"""`access_log`, `log_format`, `open_log_file_cache`: one line for every request.

Source: https://nginx.org/en/docs/http/ngx_http_log_module.html
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final, final

from portico.config.diagnostics import ConfigError
from portico.config.directive import HTTP, IF_LOCATION, LIMIT_EXCEPT, LOCATION, SERVER, Directive, Scope
from portico.errorlog import ERR
from portico.http.feature import BuildSlot, Feature, HttpBuild, LocationBuild
from portico.http.handler import Logger
from portico.http.request import Request
from portico.http.variables.path import document_root
from portico.logs.directives import AccessLog, parse_access_log, parse_log_format, parse_open_log_file_cache
from portico.logs.log_file import FileWriter, LogWriter, OpenLogFileCache, PathWriter, SyslogWriter
from portico.logs.log_format import ESCAPE_DEFAULT, LogFormat
from portico.syslog import Syslog

if TYPE_CHECKING:
    from portico.variables.session import Session
    from portico.variables.template import Template

DEFAULT_PATH: Final = "logs/access.log"


COMBINED: Final = (
    '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent '
    '"$http_referer" "$http_user_agent"'
)

LOG_FORMAT: Final = Directive[LogFormat](
    "log_format",
    HTTP,
    parse_log_format,
    args="2+",
    many=True,
    default=LogFormat("combined", [COMBINED], ESCAPE_DEFAULT, None),
    default_text=f"combined '{COMBINED}'",
    syntax="log_format NAME [escape=default|json|none] TEXT...;",
    doc="""Names a format for `access_log`. The texts are put one behind the other, with the values of their
variables.

`escape=default` writes `"`, `\\` and bytes that are not printable ASCII as `\\xXX`, and `-` for a variable
that has no value; `escape=json` writes what may stand between the quotes of a JSON string; `escape=none`
changes nothing.

`combined` is there without being defined.""",
    example="log_format timed '$remote_addr \"$request\" $status $request_time $upstream_response_time';",
)
ACCESS_LOG: Final = Directive[AccessLog](
    "access_log",
    HTTP | SERVER | LOCATION | IF_LOCATION | LIMIT_EXCEPT,
    parse_access_log,
    args="1+",
    many=True,
    default=AccessLog(None),
    default_text=f"{DEFAULT_PATH} combined",
    syntax="access_log off | PATH | syslog:server=ADDRESS[,PARAMETER=VALUE...] "
    "[FORMAT [buffer=SIZE] [gzip[=LEVEL]] [flush=TIME] [if=CONDITION]];",
    doc="""Where requests are logged, and in which format. Several lines in one block log to several places. A
block that has its own lines does not use those of the block around it; `off` there ends all logging. A
request is logged where it ended: in the location that answered it.

Each line is one write, or goes through a buffer of `buffer=` bytes, written when it is full, when its oldest
line is older than `flush=` (looked at once a second), when logs are reopened and when the worker ends. `gzip`
compresses what is written (level 1 to 9, 1 by default) through a buffer of 64k unless another is given.

With `if=`, a request is logged only when the condition comes to neither an empty text nor `0`.

A path may hold variables; then it cannot be buffered, the file is opened for every line (but see
`open_log_file_cache`) with the rights of the worker, and only if the request's root directory exists.

`syslog:` sends datagrams; its parameters, separated by commas, are `server=` (an address with an optional
port, 514 by default, or `unix:` and a path), `facility=` (default `local7`), `severity=` (default `info`),
`tag=` (default `portico`) and `nohostname`.""",
    example="access_log logs/access.log combined buffer=32k flush=5s;",
)
OPEN_LOG_FILE_CACHE: Final = Directive[OpenLogFileCache](
    "open_log_file_cache",
    HTTP | SERVER | LOCATION,
    parse_open_log_file_cache,
    args="1-4",
    default=OpenLogFileCache(0),
    default_text="off",
    syntax="open_log_file_cache max=N [inactive=TIME] [min_uses=N] [valid=TIME] | off;",
    doc="""Keeps access logs whose path holds variables open. At most `max` files of each `access_log`, the
longest unused goes first; a file not used for `inactive` (10s) is closed; it must have been used `min_uses`
times (1) to be kept; after `valid` (60s) it is checked that the path still leads to it.""",
    example="open_log_file_cache max=1000 inactive=20s valid=1m min_uses=2;",
)


# -- attaching the loggers


@final
class RootedPathWriter(PathWriter):
    """Writes only where the request's root directory exists, as nginx does: a host name that a client made up makes no file."""

    def may_write(self, session: Session) -> bool:
        assert isinstance(session, Request)
        root = document_root(session) or b"/"
        if os.path.isdir(root):
            return True
        shown = root.decode("utf-8", "backslashreplace")
        self.complaints.add(ERR, f'testing "{shown}" existence failed, nothing is logged', session)
        return False


@final
class AccessLogger(Logger):
    """Writes requests to one log in one format."""

    def __init__(self, form: LogFormat, writer: LogWriter, condition: Template | None) -> None:
        self.format = form
        self.writer = writer
        self.condition = condition

    def log(self, request: Request) -> None:
        """Write the request's line, unless the condition says no."""
        condition = self.condition
        if condition is not None:
            value = condition.render(request)
            if not value or value == b"0":
                return
        self.writer.write(self.format.render(request), request)

    def reopen(self) -> None:
        """Write out what is held, so that it reaches the old file: to be called before the files are
        reopened.
        """
        self.writer.finish()

    def flush(self) -> None:
        """Write out what `flush=` says is due."""
        self.writer.flush()

    def close(self) -> None:
        """Write out everything."""
        self.writer.finish()


@final
class _AccessLogs:
    """What one configuration logs to: each file once, each logger once."""

    def __init__(self, build: HttpBuild) -> None:
        self.build = build
        self.formats: dict[str, LogFormat] = {}  # by lower-case name
        self.writers: dict[str, FileWriter] = {}
        self.loggers: dict[tuple[AccessLog, OpenLogFileCache | None], AccessLogger] = {}
        self.default: AccessLog | None = None

    def add_formats(self) -> None:
        """Make the formats known by their names."""
        combined = LogFormat("combined", [COMBINED], ESCAPE_DEFAULT, None)
        combined.resolve(self.build.variables)
        names = {"combined"}
        self.formats["combined"] = combined
        for setting in self.build.scope.own_settings(LOG_FORMAT):
            form = setting.value
            if form.name in names:
                mistake = ConfigError(f'duplicate "log_format" name "{form.name}"', setting.where)
                self.build.scope.load.diagnostics.error(mistake)
                continue
            names.add(form.name)
            self.formats.setdefault(form.name.lower(), form)  # access_log finds names in any case

    def link(self, scope: Scope) -> None:
        """Find format and file of every `access_log` in `scope` and the blocks inside, used or not, as nginx
        does.
        """
        for log in scope.own_all(ACCESS_LOG):
            try:
                self._link(log)
            except ConfigError as mistake:
                scope.load.diagnostics.error(mistake)
        for child in scope.children:
            self.link(child)

    def _link(self, log: AccessLog) -> None:
        statement = log.statement
        if log.off or statement is None:
            return
        log.format = self.formats.get(log.format_name.lower())
        if log.format is None:
            hint = "the name of a format stands before the parameters" if "=" in log.format_name else ""
            raise statement.fail(f'unknown log format "{log.format_name}"', statement.args[1], hint)
        if not log.path:
            return
        writer = self.writer(log)
        if not log.size:
            return
        if writer.size and (writer.size, writer.flush_time, writer.gzip) != (
            log.size,
            log.flush_time,
            log.gzip,
        ):
            raise statement.fail(
                f'access_log "{statement.args[0].text}" already defined with conflicting parameters',
                statement.args[0],
            )
        writer.size = log.size
        writer.flush_time = log.flush_time
        writer.gzip = log.gzip

    def writer(self, log: AccessLog) -> FileWriter:
        """Return the one writer for the log's path: a buffer belongs to the file, whoever asked for it."""
        writer = self.writers.get(log.path)
        if writer is None:
            where = None if log.statement is None else log.statement.where
            writer = self.writers[log.path] = FileWriter(self.build.log_files.get(log.path, where))
        return writer

    def default_log(self) -> AccessLog:
        """Return what is in force where nothing is configured."""
        if self.default is None:
            self.default = AccessLog(None)
            self.default.path = self.build.scope.load.full_path(DEFAULT_PATH)
            self.default.format = self.formats["combined"]
        return self.default

    def logger(self, log: AccessLog, cache: OpenLogFileCache) -> AccessLogger | None:
        """Return the logger for `log`, made at the first call; None for one that has a mistake."""
        if log.format is None:
            return None
        key = (log, cache if log.template is not None else None)
        made = self.loggers.get(key)
        if made is None:
            made = AccessLogger(log.format, self._writer_of(log, cache), log.condition)
            self.loggers[key] = made
            self.build.loggers.append(made)
        return made

    def _writer_of(self, log: AccessLog, cache: OpenLogFileCache) -> LogWriter:
        if log.syslog is not None:
            return SyslogWriter(Syslog(log.syslog))
        if log.template is not None:
            return RootedPathWriter(log.template, self.build.scope.load.prefix, cache)
        return self.writer(log)


def _linked_logs(build: HttpBuild) -> _AccessLogs:
    logs = _AccessLogs(build)
    logs.add_formats()
    logs.link(build.scope)
    return logs


_LOGS: Final = BuildSlot[_AccessLogs](_linked_logs)


@final
class AccessLogFeature(Feature):
    """nginx's http_log module."""

    def http(self, build: HttpBuild) -> None:
        """Link every `access_log` with its format and its file."""
        _LOGS.of(build)

    def location(self, build: LocationBuild) -> None:
        """Attach the loggers in force."""
        logs = _LOGS.of(build.http)
        found = build.scope.all(ACCESS_LOG) or [logs.default_log()]
        if any(log.off for log in found):
            return
        cache = build.scope.get(OPEN_LOG_FILE_CACHE)
        for log in found:
            logger = logs.logger(log, cache)
            if logger is not None:
                build.loggers.append(logger)


FEATURE: Final = AccessLogFeature("http_log", (LOG_FORMAT, ACCESS_LOG, OPEN_LOG_FILE_CACHE))
