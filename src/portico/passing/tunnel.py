"""After 101 Switching Protocols: bytes both ways until both sides have ended (RFC 9110 section 7.8).

Each direction is its own task. The end of one side's stream is passed on as a half-close while the other direction goes on. The
whole ends when

    both directions have ended;
    the client is gone, or nothing more can come from the upstream because its connection broke;
    nothing has moved in either direction for `proxy_read_timeout`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, final

from portico.errorlog import ERR, INFO
from portico.http.response import STREAM, Body
from portico.net.reactor import ConnectionFailed, NetworkSignal, Shutdown, Task, Timeout, UpstreamFailed
from portico.net.transport import BODY_READ_SIZE, Transport

if TYPE_CHECKING:
    from portico.http.request import Attempt
    from portico.http.server.stream import ClientStream
    from portico.passing.exchange import Exchange


@final
class Tunnel(Body):
    """The two directions of an upgraded connection, as a body that "ends" when the tunnel does."""

    def __init__(self, exchange: Exchange, stream: ClientStream, attempt: Attempt, seconds: float) -> None:
        self.kind = STREAM
        self.length = -1
        self.exchange: Exchange | None = exchange
        self.stream = stream
        self.client: Transport = exchange.connection.transport  # until `relay`
        self.attempt = attempt
        self.upstream: Transport = exchange.connection.transport
        self.seconds = seconds
        self.last_activity: float = self.upstream.reactor.now
        self.sent = 0  # bytes to the client
        self.stopped = False  # nothing more can come from the upstream, and that is the end of both directions
        self.up_blocked: Task | None = None  # waits until the upstream takes more
        self.down_blocked: Task | None = None  # waits until the client does

    def take(self) -> bytes | None:
        return b""

    async def wait(self) -> None:
        return

    def relayed(self) -> int:
        return self.sent

    async def relay(self) -> None:
        assert self.exchange is not None
        connection = self.exchange.connection
        request = self.exchange.request
        first = connection.buffer  # what the upstream sent after its head
        connection.buffer = b""
        self.client, received = self.stream.tunnel()
        reactor = self.upstream.reactor
        up = reactor.current
        assert up is not None
        finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        down = Task(reactor, self._down(first, finished, up))
        try:
            down.resume()
            await self._up(received)
            if not finished.done():
                await finished
        except Timeout:
            request.log_error(ERR, "upstream timed out (110: Connection timed out) while proxying upgraded connection")
        except ConnectionFailed as failed:
            side = "upstream" if isinstance(failed, UpstreamFailed) else "client"
            request.log_error(INFO, f"{side} connection failed ({failed.strerror}) while proxying upgraded connection")
        finally:
            if not down.done:
                down.throw(Shutdown())
            self.close()

    async def _up(self, received: bytes) -> None:
        """Client to upstream. An upstream that takes no more may still have something to say, unless that too has failed."""
        try:
            await self._carry(self.client, self.upstream, received)
        except UpstreamFailed:
            if self.stopped:
                raise

    async def _down(self, first: bytes, finished: asyncio.Future[None], up: Task) -> None:
        """Upstream to client. When it ends otherwise than with the stream, the other direction is told."""
        failure: NetworkSignal | None = None
        try:
            await self._carry(self.upstream, self.client, first)
        except Shutdown:
            return  # by `relay`, which is over
        except NetworkSignal as error:
            failure = error
        if finished.done():
            return
        if failure is None:
            finished.set_result(None)
        else:
            asyncio.get_running_loop().call_soon(self._stop, up, failure)

    def _stop(self, up: Task, failure: NetworkSignal) -> None:
        if self.exchange is not None and not up.done:
            self.stopped = True
            up.throw(failure)

    async def _carry(self, source: Transport, sink: Transport, data: bytes) -> None:
        """One direction, to its end. Raises Timeout, ClientFailed, UpstreamFailed."""
        reactor = source.reactor
        to_client = sink is self.client
        while True:
            if data:
                self.last_activity = reactor.now
                if to_client:
                    self.sent += len(data)
                    self.attempt.bytes_received += len(data)
                else:
                    self.attempt.bytes_sent += len(data)
                await self._send(sink, data)
                if reactor.is_turn_over():
                    await reactor.turn()
            got = source.recv(BODY_READ_SIZE) if source.ready else None
            if got is None:
                data = b""
                await self._wait(source)
                continue
            if not got:
                break
            data = got
        sink.shutdown_write()

    async def _send(self, sink: Transport, data: bytes) -> None:
        at = 0
        while at < len(data):
            sent = sink.send(data[at:] if at else data)
            if sent:
                at += sent
                self.last_activity = sink.reactor.now
            if at < len(data):
                await self._wait_to_send(sink)

    async def _wait(self, source: Transport) -> None:
        """Until `source` is readable; a timeout counts only when the other direction was idle as long."""
        while True:
            left = self._left()
            try:
                await source.readable(left)
                return
            except Timeout:
                # it came to us alone, though the other direction may have been waiting for the same transport
                source.writer = self.up_blocked if source is self.upstream else self.down_blocked

    async def _wait_to_send(self, sink: Transport) -> None:
        """Until `sink` takes more."""
        up = sink is self.upstream
        task = sink.reactor.current
        if up:
            self.up_blocked = task
        else:
            self.down_blocked = task
        try:
            while True:
                try:
                    await sink.writable(self._left())
                    return
                except Timeout:
                    continue
        finally:
            if up:
                self.up_blocked = None
            else:
                self.down_blocked = None

    def _left(self) -> float:
        """Seconds until the tunnel has been idle for too long. Raises Timeout when it has."""
        left = self.last_activity + self.seconds - self.upstream.reactor.now
        if left <= 0.0:
            raise Timeout
        return left

    def close(self) -> None:
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            exchange.end(self.attempt, False, failed=False)
