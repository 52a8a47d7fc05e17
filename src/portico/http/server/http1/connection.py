"""One HTTP/1.1 client connection: reads requests one after the other, answers them in order.

The coroutine `Connection.run` is all there is; it suspends only where it must wait for bytes or for room.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.errors import shown
from portico.codec.http1_request import find_request_end
from portico.codec.proxy_protocol import LONGEST, BrokenHeader, ProxyHeader, parse_proxy_header
from portico.errorlog import ALERT, CRIT, ERR, INFO
from portico.http.body import RequestBody
from portico.http.client import Client
from portico.http.error_pages import PLAIN_TO_TLS
from portico.http.errors import BodyCutShort, CloseConnection, FileFailed, HTTPError
from portico.http.phases import respond
from portico.http.request import Request
from portico.http.server.http1.heads import RequestHeads, may_be_http
from portico.http.server.http1.output import send_response
from portico.net.reactor import (
    ClientFailed,
    ClientGone,
    ClientTimeout,
    NetworkSignal,
    Shutdown,
    Task,
    Timeout,
    UpstreamFailed,
    UpstreamTimeout,
)
from portico.net.tls import is_tls, secure
from portico.net.transport import READ_SIZE, Transport, Watcher

if TYPE_CHECKING:
    from portico.http.plan import Listener
    from portico.http.response import Response
    from portico.http.runtime import Runtime

_COOLING: Final = 1.0  # seconds


@final
class Connection(Watcher):
    """A client's connection and the coroutine that serves it."""

    def __init__(self, runtime: Runtime, transport: Transport, listener: Listener, client: Client) -> None:
        self.runtime = runtime
        self.transport = transport
        self.listener = listener
        self.client = client
        self.task: Task | None = None
        self.abortable = False  # a request waits for an upstream: a client that leaves ends it
        self.heads = RequestHeads(client, listener)

    # -- life --------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to serve."""
        runtime = self.runtime
        runtime.connections[self] = None
        self.transport.watcher = self
        self.task = Task(runtime.reactor, self.run())
        self.task.resume()

    async def run(self) -> None:
        """Serve requests until the connection ends."""
        try:
            if self.listener.proxy_protocol and not await self._proxy_header():
                return
            if self.listener.ssl and not await self._handshake():
                return
            await self._requests()
        except ClientFailed as failed:
            self._log(INFO, f"client connection failed: {failed.strerror}")
        except NetworkSignal:
            pass  # each place that can say more about it has done so
        finally:
            self._end()

    async def _proxy_header(self) -> bool:
        """Read the header of the PROXY protocol, and not a byte more: TLS reads from the socket itself. False: it is broken."""
        transport = self.transport
        deadline = self.runtime.reactor.now + self.listener.default.core.client_header_timeout
        seen = 0
        while True:
            data = transport.peek(LONGEST)
            if data is not None and (not data or (len(data) == seen and transport.peer_closed)):
                return False  # it has ended
            header: ProxyHeader | None = None
            if data:
                seen = len(data)
                try:
                    header = parse_proxy_header(data)
                except BrokenHeader:
                    self._log(ERR, f'broken header: "{shown(data)}" while reading PROXY protocol')
                    return False
            if header is not None:
                transport.recv(header.length)
                if header.address or header.tlvs:
                    self.client.proxied = header
                return True
            transport.ready = False  # the part that is there makes no further event, the rest will
            left = deadline - self.runtime.reactor.now
            if left <= 0.0:
                return False
            if data:
                await transport.readable(left)
            else:
                await self._silence(left)

    async def _silence(self, seconds: float) -> None:
        """Wait for the first bytes of a client that has sent none yet: it is idle, and gives way when connections become few."""
        idle = self.runtime.idle
        idle[self] = None
        try:
            await self.transport.readable(seconds)
        finally:
            idle.pop(self, None)

    async def _handshake(self) -> bool:
        """Begin TLS. False when the connection is over: the client spoke plain HTTP and was told so, or cannot be understood."""
        plain = self.transport
        seconds = self.listener.default.core.client_header_timeout
        first = plain.peek()
        while first is None:
            await self._silence(seconds)
            first = plain.peek()
        if not first:
            return False
        if not is_tls(first[0]):
            await self._plain_to_tls()
            return False
        default = self.listener.default.tls
        assert default is not None
        secured = secure(plain, default, self.listener.find_tls)
        self.transport = secured
        self.client.transport = secured
        self.client.secure = True
        secured.watcher = self
        try:
            await secured.handshake(seconds)
        except OSError as failure:
            reason = "handshake rejected" if secured.rejected else f"SSL_do_handshake() failed ({failure.strerror or failure})"
            self._log(INFO, f"{reason} while SSL handshaking")
            return False
        return True

    async def _plain_to_tls(self) -> None:
        """Plain HTTP on a TLS port: nginx reads the request and answers 400 (its own code 497)."""
        timeout = self.listener.default.core.client_header_timeout
        head = await self._read_head(timeout, timeout)
        if head:
            self.client.requests += 1
            self.runtime.requests += 1
            request = self.heads.request_of(head)
            if request.refusal is None:
                request.refusal = HTTPError(PLAIN_TO_TLS, "client sent plain HTTP request to HTTPS port")
            await self._serve(request)

    def _end(self) -> None:
        self.runtime.connections.pop(self, None)
        self.runtime.idle.pop(self, None)
        self.transport.close()
        self.task = None

    def abandon(self) -> None:
        """The worker ends: stop waiting."""
        task = self.task
        if task is not None and not task.done:
            self.transport.stop_waiting()
            task.throw(Shutdown())

    def on_peer_closed(self, transport: Transport) -> None:
        """The client left while its request is being worked on (nginx: 499)."""
        task = self.task
        if self.abortable and task is not None and not task.done:
            self.abortable = False
            task.throw(ClientGone())

    def _log(self, level: int, message: str) -> None:
        log = self.listener.default.core.error_log
        if log.enabled(level):
            address = self.client.remote_addr.decode("ascii", "backslashreplace")
            log.write(level, f"{message}, client: {address}, server: {self.listener.spec}", self.client.number)

    # -- requests ----------------------------------------------------------------------------------------------------

    async def _requests(self) -> None:
        client = self.client
        runtime = self.runtime
        core = self.listener.default.core
        header_timeout = core.client_header_timeout
        idle_timeout = header_timeout  # the first request gets client_header_timeout, nginx's way
        while True:
            head = await self._read_head(idle_timeout, header_timeout)
            if not head:
                return
            client.requests += 1
            runtime.requests += 1
            request = self.heads.request_of(head)
            if not await self._serve(request):
                return
            if (client.buffer or self.transport.ready) and runtime.reactor.is_turn_over():
                await runtime.reactor.turn()  # the client sends requests without waiting for answers
            idle_timeout = request.location.core.keepalive_timeout
            if client.requests == 1:
                self.heads.forget()  # most connections that idle have served one request: remember from the second on
            del head, request  # an idle connection holds on to nothing of its last request

    async def _read_head(self, idle_timeout: float, header_timeout: float) -> bytes:
        """The next request head with its blank line; b"" when the connection ends. May answer 414 or 400 itself."""
        client = self.client
        transport = self.transport
        idle = self.runtime.idle
        heads = self.heads
        reactor = self.runtime.reactor
        buffer = client.buffer
        heads.pipelined = len(buffer) > 0
        if buffer and buffer[0] <= 13:
            buffer = buffer.lstrip(b"\r\n")  # RFC 9112 section 2.2: empty lines before a request are ignored
        end = find_request_end(buffer, 0) if buffer else -1
        seconds = idle_timeout
        until = reactor.now + header_timeout if buffer else 0.0  # for the whole head, from its first byte on
        warm = True  # not idle for long
        checked = False  # the request line is one of HTTP
        while end < 0:
            data = transport.recv(READ_SIZE) if transport.ready else None
            if data is None:
                if until > 0.0:
                    await self._more(buffer, until - reactor.now, header_timeout)
                    continue
                idle[self] = None
                try:
                    if warm and seconds > _COOLING:
                        await transport.readable(_COOLING)
                    else:
                        await transport.readable(seconds)
                except Timeout:
                    if not warm or seconds <= _COOLING:
                        raise
                    warm = False
                    seconds -= _COOLING
                    heads.forget()
                finally:
                    idle.pop(self, None)
                continue
            if not data:
                if buffer:
                    self._log(INFO, "client prematurely closed connection while sending request")
                return b""
            if buffer:
                start = len(buffer) - 3
                buffer += data
            else:
                start = 0
                buffer = data.lstrip(b"\r\n") if data[0] <= 13 else data
                if until == 0.0:
                    until = reactor.now + header_timeout
            if start == 0 and heads.is_repeated(buffer):
                end = len(buffer)
                break
            end = find_request_end(buffer, start if start > 0 else 0)
            if end < 0 and not checked and not may_be_http(buffer):
                await self._serve(heads.request_of(buffer.partition(b"\n")[0] + b"\r\n\r\n"))
                return b""
            checked = checked or b"\n" in buffer
            if end < 0 and len(buffer) > heads.server.core.large_buffer_size:
                status = heads.oversized(buffer)
                if status:
                    await self._refuse(heads.refused_as_too_large(buffer, status))
                    return b""
            if end < 0 and reactor.is_turn_over():  # it may go on with empty lines for ever
                await reactor.turn()
                if until <= reactor.now:
                    self._late(buffer, header_timeout)
                    raise transport.timed_out()
        if end > heads.server.core.large_buffer_size:
            status = heads.oversized(buffer[:end])
            if status:
                await self._refuse(heads.refused_as_too_large(buffer, status))
                return b""
        transport.clear_deadline()
        client.buffer = buffer[end:]
        return buffer[:end]

    async def _more(self, buffer: bytes, left: float, seconds: float) -> None:
        """Wait for the rest of a head; after `client_header_timeout` the request ends as nginx's 408."""
        try:
            if left <= 0.0:
                raise self.transport.timed_out()
            await self.transport.readable(left)
        except Timeout:
            self._late(buffer, seconds)
            raise

    def _late(self, buffer: bytes, seconds: float) -> None:
        """Log that a header section did not come in time."""
        self._log(INFO, f"client timed out: no complete request head within {seconds:g}s (client_header_timeout)")
        self._log_request(self.heads.unanswered(buffer, 408))

    async def _refuse(self, request: Request) -> None:
        """Answer a head that is too large, and end."""
        self.client.requests += 1
        self.client.buffer = b""
        await self._serve(request)

    # -- one request ---------------------------------------------------------------------------------------------------

    async def _serve(self, request: Request) -> bool:
        """Answer one request; whether the connection can take another."""
        fields = request.fields
        client = self.client
        client.continued = False
        request.connection = self
        if request.refusal is None:
            if request.version > 10:
                request.keep_alive = not fields.close
            else:
                request.keep_alive = fields.keep_alive and not fields.close
            if fields.content_length >= 0 or fields.chunked:
                request.body = RequestBody(request)
        response: Response | None = None
        self.runtime.serving += 1
        try:
            try:
                response = await respond(request)
                body = request.body
                if body is not None and not body.done and fields.expect_continue:
                    if response.is_error:
                        request.keep_alive = False  # whether the body still comes is the client's choice
                    else:
                        body.allow()  # nobody reads it: it is discarded, and must come before the answer does
                await send_response(request, response, self.runtime.draining)
                if response.upgrade:
                    await self._tunnel(request, response)
                request.complete = True
            except CloseConnection:
                request.status = 444
                request.keep_alive = False
                if request.location.core.reset_timedout:
                    self.transport.reset()
            except ClientGone:
                request.status = request.status or 499
                request.keep_alive = False
                request.log_error(INFO, "client closed connection while waiting for the answer")
            except ClientTimeout:
                self._timed_out(request)
            except Shutdown:
                request.keep_alive = False
                request.status = request.status or 499
                raise
            except BodyCutShort:
                request.keep_alive = False
            except HTTPError as error:  # the body's source failed after the head was sent
                request.keep_alive = False
                if error.reason:
                    request.log_error(error.level, error.reason)
            except ClientFailed as failure:
                request.keep_alive = False
                # As nginx: 400 while the body is read, 499 when the client fails at anything else.
                request.status = request.status or (400 if request.body is not None and not request.body.done else 499)
                request.log_error(INFO, f"client connection failed: {failure.strerror}")
            except FileFailed as failed:  # too late for another response
                request.keep_alive = False
                request.log_error(CRIT, str(failed))
            except (UpstreamFailed, UpstreamTimeout) as stray:
                request.keep_alive = False
                request.status = request.status or 502
                request.log_error(ALERT, f"internal error: a failure of an upstream was not handled ({stray})")
        finally:
            self.abortable = False
            if response is not None:
                response.body.close()
            self._log_request(request)
            self.runtime.serving -= 1
        if request.background is not None:
            for mirrored in request.background:
                await mirrored.wait()
        body = request.body
        if body is not None:
            body.close()
            if not body.done and not self.transport.closed and not await self._rest_of_body(request, body):
                return False
        if request.keep_alive:
            return not self.transport.closed
        await self._linger(request)
        return False

    async def _tunnel(self, request: Request, response: Response) -> None:
        """101 was sent: the connection belongs to another protocol until it ends."""
        self.abortable = False
        request.keep_alive = False
        body = response.body
        try:
            await body.relay()
        finally:
            request.body_bytes = body.relayed()

    def _timed_out(self, request: Request) -> None:
        core = request.location.core
        request.keep_alive = False
        if request.status == 0:
            request.status = 408
            request.log_error(INFO, f"client timed out: no part of its body within {core.client_body_timeout:g}s "
                              "(client_body_timeout)")
        else:
            request.log_error(INFO, f"client timed out: took no data within {core.send_timeout:g}s (send_timeout)")
        if core.reset_timedout:
            self.transport.reset()

    def _log_request(self, request: Request) -> None:
        for logger in request.location.loggers:
            logger.log(request)

    async def _rest_of_body(self, request: Request, body: RequestBody) -> bool:
        """Read and forget what the handler did not want of the body; whether its end was reached."""
        core = request.location.core
        if not request.keep_alive:
            return True  # `_linger` reads on
        reactor = self.runtime.reactor
        try:
            return await body.discard(core.lingering_timeout, reactor.now + core.lingering_time)
        except (HTTPError, ClientTimeout, ClientFailed):
            return False

    async def _linger(self, request: Request) -> None:
        """Close without losing the answer: a reset, caused by unread data, would take it from the client's buffer."""
        core = request.location.core
        transport = self.transport
        if transport.closed or core.lingering_close == 0:
            return
        body = request.body
        unread = (body is not None and not body.done) or len(self.client.buffer) > 0 or request.refusal is not None
        if not unread and transport.ready and not transport.peer_closed:
            unread = True
        if not unread and core.lingering_close == 1:
            return
        transport.shutdown_write()
        reactor = self.runtime.reactor
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
