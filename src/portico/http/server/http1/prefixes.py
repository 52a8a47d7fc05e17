"""The beginnings of HTTP/1 header sections, made once a second."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.http.error_pages import REASONS

if TYPE_CHECKING:
    from portico.net.reactor import Reactor


@final
class Prefixes:
    """The beginnings of header sections (status line, Server, Date), which are the same for a status within a second.

    They belong to one worker: what is read of a configuration is never written while requests are served.
    """

    def __init__(self, reactor: Reactor) -> None:
        self._reactor = reactor
        self._second = -1
        self._made: dict[bytes, dict[int, bytes]] = {}  # by the name of the server

    def of(self, status: int, server: bytes) -> bytes:
        """Return the beginning of a header section with this status, the standard reason phrase and this server (b"": no field)."""
        reactor = self._reactor
        date = reactor.date()
        if reactor.wall_second != self._second:
            self._second = reactor.wall_second
            self._made.clear()
        of_server = self._made.get(server)
        if of_server is None:
            of_server = self._made[server] = {}
        made = of_server.get(status)
        if made is None:
            made = of_server[status] = beginning(status, REASONS.get(status, b""), server, date)
        return made


def beginning(status: int, reason: bytes, server: bytes, date: bytes) -> bytes:
    """Return the status line and the lines Server and Date, those of the two that have a value."""
    line = b"Server: " + server + b"\r\n" if server else b""
    last = b"Date: " + date + b"\r\n" if date else b""
    return b"HTTP/1.1 %d %b\r\n%b%b" % (status, reason, line, last)
