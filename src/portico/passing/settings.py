"""What every `*_pass` has in common: timeouts, buffers, retries. One family of directives for each prefix (`proxy_…`)."""

from __future__ import annotations

from typing import Final, final

from portico.config import values
from portico.config.directive import HTTP, LOCATION, SERVER, Directive, Scope
from portico.passing.failure import CONDITIONS, ERROR, OFF, TIMEOUT

_ALL: Final = HTTP | SERVER | LOCATION
_PAGE: Final = 4096


@final
class UpstreamDirectives:
    """The shared directives under one prefix."""

    def __init__(self, prefix: str, what: str) -> None:
        p = prefix
        self.connect_timeout = Directive[float](
            f"{p}_connect_timeout", _ALL, values.msec, args="1", default=60.0, default_text="60s",
            doc=f"How long a connection to {what} may take to be made; after it the attempt has failed (504).",
            example=f"{p}_connect_timeout 5s;",
        )
        self.send_timeout = Directive[float](
            f"{p}_send_timeout", _ALL, values.msec, args="1", default=60.0, default_text="60s",
            doc=f"The longest pause between two writes of a request to {what}.", example=f"{p}_send_timeout 30s;",
        )
        self.read_timeout = Directive[float](
            f"{p}_read_timeout", _ALL, values.msec, args="1", default=60.0, default_text="60s",
            doc=f"The longest pause between two reads of an answer of {what}; before its head has come, a 504 is the answer.",
            example=f"{p}_read_timeout 30s;",
        )
        self.buffering = Directive[bool](
            f"{p}_buffering", _ALL, values.flag, args="1", default=True, default_text="on",
            doc="On: the answer is read as fast as it comes, into buffers and then a temporary file, and the upstream is free "
            "again however slow the client is. Off: every piece is passed on at once, and the upstream waits for the client. "
            "`X-Accel-Buffering` in an answer overrides it.",
            example=f"{p}_buffering off;",
        )
        self.buffer_size = Directive[int](
            f"{p}_buffer_size", _ALL, values.size, args="1", default=_PAGE, default_text="4k",
            doc="The most that the head of an answer may occupy; a longer one is an invalid answer (502).",
            example=f"{p}_buffer_size 16k;",
        )
        self.buffers = Directive[tuple[int, int]](
            f"{p}_buffers", _ALL, values.buffers, args="2", default=(8, _PAGE), default_text="8 4k",
            doc="Number and size of the buffers for one answer: number × size is held in memory while the client reads slowly, "
            "the rest goes to a temporary file.",
            example=f"{p}_buffers 16 8k;",
        )
        self.busy_buffers_size = Directive[int](
            f"{p}_busy_buffers_size", _ALL, values.size, args="1", default=2 * _PAGE, default_text="8k",
            doc="nginx: how much may be on its way to the client at a time. Portico hands pieces on as they come and never "
            "holds more for sending than one; the value is checked against the buffers, as nginx does.",
            example=f"{p}_busy_buffers_size 16k;",
        )
        self.max_temp_file_size = Directive[int](
            f"{p}_max_temp_file_size", _ALL, values.offset, args="1", default=1 << 30, default_text="1024m",
            doc="How large the temporary file of one answer may grow; then the upstream waits for the client. 0: no file. "
            "Not for answers that a cache or store keeps: those wait for nobody.",
            example=f"{p}_max_temp_file_size 0;",
        )
        self.temp_file_write_size = Directive[int](
            f"{p}_temp_file_write_size", _ALL, values.size, args="1", default=2 * _PAGE, default_text="8k",
            doc="nginx: how much goes to a temporary file at a time. Portico writes what it has read; checked, of no effect.",
            example=f"{p}_temp_file_write_size 16k;",
        )
        self.temp_path = Directive[list[str]](
            f"{p}_temp_path", _ALL, values.temp_path, args="1-4", default=[f"{p}_temp"], default_text=f"{p}_temp",
            doc="The directory of temporary files. They are unlinked as soon as they are open, so levels are accepted and "
            "never needed.",
            example=f"{p}_temp_path /tmp/portico_{p};",
        )
        self.request_buffering = Directive[bool](
            f"{p}_request_buffering", _ALL, values.flag, args="1", default=True, default_text="on",
            doc="On: the whole request body is read before an upstream is asked, so that another can be tried. Off: it is passed "
            "on as it comes, and there is no second try once a part was sent.",
            example=f"{p}_request_buffering off;",
        )
        self.ignore_client_abort = Directive[bool](
            f"{p}_ignore_client_abort", _ALL, values.flag, args="1", default=False, default_text="off",
            doc="On: the upstream is let finish when the client has left. Off: its connection is closed (499 in the log).",
            example=f"{p}_ignore_client_abort on;",
        )
        self.intercept_errors = Directive[bool](
            f"{p}_intercept_errors", _ALL, values.flag, args="1", default=False, default_text="off",
            doc="On: answers with a status of 300 or more that an `error_page` handles are replaced by it.",
            example=f"{p}_intercept_errors on;",
        )
        self.next_upstream = Directive[int](
            f"{p}_next_upstream", _ALL, values.bits(CONDITIONS), args="1+", default=ERROR | TIMEOUT,
            default_text="error timeout",
            syntax="error | timeout | invalid_header | http_500 | http_502 | http_503 | http_504 | http_403 | http_404 "
            "| http_429 | non_idempotent | off ...",
            doc="After what an attempt is repeated with the next server: `error`, `timeout`, `invalid_header`, `http_500` …, "
            "`http_429`, `off`. A request that is not idempotent (POST, LOCK, PATCH) and was sent already is repeated only "
            "with `non_idempotent`.",
            example=f"{p}_next_upstream error timeout http_503;",
        )
        self.next_upstream_tries = Directive[int](
            f"{p}_next_upstream_tries", _ALL, values.number, args="1", default=0, default_text="0",
            doc="How many attempts one request gets; 0: as many as there are servers.",
            example=f"{p}_next_upstream_tries 2;",
        )
        self.next_upstream_timeout = Directive[float](
            f"{p}_next_upstream_timeout", _ALL, values.msec, args="1", default=0.0, default_text="0",
            doc="After this time no further attempt is begun; 0: no limit.", example=f"{p}_next_upstream_timeout 10s;",
        )
        self.socket_keepalive = Directive[bool](
            f"{p}_socket_keepalive", _ALL, values.flag, args="1", default=False, default_text="off",
            doc="TCP keepalive (SO_KEEPALIVE) on connections to upstreams.", example=f"{p}_socket_keepalive on;",
        )

    def all(self) -> tuple[Directive[object], ...]:
        """Every directive of the family."""
        return (
            self.connect_timeout, self.send_timeout, self.read_timeout, self.buffering, self.buffer_size, self.buffers,
            self.busy_buffers_size, self.max_temp_file_size, self.temp_file_write_size, self.temp_path,
            self.request_buffering, self.ignore_client_abort, self.intercept_errors, self.next_upstream,
            self.next_upstream_tries, self.next_upstream_timeout, self.socket_keepalive,
        )  # fmt: skip


