"""What a request knows about the connection it came on."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.net.transport import Transport

if TYPE_CHECKING:
    from portico.codec.fields import RequestFields
    from portico.codec.proxy_protocol import ProxyHeader
    from portico.http.plan import Listener
    from portico.net.reactor import Reactor


@final
class Client:
    """One client connection: its transport and the facts that do not change while it lives."""

    def __init__(self, transport: Transport, listener: Listener, peer: tuple[str, int] | None, number: int) -> None:
        self.transport = transport
        self.reactor: Reactor = transport.reactor
        self.listener = listener
        self.number = number  # nginx's $connection, unique in the supervisor's life as far as one worker counts
        self.requests = 0  # nginx's $connection_requests
        self.started: float = transport.reactor.now
        # of whoever connected; that of a request may be another one (`Request.remote_addr`)
        self.remote_addr: bytes = b"unix:" if peer is None else peer[0].partition("%")[0].encode()  # no scope of a link-local one
        self.remote_port: bytes = b"" if peer is None else b"%d" % peer[1]
        self.local: tuple[str, int] | None = None  # asked for when a variable needs it
        self.secure: bool = transport.secure
        self.buffer: bytes = b""  # received and not yet consumed: the next request, or the start of a body
        self.memo_fields: RequestFields | None = None  # the header block for which `memo_block` was made, by `memo_owner`
        self.memo_owner: object = None
        self.memo_block: bytes = b""
        self.proxied: ProxyHeader | None = None  # what the PROXY protocol said
        self.continued = False  # 100 Continue was sent, or need not be

    def forget(self) -> None:
        """Drop what was remembered of the header block."""
        self.memo_fields = None
        self.memo_owner = None
        self.memo_block = b""

    def server_addr(self) -> tuple[str, int]:
        """The local address and port of the connection ("unix:…", 0 for a Unix socket)."""
        if self.local is None:
            name = self.transport.sock.getsockname()
            if isinstance(name, tuple):
                self.local = (str(name[0]), int(name[1]))
            else:
                self.local = (f"unix:{name}", 0)
        return self.local
