"""HTTP/2 on one client connection (RFC 9113): what comes is read here; requests are the business of `streams.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.http2.errors import Http2Error
from portico.codec.http2.frames import NO_RFC7540_PRIORITIES, PREFACE
from portico.errorlog import INFO
from portico.http.server.http2.blocks import Beginnings
from portico.http.server.http2.streams import ServerStreams, log_text
from portico.http.server.lingering import linger
from portico.http.server.protocol import ClientProtocol, ServedProtocol
from portico.net.reactor import SUSPEND, NetworkSignal, Shutdown, Timeout
from portico.net.transport import BODY_READ_SIZE, READ_SIZE

if TYPE_CHECKING:
    from portico.http.server.connection import Connection
    from portico.net.reactor import Reactor

_ALPN: Final = "h2"


@final
class Http2(ClientProtocol):
    """HTTP/2 in one worker: by ALPN, or by a client that begins with its preface (RFC 9113 section 3.3)."""

    def __init__(self, reactor: Reactor) -> None:
        self.beginnings = Beginnings(reactor)

    def is_spoken(self, connection: Connection) -> bool:
        if not connection.listener.http2:
            return False
        tls = connection.client.tls
        if tls is not None:
            return tls.tls.selected_alpn_protocol() == _ALPN
        if connection.listener.ssl:
            return False  # plain HTTP on a port for TLS is refused in HTTP/1.1
        return connection.transport.peek(len(PREFACE)) == PREFACE

    def begin(self, connection: Connection) -> ServedProtocol:
        return Http2Server(self, connection)


@final
class Http2Server(ServedProtocol):
    """Reads frames until the connection can take no more."""

    def __init__(self, protocol: Http2, connection: Connection) -> None:
        self.connection = connection
        self.streams = ServerStreams(connection, protocol.beginnings)

    async def serve(self) -> None:
        streams = self.streams
        wire = streams.wire
        settings = self.connection.listener.default.http2
        assert settings is not None
        wire.begin([(NO_RFC7540_PRIORITIES, 1)], settings.preread, settings.most_streams)
        streams.flush_soon()
        try:
            await self._read()
        except Http2Error as error:
            self.connection.log(INFO, log_text(error.code, error.reason))
        except Shutdown:
            wire.goaway()
            streams.flush_now()
            streams.shut_down()
            raise
        except NetworkSignal:
            await self._end()
            raise
        await self._end()
        transport = self.connection.transport
        core = self.connection.listener.default.core
        if not transport.closed and not transport.peer_closed and core.lingering_close:
            await linger(transport, core)

    async def _end(self) -> None:
        """Send what there is, end the requests, and wait for those that go on without their client."""
        streams = self.streams
        streams.flush_now()
        streams.abandon()
        try:
            while streams.table:
                await SUSPEND
        except Shutdown:
            streams.shut_down()
            raise

    async def _read(self) -> None:
        """Read frames until the client ends, or everything that it was promised is done. Raises Http2Error, and Timeout."""
        streams = self.streams
        wire = streams.wire
        transport = self.connection.transport
        reactor = self.connection.runtime.reactor
        while not wire.goaway_sent or streams.table:
            if streams.is_clogged():
                await streams.unclogged()
                continue
            data = transport.recv(BODY_READ_SIZE if streams.table else READ_SIZE) if transport.ready else None
            if data is None:
                await self._wait()
                continue
            if not data:
                return
            streams.receive(data)
            if reactor.is_turn_over():
                await reactor.turn()
        await streams.sent()

    async def _wait(self) -> None:
        """Wait for the client: while requests are served without end, else as the settings say. Raises Timeout."""
        streams = self.streams
        if streams.wire.lacks_headers():
            streams.expect_rest()
        elif not streams.table:
            streams.begin_idling()
        try:
            await self.connection.transport.readable(0.0)
        except Timeout:
            if not streams.is_cooling() and not streams.gives_up_request():
                streams.wire.goaway()
                streams.flush_now()
                raise
        finally:
            streams.stop_expecting()

    def drain(self) -> None:
        self.streams.drain()

    def on_client_left(self) -> None:
        """Nothing: the connection's own task waits for what comes, also for the end."""

    def close(self) -> None:
        """Nothing is left when `serve` has returned."""
