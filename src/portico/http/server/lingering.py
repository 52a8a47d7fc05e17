"""The end of a connection whose last response must not be lost (nginx: ngx_http_lingering_close_handler)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.net.transport import READ_SIZE

if TYPE_CHECKING:
    from portico.http.settings import CoreSettings
    from portico.net.transport import Transport


async def linger(transport: Transport, core: CoreSettings) -> None:
    """End our side, then read and forget what the client sends, for `lingering_time` at most. Raises ClientFailed, ClientTimeout.

    Closed with data unread, the connection would be reset, and a reset takes the response from the client's buffer.
    """
    transport.shutdown_write()
    reactor = transport.reactor
    deadline = reactor.now + core.lingering_time
    while True:
        data = transport.recv(READ_SIZE) if transport.ready else None
        if data is None:
            left = deadline - reactor.now
            if left <= 0.0:
                return
            await transport.readable(min(core.lingering_timeout, left))
        elif not data or reactor.now > deadline:
            return
        elif reactor.is_turn_over():
            await reactor.turn()