@final
class UpstreamSettings:
    """The shared settings as they hold in one location. Times in seconds, sizes in bytes."""

    def __init__(self, d: UpstreamDirectives, scope: Scope) -> None:
        self.connect_timeout: float = scope.get(d.connect_timeout)
        self.send_timeout: float = scope.get(d.send_timeout)
        self.read_timeout: float = scope.get(d.read_timeout)
        self.buffering: bool = scope.get(d.buffering)
        self.buffer_size: int = scope.get(d.buffer_size)
        number, size = scope.get(d.buffers)
        self.memory: int = number * size
        self.max_temp_file_size: int = scope.get(d.max_temp_file_size)
        self.temp_path: str = scope.load.full_path(scope.get(d.temp_path)[0])
        self.request_buffering: bool = scope.get(d.request_buffering)
        self.ignore_client_abort: bool = scope.get(d.ignore_client_abort)
        self.intercept_errors: bool = scope.get(d.intercept_errors)
        conditions: int = scope.get(d.next_upstream)
        self.next_upstream: int = 0 if conditions & OFF else conditions
        self.tries: int = scope.get(d.next_upstream_tries)
        self.tries_timeout: float = scope.get(d.next_upstream_timeout)
        self.socket_keepalive: bool = scope.get(d.socket_keepalive)
        _check_busy(d, scope, self.memory, size, self.buffer_size)


def _check_busy(d: UpstreamDirectives, scope: Scope, memory: int, size: int, head: int) -> None:
    """nginx's checks of the sizes against each other."""
    setting = scope.setting(d.busy_buffers_size)
    if setting is None:
        return
    name = d.busy_buffers_size.name
    from portico.config.diagnostics import ConfigError

    if setting.value < max(size, head):
        raise ConfigError(
            f'"{name}" must be equal to or greater than the maximum of the value of "{d.buffer_size.name}" and one of the '
            f'"{d.buffers.name}"',
            setting.where,
        )
    if setting.value > memory - size:
        raise ConfigError(
            f'"{name}" must be less than the size of all "{d.buffers.name}" minus one buffer', setting.where
        )
