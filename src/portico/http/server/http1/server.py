"""HTTP/1 on one client connection: requests one after the other, answered in order.

The states of the connection are those of `states.py`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.errorlog import INFO
from portico.http.body import RequestBody
from portico.http.error_pages import PLAIN_TO_TLS
from portico.http.errors import BodyCutShort, CloseConnection, FileFailed, HTTPError
from portico.http.phases import respond
from portico.http.response import UPGRADED
from portico.http.server.failures import note_failure
from portico.http.server.http1.head_reader import HeadReader
from portico.http.server.http1.lines import RequestLines
from portico.http.server.http1.output import send_response
from portico.http.server.http1.prefixes import Prefixes
from portico.http.server.http1.sections import Sections
from portico.http.server.http1.states import CLOSED, DISCARDING, HEAD, IDLE, LINGERING, NAMES, SERVING, TUNNEL, may_follow
from portico.http.server.http1.stream import Http1Stream
from portico.http.server.lingering import linger
from portico.http.server.protocol import ClientProtocol, ServedProtocol
from portico.net.reactor import ClientFailed, ClientGone, ClientTimeout, NetworkSignal, Shutdown, Timeout
from portico.net.transport import READ_SIZE

if TYPE_CHECKING:
    from portico.http.background import BackgroundTask
    from portico.http.plan import Listener
    from portico.http.request import Request
    from portico.http.response import Response
    from portico.http.server.connection import Connection
    from portico.net.reactor import Reactor

_COOLING: Final = 1.0  # seconds
MOST_BACKGROUND: Final = 4  # pieces of work (mirrors) that go on while a connection's next request is served


@final
class Http1(ClientProtocol):
    """HTTP/1.0 and 1.1 in one worker. What has been met before is remembered for all connections of a listening socket."""

    def __init__(self, reactor: Reactor) -> None:
        self.prefixes = Prefixes(reactor)
        self.sections = Sections()
        self._lines = RequestLines(False)
        self._merged_lines = RequestLines(True)

    def is_spoken(self, connection: Connection) -> bool:
        return True

    def begin(self, connection: Connection) -> ServedProtocol:
        return Http1Server(self, connection)

    def lines_of(self, listener: Listener) -> RequestLines:
        """Return the request lines that were met before, with their paths as `merge_slashes` has them."""
        return self._merged_lines if listener.default.core.merge_slashes else self._lines


@final
class Http1Server(ServedProtocol):
    """Reads requests, has them answered, and decides what becomes of the connection."""

    def __init__(self, protocol: Http1, connection: Connection) -> None:
        self.protocol = protocol
        self.connection = connection
        self.stream = Http1Stream(connection.client, connection.transport, protocol.prefixes)
        self.reader: HeadReader | None = None  # not of a connection that is idle: most of them are memory and nothing else
        self.state = IDLE

    async def serve(self) -> None:
        connection = self.connection
        core = connection.listener.default.core
        idle_timeout = core.client_header_timeout  # the first request gets client_header_timeout, nginx's way
        if connection.listener.ssl and not connection.client.secure:
            await self._plain_to_tls(idle_timeout)
            return
        undisturbed = 0.0
        while True:
            request = await self._next_request(idle_timeout, undisturbed)
            if request is None:
                return
            if not await self._serve(request):
                return
            idle_timeout = request.location.core.keepalive_timeout
            undisturbed = request.location.core.keepalive_min_timeout
            del request  # an idle connection holds on to nothing of its last request
            if self.stream.buffer or self.connection.transport.ready:
                reactor = self.connection.runtime.reactor
                if reactor.is_turn_over():
                    await reactor.turn()  # the client sends requests without waiting for responses
            if self.connection.client.requests == 1:
                self.reader = None  # most connections that idle have served one request: remember from the second on

    def close(self) -> None:
        self._enter(CLOSED)
        self.stream.end()

    def on_client_left(self) -> None:
        """The client left: a request that waits for something else ends (nginx: 499)."""
        task = self.connection.task
        if self.stream.is_watched and task is not None and not task.done:
            self.stream.unwatch()
            task.throw(ClientGone())

    def _enter(self, state: int) -> None:
        if not may_follow(self.state, state):
            raise AssertionError(f"a connection cannot be {NAMES[state]} after {NAMES[self.state]}")
        self.state = state

    async def _plain_to_tls(self, seconds: float) -> None:
        """Answer plain HTTP on a port for TLS with 400, as nginx does (its own code 497)."""
        request = await self._next_request(seconds, 0.0)
        if request is not None:
            if request.refusal is None:
                request.refusal = HTTPError(PLAIN_TO_TLS, "client sent plain HTTP request to HTTPS port")
            await self._serve(request)

    # -- requests ----------------------------------------------------------------------------------------------------

    async def _next_request(self, idle_timeout: float, undisturbed: float) -> Request | None:
        """Return the next request, which may be one to be refused; None when the connection ends.

        It is waited for `idle_timeout` seconds, of which nobody may end the connection in the first `undisturbed` ones.
        What is remembered of the last request is forgotten when the connection has been idle for a while: it is memory then. For the
        same reason few variables live while this waits.
        """
        self._enter(IDLE)
        request = self._begin_reading()
        if request is None and not self._has_begun():
            data = self.connection.transport.recv(READ_SIZE) if self.connection.transport.ready else None
            if data is None:
                until = self.connection.runtime.reactor.now + idle_timeout
                if undisturbed > 0.0:
                    await self._wait_undisturbed(min(undisturbed, idle_timeout))
                    data = self.connection.transport.recv(READ_SIZE) if self.connection.transport.ready else None
                self.connection.runtime.idle[self.connection] = None
                try:
                    while data is None:
                        seconds = self._patience(until - self.connection.runtime.reactor.now)
                        try:
                            await self.connection.transport.readable(seconds)
                        except Timeout:
                            if self.reader is None:
                                raise
                            self.reader = None
                        data = self.connection.transport.recv(READ_SIZE) if self.connection.transport.ready else None
                finally:
                    self.connection.runtime.idle.pop(self.connection, None)
            if not data:
                return None
            request = self._head_reader().feed(data)
        if request is None:
            request = await self._read_head(self.connection.listener.default.core.client_header_timeout)
            if request is None:
                return None
        connection = self.connection
        connection.transport.clear_deadline()
        self.stream.buffer = self._head_reader().rest
        connection.client.requests += 1
        connection.runtime.requests += 1
        return request

    async def _wait_undisturbed(self, seconds: float) -> None:
        """Wait for the client, not as one of those who give way to others and are closed at a graceful shutdown."""
        try:
            await self.connection.transport.readable(seconds)
        except Timeout:
            pass

    def _patience(self, left: float) -> float:
        """Return for how long to wait at once when `left` seconds are left. Raises ClientTimeout when none are."""
        if left <= 0.0:
            raise self.connection.transport.timed_out()
        return _COOLING if left > _COOLING and self.reader is not None else left

    def _begin_reading(self) -> Request | None:
        """Return the next request when its whole header section has come behind the one before."""
        received = self.stream.buffer
        if self.reader is None and not received:
            return None
        return self._head_reader().begin(received)

    def _has_begun(self) -> bool:
        """Return whether a part of a header section is here."""
        return self.reader is not None and len(self.reader.buffer) > 0

    def _head_reader(self) -> HeadReader:
        """Return what reads header sections, made anew where it was forgotten."""
        reader = self.reader
        if reader is None:
            connection = self.connection
            listener = connection.listener
            reader = HeadReader(connection.client, listener, self.protocol.lines_of(listener), self.protocol.sections)
            self.reader = reader
        return reader

    async def _read_head(self, seconds: float) -> Request | None:
        """Read on until a request is whole or refused; None when the client ends the stream. All of it may take `seconds`."""
        reader = self._head_reader()
        transport = self.connection.transport
        reactor = self.connection.runtime.reactor
        until = reactor.now + seconds
        while True:
            data = transport.recv(READ_SIZE) if transport.ready else None
            if data is None:
                self._enter(HEAD)
                await self._more(until - reactor.now, seconds)
                continue
            if not data:
                if reader.buffer:
                    self.connection.log(INFO, "client prematurely closed connection while sending request")
                return None
            request = reader.feed(data)
            if request is not None:
                return request
            if reactor.is_turn_over():  # it may go on with empty lines for ever
                await reactor.turn()
                if until <= reactor.now:
                    self._late(seconds)
                    raise transport.timed_out()

    async def _more(self, left: float, seconds: float) -> None:
        """Wait for the rest of a header section; after `client_header_timeout` the request ends as nginx's 408."""
        try:
            if left <= 0.0:
                raise self.connection.transport.timed_out()
            await self.connection.transport.readable(left)
        except Timeout:
            self._late(seconds)
            raise

    def _late(self, seconds: float) -> None:
        """Log that a header section did not come in time."""
        self.connection.log(INFO, f"client timed out: no complete request head within {seconds:g}s (client_header_timeout)")
        reader = self._head_reader()
        self._log_request(reader.heads.unanswered(reader.buffer, 408))

    # -- one request -------------------------------------------------------------------------------------------------

    async def _serve(self, request: Request) -> bool:
        """Answer one request; return whether the connection can take another."""
        stream = self.stream
        self._enter(SERVING)
        self._begin(request)
        response: Response | None = None
        self.connection.runtime.serving += 1
        try:
            response = await respond(request)
            if request.body is not None:
                self._settle_expectation(request, response)
            await send_response(stream, request, response, self.connection.runtime.draining)
            if response.body.kind == UPGRADED:
                await self._tunnel(request, response)
            request.complete = True
        except (NetworkSignal, CloseConnection, BodyCutShort, HTTPError, FileFailed) as failure:
            note_failure(request, failure)
            if isinstance(failure, (CloseConnection, ClientTimeout)) and request.location.core.reset_timedout:
                self.connection.transport.reset()
            if isinstance(failure, Shutdown):
                raise
        finally:
            stream.unwatch()
            if response is not None:
                response.body.close()
            self._log_request(request)
            self.connection.runtime.serving -= 1
        kept = True
        if request.body is not None:
            kept = await self._end_body(request)
        if kept and not request.keep_alive:
            kept = False
            await self._linger(request)
        if stream.background is not None:
            await self._limit_background(stream.background, kept)
        stream.end()
        return kept and not self.connection.transport.closed

    def _begin(self, request: Request) -> None:
        stream = self.stream
        request.stream = stream
        heads = self._head_reader().heads
        stream.pipelined = heads.pipelined
        if stream.begin(request):
            request.body = RequestBody(request, stream)
        if request.refusal is None:
            fields = request.fields
            request.keep_alive = not fields.close and not heads.ends_in_doubt and (request.version > 10 or fields.keep_alive)

    def _settle_expectation(self, request: Request, response: Response) -> None:
        """Nobody has read the body that the client holds back until it is told: whether it will come."""
        body = request.body
        if body is not None and not body.done and request.fields.expect_continue:
            if response.is_error:
                request.keep_alive = False  # whether the body still comes is the client's choice
            else:
                body.allow()  # nobody reads it: it is discarded, and must come before the response does

    async def _tunnel(self, request: Request, response: Response) -> None:
        """101 was sent: the connection belongs to another protocol until it ends."""
        self._enter(TUNNEL)
        self.stream.unwatch()
        request.keep_alive = False
        body = response.body
        try:
            await body.relay()
        finally:
            request.body_bytes = body.relayed()

    def _log_request(self, request: Request) -> None:
        for logger in request.location.loggers:
            logger.log(request)

    # -- after the response ------------------------------------------------------------------------------------------

    async def _end_body(self, request: Request) -> bool:
        """Release the request's body, once nobody uses it any more; return whether its end was reached, or need not be."""
        body = request.body
        request.body = None  # they refer to each other
        if body is not None:
            body.close()
        if body is None or body.done or not request.keep_alive or self.connection.transport.closed:
            return True
        return await self._discard_body(request, body)

    async def _limit_background(self, tasks: list[BackgroundTask], kept: bool) -> None:
        """Let work of this request and those before go on, but wait for some of it when much has piled up."""
        pending = [task for task in tasks if not task.done]
        self.stream.background = pending or None
        for task in pending:
            task.outlive(self.connection.runtime)
        if kept:
            for task in pending[: max(0, len(pending) - MOST_BACKGROUND)]:
                await task.wait()

    async def _discard_body(self, request: Request, body: RequestBody) -> bool:
        """Read and forget what the handler did not want of the body; return whether its end was reached."""
        self._enter(DISCARDING)
        core = request.location.core
        try:
            return await body.discard(core.lingering_timeout, self.connection.runtime.reactor.now + core.lingering_time)
        except (HTTPError, ClientTimeout, ClientFailed):
            return False

    async def _linger(self, request: Request) -> None:
        """Close without losing the response: a reset, caused by unread data, would take it from the client's buffer."""
        core = request.location.core
        transport = self.connection.transport
        if transport.closed or core.lingering_close == 0:
            return
        unread = not self.stream.body_ended() or len(self.stream.buffer) > 0 or request.refusal is not None
        if not unread and transport.ready and not transport.peer_closed:
            unread = True
        if not unread and core.lingering_close == 1:
            return
        self._enter(LINGERING)
        await linger(transport, core)
