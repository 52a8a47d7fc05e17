"""Variables of the connection, the server that answers, this process and the clock.

Source of names and meanings: https://nginx.org/en/docs/http/ngx_http_core_module.html#variables
"""

from __future__ import annotations

import os
import socket
import struct
import time
from typing import TYPE_CHECKING, Final, final

from portico.variables.template import PER_REQUEST, STABLE_FIELDS, STABLE_LOAD, Getter, Variable

if TYPE_CHECKING:
    from portico.http.request import Request

NGINX_VERSION: Final = b"1.29.7"  # the nginx whose configuration language this is
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_TCP_INFO_SIZE: Final = 104  # struct tcp_info up to tcpi_total_retrans (linux/tcp.h)
_RTT: Final = 68
_RTTVAR: Final = 72
_SND_CWND: Final = 80
_RCV_SPACE: Final = 96


@final
class LocalTime:
    """The two spellings of local time that logs use, made once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._common: bytes = b""
        self._iso8601: bytes = b""

    def common(self, now: float) -> bytes:
        """`28/Sep/1970:12:00:00 +0600`. `now`: seconds since the epoch."""
        second = int(now)
        if second != self._second:
            self._update(second)
        return self._common

    def iso8601(self, now: float) -> bytes:
        """`1970-09-28T12:00:00+06:00`. `now`: seconds since the epoch."""
        second = int(now)
        if second != self._second:
            self._update(second)
        return self._iso8601

    def _update(self, second: int) -> None:
        t = time.localtime(second)
        sign = "-" if t.tm_gmtoff < 0 else "+"
        hours, minutes = divmod(abs(t.tm_gmtoff) // 60, 60)
        clock = f"{t.tm_hour:02d}:{t.tm_min:02d}:{t.tm_sec:02d}"
        self._common = (
            f"{t.tm_mday:02d}/{_MONTHS[t.tm_mon - 1]}/{t.tm_year}:{clock} {sign}{hours:02d}{minutes:02d}"
        ).encode()
        self._iso8601 = (
            f"{t.tm_year}-{t.tm_mon:02d}-{t.tm_mday:02d}T{clock}{sign}{hours:02d}:{minutes:02d}"
        ).encode()
        self._second = second


_LOCAL_TIME: Final = LocalTime()


def seconds_text(seconds: float) -> bytes:
    """`12.345`: seconds with milliseconds cut off, never negative, as nginx writes times."""
    milliseconds = int(seconds * 1000.0)
    if milliseconds <= 0:
        return b"0.000"
    return b"%d.%03d" % (milliseconds // 1000, milliseconds % 1000)


# -- the two ends of the connection


def _remote_addr(request: Request) -> bytes | None:
    return request.remote_addr


def _remote_port(request: Request) -> bytes | None:
    return request.remote_port


def _binary_remote_addr(request: Request) -> bytes | None:
    return request.packed_address() or request.remote_addr


def _local(request: Request) -> tuple[str, int]:
    client = request.client
    try:
        return client.server_addr()
    except OSError:  # closed already, and never asked before: the listener's own address is the best we know
        address = client.listener.spec.address
        return (f"unix:{address}", 0) if isinstance(address, str) else address


def _server_addr(request: Request) -> bytes | None:
    return _local(request)[0].encode("utf-8", "surrogateescape")


def _server_port(request: Request) -> bytes | None:
    port = _local(request)[1]
    return b"%d" % port if port else b""


def _connection(request: Request) -> bytes | None:
    return b"%d" % request.client.number


def _connection_requests(request: Request) -> bytes | None:
    return b"%d" % request.client.requests


def _connection_time(request: Request) -> bytes | None:
    client = request.client
    return seconds_text(client.reactor.now - client.started)


def _scheme(request: Request) -> bytes | None:
    return b"https" if request.client.secure else b"http"


def _https(request: Request) -> bytes | None:
    return b"on" if request.client.secure else b""


def _tcp_info(offset: int) -> Getter:
    def get(request: Request) -> bytes | None:
        info = request.client.tcp_info(_TCP_INFO_SIZE)
        if len(info) < offset + 4:
            return None
        number: int = struct.unpack_from("=I", info, offset)[0]
        return b"%d" % number

    return get


# -- the server and this process


def _server_name(request: Request) -> bytes | None:
    return request.server.name_bytes


def _nginx_version(request: Request) -> bytes | None:
    return NGINX_VERSION


@final
class _HostName:
    """The machine's name in lower case, as nginx keeps it; asked for once."""

    def __init__(self) -> None:
        self.name: bytes = b""

    def get(self) -> bytes:
        if not self.name:
            self.name = socket.gethostname().lower().encode("utf-8", "surrogateescape")
        return self.name


