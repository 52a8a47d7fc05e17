"""How `access_log`, `log_format` and `open_log_file_cache` are written.

Source: https://nginx.org/en/docs/http/ngx_http_log_module.html
"""

from __future__ import annotations

from typing import Final, final

from portico.config.reader import Argument, Statement
from portico.config.values import number_of, seconds_of, size_of, time_of
from portico.logs.log_file import OpenLogFileCache
from portico.logs.log_format import ESCAPE_DEFAULT, ESCAPES, LogFormat
from portico.syslog import SyslogTarget, parse_target
from portico.variables.template import Template, template, template_of

_GZIP_BUFFER: Final = 65536
_BEST_SPEED: Final = 1  # zlib's


@final
class AccessLog:
    """One `access_log` as written. `format` is found once the whole block around it is read."""

    def __init__(self, statement: Statement | None) -> None:
        self.statement = statement
        self.off = False
        self.path = ""  # complete; empty when it holds variables, and for syslog
        self.template: Template | None = None
        self.syslog: SyslogTarget | None = None
        self.format_name = "combined"
        self.format: LogFormat | None = None
        self.condition: Template | None = None
        self.size = 0
        self.flush_time = 0.0
        self.gzip = 0


def parse_access_log(statement: Statement) -> AccessLog:
    """Return an `access_log` as written; the directive's parser. Raises ConfigError."""
    log = AccessLog(statement)
    target = statement.args[0]
    if target.text == "off":
        log.off = True
        if len(statement.args) > 1:
            raise _invalid(statement, statement.args[1])
        return log
    if target.text.startswith("syslog:"):
        try:
            log.syslog = parse_target(target.text[7:])
        except ValueError as error:
            raise statement.fail(str(error), target) from None
    elif "$" in target.text:
        log.template = template(statement)
    else:
        log.path = statement.load.full_path(target.text)
    if len(statement.args) > 1:
        log.format_name = statement.args[1].text
    for argument in statement.args[2:]:
        _parse_option(statement, log, argument)
    _check_buffer(statement, log)
    return log


def _parse_option(statement: Statement, log: AccessLog, argument: Argument) -> None:
    name, equals, value = argument.text.partition("=")
    if name == "gzip":
        log.size = log.size or _GZIP_BUFFER
        level = number_of(value) if equals else _BEST_SPEED
        if level is None or not 1 <= level <= 9:
            raise statement.fail(f'invalid compression level "{value}"', argument)
        log.gzip = level
    elif name == "buffer" and equals:
        size = size_of(value)
        if not size:
            raise statement.fail(f'invalid buffer size "{value}"', argument)
        log.size = size
    elif name == "flush" and equals:
        seconds = time_of(value)
        if not seconds:
            raise statement.fail(f'invalid flush time "{value}"', argument)
        log.flush_time = seconds
    elif name == "if" and equals:
        log.condition = template_of(value, statement)
    else:
        raise _invalid(statement, argument)


def _check_buffer(statement: Statement, log: AccessLog) -> None:
    target = statement.args[0]
    if log.flush_time and not log.size:
        raise statement.fail(f'no buffer is defined for access_log "{target.text}"', target)
    if log.size and log.template is not None:
        raise statement.fail("buffered logs cannot have variables in name", target)
    if log.size and log.syslog is not None:
        raise statement.fail("logs to syslog cannot be buffered", target)


def _invalid(statement: Statement, argument: Argument) -> Exception:
    return statement.fail(f'invalid parameter "{argument.text}"', argument)


def parse_log_format(statement: Statement) -> LogFormat:
    """Return a `log_format`, to be resolved at the end of loading; the directive's parser. Raises ConfigError."""
    texts = [argument.text for argument in statement.args[1:]]
    escaping = ESCAPE_DEFAULT
    if texts[0].startswith("escape="):
        kind = texts.pop(0)[7:]
        found = ESCAPES.get(kind)
        if found is None:
            raise statement.fail(f'unknown log format escaping "{kind}"', statement.args[1])
        escaping = found
    made = LogFormat(statement.args[0].text, texts, escaping, statement)
    statement.load.resolve_later(made)
    return made


def parse_open_log_file_cache(statement: Statement) -> OpenLogFileCache:
    """Return what `open_log_file_cache` says; the directive's parser. Raises ConfigError."""
    cache = OpenLogFileCache(0)
    if statement.args[0].text == "off" and len(statement.args) == 1:
        return cache
    for argument in statement.args:
        if not _set_cache(cache, argument.text):
            raise statement.fail(f'invalid "open_log_file_cache" parameter "{argument.text}"', argument)
    if not cache.most:
        raise statement.fail('"open_log_file_cache" must have "max" parameter')
    return cache


def _set_cache(cache: OpenLogFileCache, text: str) -> bool:
    name, _, value = text.partition("=")
    if name == "max" or name == "min_uses":
        number = number_of(value)
        if number is None or (name == "min_uses" and number == 0):
            return False
        if name == "max":
            cache.most = number
        else:
            cache.min_uses = number
        return True
    if name == "inactive" or name == "valid":
        seconds = seconds_of(value)
        if seconds is None:
            return False
        if name == "inactive":
            cache.inactive = float(seconds)
        else:
            cache.valid = float(seconds)
        return True
    return False
