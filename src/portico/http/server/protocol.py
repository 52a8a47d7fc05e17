"""What a protocol that clients speak must be able to do. Which there are, `protocols.py` says."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from portico.http.server.connection import Connection


class ClientProtocol:
    """A protocol in one worker, with what it keeps for all connections of a listening socket."""

    def is_spoken(self, connection: Connection) -> bool:
        """Whether the client of a connection whose handshake is done speaks it."""
        raise NotImplementedError

    def begin(self, connection: Connection) -> ServedProtocol:
        """Return the protocol on that connection."""
        raise NotImplementedError


class ServedProtocol:
    """A protocol on one client connection, from the first byte behind TLS."""

    async def serve(self) -> None:
        """Serve requests until the connection can take no more. Raises NetworkSignal when it breaks off."""
        raise NotImplementedError

    def on_client_left(self) -> None:
        """The client has closed its side while nobody was reading."""
        raise NotImplementedError

    def drain(self) -> None:
        """Take no more requests than those that have come: the worker ends when they are done."""

    def close(self) -> None:
        """The connection is over."""
        raise NotImplementedError