_HOST_NAME: Final = _HostName()


def _hostname(request: Request) -> bytes | None:
    return _HOST_NAME.get()


def _pid(request: Request) -> bytes | None:
    return b"%d" % os.getpid()


# -- the clock


def _msec(request: Request) -> bytes | None:
    return seconds_text(request.reactor.wall())


def _time_local(request: Request) -> bytes | None:
    return _LOCAL_TIME.common(request.reactor.wall())


def _time_iso8601(request: Request) -> bytes | None:
    return _LOCAL_TIME.iso8601(request.reactor.wall())


CONNECTION_VARIABLES: Final[tuple[Variable, ...]] = (
    Variable(
        "binary_remote_addr",
        _binary_remote_addr,
        STABLE_FIELDS,
        "The client's address in binary: 4 bytes for IPv4, 16 for IPv6; good as a key.",
    ),
    Variable("connection", _connection, STABLE_FIELDS, "The serial number of the connection."),
    Variable(
        "connection_requests",
        _connection_requests,
        PER_REQUEST,
        "How many requests came on this connection so far.",
    ),
    Variable(
        "connection_time",
        _connection_time,
        PER_REQUEST,
        "How long the connection has been open, in seconds with milliseconds.",
    ),
    Variable("hostname", _hostname, STABLE_LOAD, "The machine's host name."),
    Variable("https", _https, STABLE_FIELDS, "`on` when the connection uses TLS, else empty."),
    Variable("msec", _msec, PER_REQUEST, "Seconds since 1970 with milliseconds."),
    Variable(
        "nginx_version",
        _nginx_version,
        STABLE_LOAD,
        "The version of nginx whose configuration language Portico speaks.",
    ),
    Variable("pid", _pid, STABLE_FIELDS, "The worker's process number."),
    Variable("remote_addr", _remote_addr, STABLE_FIELDS, "The client's address."),
    Variable("remote_port", _remote_port, STABLE_FIELDS, "The client's port; empty for a Unix socket."),
    Variable("scheme", _scheme, STABLE_FIELDS, "`http` or `https`."),
    Variable("server_addr", _server_addr, STABLE_FIELDS, "The address that the client connected to."),
    Variable(
        "server_name", _server_name, STABLE_FIELDS, "The first `server_name` of the server that answers."
    ),
    Variable("server_port", _server_port, STABLE_FIELDS, "The port that the client connected to."),
    Variable(
        "tcpinfo_rtt",
        _tcp_info(_RTT),
        PER_REQUEST,
        "The connection's smoothed round trip time in microseconds, as the kernel measures it.",
    ),
    Variable(
        "tcpinfo_rttvar",
        _tcp_info(_RTTVAR),
        PER_REQUEST,
        "The variation of the round trip time in microseconds.",
    ),
    Variable(
        "tcpinfo_snd_cwnd",
        _tcp_info(_SND_CWND),
        PER_REQUEST,
        "The connection's congestion window in segments.",
    ),
    Variable(
        "tcpinfo_rcv_space",
        _tcp_info(_RCV_SPACE),
        PER_REQUEST,
        "The receive buffer that the kernel advertises, in bytes.",
    ),
    Variable("time_iso8601", _time_iso8601, PER_REQUEST, "Local time: `2026-11-23T08:07:42+01:00`."),
    Variable("time_local", _time_local, PER_REQUEST, "Local time: `23/Nov/2026:08:07:42 +0100`."),
)
