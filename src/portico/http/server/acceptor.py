"""An accepted socket becomes a client and its connection."""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING, final

from portico.http.server.connection import Connection
from portico.http.server.protocols import protocols_of
from portico.net.transport import Transport

if TYPE_CHECKING:
    from portico.http.plan import Listener
    from portico.worker.runtime import Runtime


@final
class ConnectionMaker:
    """Makes the connections of one listener."""

    def __init__(self, runtime: Runtime, listener: Listener) -> None:
        self.runtime = runtime
        self.listener = listener
        self.protocols = protocols_of(runtime.reactor)

    def on_accept(self, sock: socket.socket, peer: tuple[str, int] | None) -> None:
        """Begin to serve a new connection; `peer` is the client's address and port (`net/acceptor.py`)."""
        runtime = self.runtime
        listener = self.listener
        if listener.specific:
            listener = listener.for_address(sock.getsockname()[0])
        runtime.accepted += 1
        transport = Transport(runtime.reactor, sock)
        client = listener.client(transport, peer, runtime.accepted)
        connection = Connection(runtime, self.protocols, transport, listener, client)
        runtime.reactor.own(transport)
        connection.start()
        connection.transport.register()  # not before: a request that is here already may have been answered, and all be over
