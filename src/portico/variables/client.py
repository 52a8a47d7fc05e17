"""The facts of one client connection, whatever the protocol."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, final

from portico.net.transport import Transport

if TYPE_CHECKING:
    from portico.codec.proxy_protocol import ProxyHeader
    from portico.errorlog import ErrorLog
    from portico.net.listen import Address
    from portico.net.reactor import Reactor
    from portico.net.tls import TLSTransport


@final
class Client:
    """Whoever has connected, and how.

    `listening`: the address of the socket that accepted the connection. `error_log`: that of the listener's default server. `peer`:
    address and port of whoever connected, None for a Unix socket.
    """

    def __init__(
        self, transport: Transport, listening: Address, error_log: ErrorLog, peer: tuple[str, int] | None, number: int
    ) -> None:
        self.reactor: Reactor = transport.reactor
        self.listening: Address = listening
        self.error_log = error_log
        self.number = number  # nginx's $connection, unique in the supervisor's life as far as one worker counts
        self.requests = 0  # nginx's $connection_requests
        self.started: float = transport.reactor.now
        # This is the address of whoever connected; that of a session may be another one (`Session.remote_addr`).
        self.remote_addr: bytes = b"unix:" if peer is None else peer[0].partition("%")[0].encode()  # no scope of a link-local one
        self.remote_port: bytes = b"" if peer is None else b"%d" % peer[1]
        self.local: tuple[str, int] | None = None  # asked for when a variable needs it
        self.tls: TLSTransport | None = None  # facts of the handshake
        self.secure: bool = transport.secure
        self.proxied: ProxyHeader | None = None  # what the PROXY protocol said
        self._sock = transport.sock

    def set_secure(self, tls: TLSTransport) -> None:
        """Note that the connection speaks TLS from now on."""
        self.tls = tls
        self.secure = True
        self._sock = tls.sock

    def tcp_info(self, size: int) -> bytes:
        """Return the first `size` bytes of the kernel's tcp_info of the connection; b"" for a Unix socket, and once it is closed."""
        try:
            return self._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
        except OSError:
            return b""

    def server_addr(self) -> tuple[str, int]:
        """Return the local address and port of the connection ("unix:…", 0 for a Unix socket). Raises OSError once it is closed."""
        if self.local is None:
            name = self._sock.getsockname()
            if isinstance(name, tuple):
                self.local = (str(name[0]), int(name[1]))
            else:
                self.local = (f"unix:{name}", 0)
        return self.local
