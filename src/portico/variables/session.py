"""What variables, templates, logs, `map`, `geo`, access rules and limits need to know of whoever is served.

A `Session` is one unit of service: a request of HTTP (`http/request.py` derives from it), or a whole connection where no protocol
is spoken with the client. Nothing in this package, in `admission/` or in `logs/` knows which of the two it has.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portico.errorlog import ErrorLog
    from portico.net.reactor import Reactor
    from portico.variables.client import Client


class Session:
    """One client being served, and what has been found out about it so far."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.reactor: Reactor = client.reactor
        self.remote_addr: bytes = client.remote_addr  # unless a trusted proxy told another one
        self.remote_port: bytes = client.remote_port
        self.told_address = False  # it did (`replace_address`)
        self.started: float = client.reactor.now
        self.status = 0  # as sent, or as logged
        self.received = 0  # bytes received from the client
        self.body_bytes = 0  # bytes sent to the client; of a request those after its response's header section, framing included
        self.captures: list[bytes | None] | None = None  # of the last regex that matched
        self.named: dict[str, bytes] | None = None  # named captures
        self.values: dict[str, bytes | None] | None = None  # variables set or cached for this session

    def error_log(self) -> ErrorLog:
        """Return the log for what goes wrong with this session."""
        return self.client.error_log

    def log_error(self, level: int, message: str) -> None:
        """Write a line to the error log, with nginx's context behind it."""
        log = self.error_log()
        if level > 0 and log.enabled(level):
            log.write(level, f"{message}{self.context()}", self.client.number)

    def context(self) -> str:
        """Return what nginx puts behind its messages: `, client: …`."""
        return f", client: {shown(self.remote_addr)}"

    def current_status(self) -> int:
        """Return the status that a log shows now, before the session has ended too."""
        return self.status

    def bytes_sent(self) -> int:
        """Return how many bytes were sent to the client."""
        return self.body_bytes

    def replace_address(self, address: bytes, port: bytes) -> None:
        """Note that the client is another one than whoever connected, as a trusted proxy told."""
        self.remote_addr = address
        self.remote_port = port
        self.told_address = True

    def packed_address(self) -> bytes:
        """Return the client's address in network byte order, 4 or 16 bytes; b"" for a Unix socket."""
        text = self.remote_addr.decode("ascii")
        if text.startswith("unix:"):
            return b""
        return socket.inet_pton(socket.AF_INET6 if ":" in text else socket.AF_INET, text)

    def keep_names(self, named: dict[str, bytes]) -> None:
        """Remember what the named groups of a regex captured."""
        if self.named is None:
            self.named = dict(named)
        else:
            self.named.update(named)


def shown(data: bytes) -> str:
    """Return bytes of a client's as text for the error log."""
    return data.decode("utf-8", "backslashreplace")
