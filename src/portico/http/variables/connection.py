"""Variables of the connection that only HTTP has, and of the server that responds.

Source of names and meanings: https://nginx.org/en/docs/http/ngx_http_core_module.html#variables
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from portico.variables.clock import seconds_text
from portico.variables.variable import PER_REQUEST, STABLE_FIELDS, Getter, Variable

if TYPE_CHECKING:
    from portico.http.request import Request

_TCP_INFO_SIZE: Final = 104  # struct tcp_info up to tcpi_total_retrans (linux/tcp.h)
_RTT: Final = 68
_RTTVAR: Final = 72
_SND_CWND: Final = 80
_RCV_SPACE: Final = 96


def _connection_requests(request: Request) -> bytes | None:
    return b"%d" % request.client.requests


def _connection_time(request: Request) -> bytes | None:
    client = request.client
    return seconds_text(client.reactor.now - client.started)


def _scheme(request: Request) -> bytes | None:
    return b"https" if request.client.secure else b"http"


def _https(request: Request) -> bytes | None:
    return b"on" if request.client.secure else b""


def _tcp_info(offset: int) -> Getter[Request]:
    def get(request: Request) -> bytes | None:
        info = request.client.tcp_info(_TCP_INFO_SIZE)
        if len(info) < offset + 4:
            return None
        number: int = struct.unpack_from("=I", info, offset)[0]
        return b"%d" % number

    return get


def _server_name(request: Request) -> bytes | None:
    return request.server.name_bytes


HTTP_CONNECTION_VARIABLES: Final[tuple[Variable[Request], ...]] = (
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
    Variable("https", _https, STABLE_FIELDS, "`on` when the connection uses TLS, else empty."),
    Variable("scheme", _scheme, STABLE_FIELDS, "`http` or `https`."),
    Variable(
        "server_name", _server_name, STABLE_FIELDS, "The first `server_name` of the server that answers."
    ),
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
)
