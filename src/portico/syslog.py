"""Sending log lines to a syslog server, with the parameters that nginx's ``syslog:`` takes.

A target is written as ``syslog:server=ADDRESS[,facility=F][,severity=S][,tag=T][,nohostname]`` in
``error_log`` and ``access_log``. The datagram is nginx's (RFC 3164 without the newline)::

    <190>Nov 23 08:07:42 host tag: message

Delivery is best effort: a datagram that cannot be sent at once is dropped, and the next one opens the
socket anew.
"""

import socket
import time
from typing import Final, final

from portico.config.values import port_of
from portico.net.resolver import ResolveError, resolve_blocking

FACILITIES: Final = (
    "kern", "user", "mail", "daemon", "auth", "intern", "lpr", "news", "uucp", "clock", "authpriv", "ftp",
    "ntp", "audit", "alert", "cron", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
)  # fmt: skip
SEVERITIES: Final = ("emerg", "alert", "crit", "error", "warn", "notice", "info", "debug")
MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
SYSLOG_PORT: Final = 514
TAG_LIMIT: Final = 32


@final
class SyslogTarget:
    """What one ``syslog:`` parameter asks for. `address` is a path for a Unix socket, else (host, port)."""

    def __init__(self) -> None:
        self.family: int = 0
        self.address: str | tuple[str, int] = ""
        self.facility: int = FACILITIES.index("local7")
        self.severity: int = SEVERITIES.index("info")
        self.tag: str = "nginx"  # what the filters of syslog servers look for
        self.hostname: bool = True


def parse_target(text: str) -> SyslogTarget:
    """Read what follows ``syslog:``; raises ValueError with nginx's words for what is wrong."""
    target = SyslogTarget()
    for parameter in text.split(","):
        name, equals, value = parameter.partition("=")
        if parameter == "nohostname":
            target.hostname = False
        elif not equals or not _set_parameter(target, name, value):
            raise ValueError(f'unknown syslog parameter "{parameter}"')
    if target.address == "":
        raise ValueError("no syslog server specified")
    return target


def _set_parameter(target: SyslogTarget, name: str, value: str) -> bool:
    if name == "server":
        if target.address != "":
            raise ValueError('duplicate syslog "server"')
        target.family, target.address = _address(value)
    elif name == "facility":
        target.facility = _index(FACILITIES, name, value)
    elif name == "severity":
        target.severity = _index(SEVERITIES, name, value)
    elif name == "tag":
        target.tag = _tag(value)
    else:
        return False
    return True


def _index(names: tuple[str, ...], kind: str, value: str) -> int:
    if value not in names:
        raise ValueError(f'unknown syslog {kind} "{value}"')
    return names.index(value)


def _tag(value: str) -> str:
    if len(value) > TAG_LIMIT:
        raise ValueError(f"syslog tag length exceeds {TAG_LIMIT}")
    if not value.replace("_", "").isalnum() or not value.isascii():
        raise ValueError('syslog "tag" only allows alphanumeric characters and underscore')
    return value


def _address(value: str) -> tuple[int, str | tuple[str, int]]:
    if value.startswith("unix:"):
        return socket.AF_UNIX, value[5:]
    host, port = value, ""
    if value.startswith("["):
        host, _, rest = value[1:].partition("]")
        port = rest[1:]
    elif value.count(":") == 1:
        host, port = value.split(":")
    number = port_of(port) if port else SYSLOG_PORT
    if number is None:
        raise ValueError(f'invalid port in syslog server "{value}"')
    try:
        found = resolve_blocking(host, number, socket.SOCK_DGRAM).addresses
    except ResolveError:
        raise ValueError(f'host not found in syslog server "{value}"') from None
    family, address = found[0]
    return family, (address[0], address[1])


@final
class Syslog:
    """One process's connection to a syslog server. Made before the fork it is opened only at the first
    line.
    """

    def __init__(self, target: SyslogTarget) -> None:
        self.target = target
        self._socket: socket.socket | None = None
        name = socket.gethostname() if target.hostname else ""
        self._origin: str = f"{name} {target.tag}: " if name else f"{target.tag}: "

    def send(self, message: bytes, severity: int = -1) -> None:
        """Send one line (no newline); severity -1 is the target's own. Never raises, never waits."""
        priority = self.target.facility * 8 + (self.target.severity if severity < 0 else severity)
        now = time.localtime()
        stamp = (
            f"{MONTHS[now.tm_mon - 1]} {now.tm_mday:2d} {now.tm_hour:02d}:{now.tm_min:02d}:{now.tm_sec:02d}"
        )
        datagram = f"<{priority}>{stamp} {self._origin}".encode() + message
        try:
            if self._socket is None:
                self._socket = self._connect()
            self._socket.send(datagram)
        except BlockingIOError:
            pass
        except OSError:
            self.close()

    def _connect(self) -> socket.socket:
        connected = socket.socket(self.target.family, socket.SOCK_DGRAM)
        try:
            connected.setblocking(False)
            connected.connect(self.target.address)
        except OSError:
            connected.close()
            raise
        return connected

    def close(self) -> None:
        """Close the socket; the next line opens another."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
