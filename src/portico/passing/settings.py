"""The families of directives about the exchange with an upstream: timeouts, retries, buffers, what is passed on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, final

from portico.config import values
from portico.config.diagnostics import ConfigError
from portico.config.directive import Directive, Scope
from portico.passing.bind import Binding, binding
from portico.passing.failure import CONDITIONS, ERROR, OFF, TIMEOUT
from portico.passing.families import ANYWHERE, Family, Prefix
from portico.variables.template import Template, size_template

_SECONDS: Final = 60.0  # nginx's default of all three timeouts
_PAGE: Final = 4096


@final
class UpstreamSettings:
    """The settings of one location's `*_pass`. Times in seconds, sizes in bytes.

    Each family of a protocol sets its part; what is here first is in force for a protocol without the family.
    """

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix  # of the directives, for messages that name one
        self.connect_timeout: float = _SECONDS
        self.send_timeout: float = _SECONDS
        self.read_timeout: float = _SECONDS
        self.buffer_size: int = _PAGE
        self.socket_keepalive = False
        self.bind: Binding | None = None
        self.next_upstream: int = ERROR | TIMEOUT
        self.tries = 0
        self.tries_timeout: float = 0.0
        self.buffering = False
        self.limit_rate: Template | None = None
        self.memory: int = _PAGE  # how much of a response is held for a slow client
        self.max_temp_file_size = 0
        self.temp_path = ""
        self.request_buffering = False
        self.pass_request_headers = True
        self.pass_request_body = True
        self.ignore_client_abort = False
        self.intercept_errors = False
        self.force_ranges = False


class UpstreamFamily(Family):
    """A family that sets a part of `UpstreamSettings`."""

    def apply(self, scope: Scope, settings: UpstreamSettings) -> None:
        """Set what holds in `scope`. Raises ConfigError for values that do not fit together."""


def upstream_settings(families: Sequence[UpstreamFamily], scope: Scope) -> UpstreamSettings:
    """Return the settings that hold in `scope`. `families`: those of one prefix. Raises ConfigError."""
    settings = UpstreamSettings(families[0].prefix.name)
    for family in families:
        family.apply(scope, settings)
    return settings


@final
class ExchangeDirectives(UpstreamFamily):
    """Timeouts, the room for a header section, the socket."""

    def __init__(self, prefix: Prefix) -> None:
        super().__init__(prefix)
        p, server = prefix.name, prefix.server
        self.connect_timeout = self.declare(Directive[float](
            f"{p}_connect_timeout", ANYWHERE, values.msec, args="1", default=_SECONDS, default_text="60s",
            doc=f"The longest time that connecting to {server} may take; after it the attempt has failed (504).",
            example=f"{p}_connect_timeout 5s;",
        ))
        self.send_timeout = self.declare(Directive[float](
            f"{p}_send_timeout", ANYWHERE, values.msec, args="1", default=_SECONDS, default_text="60s",
            doc=f"The longest pause between two writes of a request to {server}.", example=f"{p}_send_timeout 30s;",
        ))
        self.read_timeout = self.declare(Directive[float](
            f"{p}_read_timeout", ANYWHERE, values.msec, args="1", default=_SECONDS, default_text="60s",
            doc=f"The longest pause between two reads of a response of {server}; when it is exceeded before the header section "
            "has come, the attempt has failed (504).",
            example=f"{p}_read_timeout 30s;",
        ))
        self.buffer_size = self.declare(Directive[int](
            f"{p}_buffer_size", ANYWHERE, values.size, args="1", default=_PAGE, default_text="4k",
            doc="The largest header section that a response may have; with a longer one the response is invalid (502).",
            example=f"{p}_buffer_size 16k;",
        ))
        self.socket_keepalive = self.declare(Directive[bool](
            f"{p}_socket_keepalive", ANYWHERE, values.flag, args="1", default=False, default_text="off",
            doc=f"TCP keepalive (SO_KEEPALIVE) on connections to {server}.", example=f"{p}_socket_keepalive on;",
        ))

        self.bind = self.declare(Directive[Binding | None](
            f"{p}_bind", ANYWHERE, binding, args="1-2", default=None, default_text="off",
            syntax="ADDRESS [transparent] | off",
            doc=f"The address of this machine, perhaps with a port, that connections to {server} come from; it may hold variables, "
            "and none is set where they come to nothing. `off` lets the system choose. With `transparent` it may be an address of "
            f"another machine, such as the client's ($remote_addr), if routing brings the packets of {server} back here; workers "
            "keep CAP_NET_RAW for it. When the address cannot be used, the response is a 500.",
            example=f"{p}_bind 127.0.0.1;",
        ))

    def apply(self, scope: Scope, settings: UpstreamSettings) -> None:
        settings.bind = scope.get(self.bind)
        settings.connect_timeout = scope.get(self.connect_timeout)
        settings.send_timeout = scope.get(self.send_timeout)
        settings.read_timeout = scope.get(self.read_timeout)
        settings.buffer_size = scope.get(self.buffer_size)
        settings.socket_keepalive = scope.get(self.socket_keepalive)


@final
class RetryDirectives(UpstreamFamily):
    """When a request is retried with another peer. `conditions`: those that the protocol knows (passing/failure.py)."""

    def __init__(self, prefix: Prefix, conditions: dict[str, int] = CONDITIONS) -> None:
        super().__init__(prefix)
        p = prefix.name
        words = list(conditions)
        doc = "The failures after which a request is retried with the next peer; `off`: none."
        if "non_idempotent" in conditions:
            doc += (
                " A request that is not idempotent (POST, LOCK, PATCH) and was sent already is retried only with `non_idempotent`."
            )
        self.next_upstream = self.declare(Directive[int](
            f"{p}_next_upstream", ANYWHERE, values.bits(conditions), args="1+", joins=True, default=ERROR | TIMEOUT,
            default_text="error timeout", syntax=" | ".join(words) + " ...", doc=doc,
            example=f"{p}_next_upstream {' '.join(words[:3])};",
        ))
        self.tries = self.declare(Directive[int](
            f"{p}_next_upstream_tries", ANYWHERE, values.number, args="1", default=0, default_text="0",
            doc="How many attempts one request gets; 0: as many as there are peers.",
            example=f"{p}_next_upstream_tries 2;",
        ))
        self.timeout = self.declare(Directive[float](
            f"{p}_next_upstream_timeout", ANYWHERE, values.msec, args="1", default=0.0, default_text="0",
            doc="After this time there is no further attempt; 0: no limit.", example=f"{p}_next_upstream_timeout 10s;",
        ))

    def apply(self, scope: Scope, settings: UpstreamSettings) -> None:
        conditions: int = scope.get(self.next_upstream)
        settings.next_upstream = 0 if conditions & OFF else conditions
        settings.tries = scope.get(self.tries)
        settings.tries_timeout = scope.get(self.timeout)


@final
class BufferingDirectives(UpstreamFamily):
    """How responses are buffered. `exchange`: the protocol's, for nginx's check of the sizes against each other."""

    def __init__(self, exchange: ExchangeDirectives) -> None:
        super().__init__(exchange.prefix)
        p, server = self.prefix.name, self.prefix.server
        self.buffer_size = exchange.buffer_size
        self.buffering = self.declare(Directive[bool](
            f"{p}_buffering", ANYWHERE, values.flag, args="1", default=True, default_text="on",
            doc=f"On: a response is read as fast as it comes, into buffers and then a temporary file, and {server} is free "
            f"again however slow the client is. Off: every piece is passed on at once, and {server} waits for the client. "
            "`X-Accel-Buffering` in a response overrides it.",
            example=f"{p}_buffering off;",
        ))
        self.buffers = self.declare(Directive[tuple[int, int]](
            f"{p}_buffers", ANYWHERE, values.buffers, args="2", default=(8, _PAGE), default_text="8 4k",
            doc="Number and size of the buffers for one response: number × size is held in memory while the client reads slowly, "
            "the rest goes to a temporary file.",
            example=f"{p}_buffers 16 8k;",
        ))
        self.limit_rate = self.declare(Directive[Template | None](
            f"{p}_limit_rate", ANYWHERE, size_template, args="1", default=None, default_text="0", syntax="RATE",
            doc=f"Bytes a second that one response is read from {server} with; 0 is no limit. It may hold variables, and holds for "
            f"responses that are buffered (`{p}_buffering`). Connections to {server} are limited one by one.",
            example=f"{p}_limit_rate 100k;",
        ))
        self.busy_buffers_size = self.declare(Directive[int](
            f"{p}_busy_buffers_size", ANYWHERE, values.size, args="1", default=2 * _PAGE, default_text="8k",
            doc="In nginx: how much may be on its way to the client at a time. Portico passes pieces on as they come and never "
            "holds more than one for sending; the value is checked against the buffers, as in nginx, and has no effect.",
            example=f"{p}_busy_buffers_size 16k;",
        ))
        self.max_temp_file_size = self.declare(Directive[int](
            f"{p}_max_temp_file_size", ANYWHERE, values.offset, args="1", default=1 << 30, default_text="1024m",
            doc=f"How large the temporary file of one response may grow; then {server} waits for the client. 0: no file. "
            "It does not apply to responses that are being cached or stored: those wait for nobody.",
            example=f"{p}_max_temp_file_size 0;",
        ))
        self.temp_file_write_size = self.declare(Directive[int](
            f"{p}_temp_file_write_size", ANYWHERE, values.size, args="1", default=2 * _PAGE, default_text="8k",
            doc="In nginx: how much is written to a temporary file at a time. Portico writes what it has read; the value is "
            "checked and has no effect.",
            example=f"{p}_temp_file_write_size 16k;",
        ))
        self.temp_path = self.declare(Directive[list[str]](
            f"{p}_temp_path", ANYWHERE, values.temp_path, args="1-4", default=[f"{p}_temp"], default_text=f"{p}_temp",
            doc="The directory of temporary files. They are unlinked as soon as they are open, so levels are accepted and "
            "never needed.",
            example=f"{p}_temp_path /tmp/portico_{p};",
        ))

    def apply(self, scope: Scope, settings: UpstreamSettings) -> None:
        settings.buffering = scope.get(self.buffering)
        settings.limit_rate = scope.get(self.limit_rate)
        number, size = scope.get(self.buffers)
        settings.memory = number * size
        settings.max_temp_file_size = scope.get(self.max_temp_file_size)
        settings.temp_path = self.temp_directory(scope)
        self._check_busy(scope, number, size)

    def temp_directory(self, scope: Scope) -> str:
        """Return the directory of temporary files, absolute."""
        return scope.load.full_path(scope.get(self.temp_path)[0])

    def _check_busy(self, scope: Scope, number: int, size: int) -> None:
        """Raise ConfigError where nginx refuses the sizes (ngx_http_proxy_merge_loc_conf and its like)."""
        setting = scope.setting(self.busy_buffers_size)
        if setting is None:
            return
        name, buffers = self.busy_buffers_size.name, self.buffers.name
        if setting.value < max(size, scope.get(self.buffer_size)):
            raise ConfigError(
                f'"{name}" must be equal to or greater than the maximum of the value of "{self.buffer_size.name}" and one of the '
                f'"{buffers}"',
                setting.where,
            )
        if setting.value > (number - 1) * size:
            raise ConfigError(f'"{name}" must be less than the size of all "{buffers}" minus one buffer', setting.where)


@final
class RequestDirectives(UpstreamFamily):
    """What is passed on of the client's request, and what becomes of it when the client leaves."""

    def __init__(self, prefix: Prefix) -> None:
        super().__init__(prefix)
        p, server = prefix.name, prefix.server
        self.request_buffering = self.declare(Directive[bool](
            f"{p}_request_buffering", ANYWHERE, values.flag, args="1", default=True, default_text="on",
            doc=f"On: the whole request body is read before {server} gets the request, so that it can be retried with another peer. "
            "Off: it is passed on as it comes, and there is no retry once a part was sent.",
            example=f"{p}_request_buffering off;",
        ))
        self.pass_request_headers = self.declare(Directive[bool](
            f"{p}_pass_request_headers", ANYWHERE, values.flag, args="1", default=True, default_text="on",
            doc="Whether the client's header fields are passed on.", example=f"{p}_pass_request_headers off;",
        ))
        self.pass_request_body = self.declare(Directive[bool](
            f"{p}_pass_request_body", ANYWHERE, values.flag, args="1", default=True, default_text="on",
            doc="Whether the client's body is passed on.", example=f"{p}_pass_request_body off;",
        ))
        self.ignore_client_abort = self.declare(Directive[bool](
            f"{p}_ignore_client_abort", ANYWHERE, values.flag, args="1", default=False, default_text="off",
            doc=f"On: the request to {server} is finished although the client has left. Off: the connection is closed (499 in "
            "the log).",
            example=f"{p}_ignore_client_abort on;",
        ))

    def apply(self, scope: Scope, settings: UpstreamSettings) -> None:
        settings.request_buffering = scope.get(self.request_buffering)
        settings.pass_request_headers = scope.get(self.pass_request_headers)
        settings.pass_request_body = scope.get(self.pass_request_body)
        settings.ignore_client_abort = scope.get(self.ignore_client_abort)


