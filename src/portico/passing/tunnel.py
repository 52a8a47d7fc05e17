"""After 101 Switching Protocols: the connection belongs to another protocol until both sides have ended (RFC 9110 section 7.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.balancing.tunnel import Tunnel
from portico.errorlog import ERR, INFO
from portico.http.response import UPGRADED, Body
from portico.net.reactor import ConnectionFailed, Timeout, UpstreamFailed

if TYPE_CHECKING:
    from portico.http.server.stream import ClientStream
    from portico.http.upstream_state import Attempt
    from portico.passing.exchange import Exchange


@final
class TunnelBody(Body):
    """A tunnel as the body of the 101 response, which ends when the tunnel does."""

    def __init__(self, exchange: Exchange, stream: ClientStream, attempt: Attempt, seconds: float) -> None:
        self.kind = UPGRADED
        self.length = -1
        self.exchange: Exchange | None = exchange
        self.stream = stream
        self.attempt = attempt
        self.seconds = seconds
        self.sent = 0  # bytes to the client

    def take(self) -> bytes | None:
        return b""

    async def wait(self) -> None:
        return

    def relayed(self) -> int:
        return self.sent

    async def relay(self) -> None:
        assert self.exchange is not None
        request = self.exchange.request
        from_upstream = self.exchange.stream.rest  # what it sent behind its header section
        client, from_client = self.stream.tunnel()
        tunnel = Tunnel(client, self.exchange.stream.end, self.seconds)
        try:
            await tunnel.run(from_client, from_upstream)
        except Timeout:
            request.log_error(ERR, "upstream timed out (110: Connection timed out) while proxying upgraded connection")
        except ConnectionFailed as failed:
            side = "upstream" if isinstance(failed, UpstreamFailed) else "client"
            request.log_error(INFO, f"{side} connection failed ({failed.strerror}) while proxying upgraded connection")
        finally:
            self.sent = tunnel.from_upstream
            self.attempt.bytes_received += tunnel.from_upstream
            self.attempt.bytes_sent += tunnel.from_client
            self.close()

    def close(self) -> None:
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            exchange.end(self.attempt, False, failed=False)
