"""What variables, templates, logs, `map`, `geo`, access rules and limits need to know of whoever is served.

A `Session` is one unit of service: a request of HTTP (`http/request.py` derives from it), or a whole connection where no protocol
is spoken with the client. Nothing in this package, in `admission/` or in `logs/` knows which of the two it has.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portico.codec.proxy_protocol import ProxyHeader
    from portico.errorlog import ErrorLog
    from portico.net.listen import Address
    from portico.net.reactor import Reactor
    from portico.net.transport import Transport


class ClientConnection:
    """A connection that a client has opened: the facts that do not change while it lives.

    `listening`: the address of the socket that accepted it. `peer`: address and port of whoever connected, None for a Unix socket.
    """

    def __init__(
        self, transport: Transport, listening: Address, error_log: ErrorLog, peer: tuple[str, int] | None, number: int
    ) -> None:
        self.transport = transport
        self.reactor: Reactor = transport.reactor
        self.listening: Address = listening
        self.error_log = error_log  # of the listener's default server
        self.number = number  # nginx's $connection, unique in the supervisor's life as far as one worker counts
        self.started: float = transport.reactor.now
        # of whoever connected; that of a session may be another one (`Session.remote_addr`)
        self.remote_addr: bytes = b"unix:" if peer is None else peer[0].partition("%")[0].encode()  # no scope of a link-local one
        self.remote_port: bytes = b"" if peer is None else b"%d" % peer[1]
        self.local: tuple[str, int] | None = None  # asked for when a variable needs it
        self.secure: bool = transport.secure
        self.proxied: ProxyHeader | None = None  # what the PROXY protocol said

    def server_addr(self) -> tuple[str, int]:
        """Return the local address and port of the connection ("unix:…", 0 for a Unix socket). Raises OSError when it is closed."""
        if self.local is None:
            name = self.transport.sock.getsockname()
            if isinstance(name, tuple):
                self.local = (str(name[0]), int(name[1]))
            else:
                self.local = (f"unix:{name}", 0)
        return self.local


class Session:
    """One client being served, and what has been found out about it so far."""

    def __init__(self, client_connection: ClientConnection) -> None:
        self.client_connection = client_connection
        self.reactor: Reactor = client_connection.reactor
        self.remote_addr: bytes = client_connection.remote_addr  # unless a trusted proxy told another one
        self.remote_port: bytes = client_connection.remote_port
        self.told_address = False  # it did (`replace_address`)
        self.started: float = client_connection.reactor.now
        self.status = 0  # as sent, or as logged
        self.received = 0  # bytes received from the client
        self.body_bytes = 0  # bytes sent to the client; of a request those after its response's header section, framing included
        self.captures: list[bytes | None] | None = None  # of the last regex that matched
        self.named: dict[str, bytes] | None = None  # named captures
        self.values: dict[str, bytes | None] | None = None  # variables set or cached for this session

    def error_log(self) -> ErrorLog:
        """Return the log for what goes wrong with this session."""
        return self.client_connection.error_log

    def log_error(self, level: int, message: str) -> None:
        """Write a line to the error log, with nginx's context behind it."""
        log = self.error_log()
        if level > 0 and log.enabled(level):
            log.write(level, f"{message}{self.context()}", self.client_connection.number)

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