@final
class InterceptDirectives(UpstreamFamily):
    """Error pages of Portico's own in place of the upstream's."""

    def __init__(self, prefix: Prefix) -> None:
        super().__init__(prefix)
        p = prefix.name
        self.intercept_errors = self.declare(Directive[bool](
            f"{p}_intercept_errors", ANYWHERE, values.flag, args="1", default=False, default_text="off",
            doc="On: responses with a status of 300 or more that an `error_page` handles are replaced by it.",
            example=f"{p}_intercept_errors on;",
        ))

    def apply(self, scope: Scope, settings: UpstreamSettings) -> None:
        settings.intercept_errors = scope.get(self.intercept_errors)


@final
class RangeDirectives(UpstreamFamily):
    """Ranges of responses whose upstream does not serve any."""

    def __init__(self, prefix: Prefix) -> None:
        super().__init__(prefix)
        p = prefix.name
        self.force_ranges = self.declare(Directive[bool](
            f"{p}_force_ranges", ANYWHERE, values.flag, args="1", default=False, default_text="off",
            doc="Ranges of any response that has a length are served, also when it does not say `Accept-Ranges`.",
            example=f"{p}_force_ranges on;",
        ))

    def apply(self, scope: Scope, settings: UpstreamSettings) -> None:
        settings.force_ranges = scope.get(self.force_ranges)
