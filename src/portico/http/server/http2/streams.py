"""The streams of one client connection: requests, the tasks that serve them, and when each may send.

What streams have to send goes into one buffer and leaves in one system call, after all events at hand were worked on (`flush_soon`).
A stream that sends a long body waits when a window is used up, when the socket takes no more, and after some frames, so that others
have their turn: those of the greatest urgency first, one after the other, or a turn each where they are incremental (RFC 9218
section 10).
"""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, Final, final

from portico.codec.errors import shown
from portico.codec.http2.connection import Http2Connection
from portico.codec.http2.errors import CANCEL, ENHANCE_YOUR_CALM, INTERNAL_ERROR, NO_ERROR, PROTOCOL_ERROR
from portico.codec.http2.streams import Stream, Streams
from portico.errorlog import INFO
from portico.http.body import RequestBody
from portico.http.errors import BodyCutShort, CloseConnection, FileFailed, HTTPError
from portico.http.phases import respond
from portico.http.server.failures import note_failure
from portico.http.server.http2.deadline import Deadline
from portico.http.server.http2.output import send_response
from portico.http.server.http2.priority import Priority, priority_of
from portico.http.server.http2.requests import RequestReader
from portico.http.server.http2.stream import Http2Stream
from portico.net.reactor import SUSPEND, ClientFailed, ClientTimeout, NetworkSignal, Shutdown, Task

if TYPE_CHECKING:
    from portico.codec.http2.hpack import Block
    from portico.http.background import BackgroundTask
    from portico.http.request import Request
    from portico.http.response import Response
    from portico.http.server.connection import Connection
    from portico.http.server.http2.blocks import Beginnings

_BURST: Final = 65536  # bytes of one stream in a turn
_COOLING: Final = 1.0  # seconds: idle for longer, a connection is memory and nothing else
_MOST_UNSENT: Final = 1 << 16  # bytes made while the socket takes none, by what comes: then nothing more is read
_MOST_PRIORITIES: Final = 128  # wishes for streams that have not begun


@final
class ServerStreams(Streams):
    """The streams of a connection."""

    def __init__(self, connection: Connection, beginnings: Beginnings) -> None:
        listener = connection.listener
        core = listener.default.core
        self.connection = connection
        self.client = connection.client
        self.runtime = connection.runtime
        self.reactor = connection.runtime.reactor
        self.transport = connection.transport
        self.beginnings = beginnings
        self.wire = Http2Connection(self, True, core.large_buffer_size, core.large_buffers * core.large_buffer_size)
        self.requests = RequestReader(connection.client, listener)
        self.table: dict[int, Http2Stream] = {}
        self.over = False  # nothing can be sent any more
        self._unsent: bytes = b""  # that the socket has not taken
        self._blocked = False  # the socket takes no more
        self._receiving = False  # what comes is being worked on: sending waits until that is done
        self._waiting: dict[Http2Stream, None] = {}  # for their turn to send
        self._priorities: dict[int, Priority] = {}
        self._writer: Task | None = None
        self._is_reader_waiting = False  # for the socket to take more
        self._until = Deadline(self._on_read_timeout)  # for something to come
        self._send_until = Deadline(self._on_send_timeout)  # for the socket to take more
        self._idle_until = 0.0  # the end of the connection when no request comes; 0.0: it does not idle

    # -- what comes --------------------------------------------------------------------------------------------------

    def receive(self, data: bytes) -> None:
        """Work on bytes of the client's. Raises Http2Error."""
        self._receiving = True
        self._idle_until = 0.0
        try:
            self.wire.receive(data, self.reactor.now)
        finally:
            self._receiving = False
        if self.wire.out:
            self.flush_soon()

    def on_headers(self, stream: Stream, block: Block, ended: bool) -> None:
        request = self.requests.request_of(stream, block, ended)
        mine = Http2Stream(self.client, self, stream, ended)
        self.table[stream.number] = mine
        self.client.requests += 1
        self.runtime.requests += 1
        self._prioritise(mine, request)
        self._check_last(request)
        task = mine.task = Task(self.reactor, self._serve(mine, request))
        task.resume()

    def _check_last(self, request: Request) -> None:
        """Take no more requests after as many, or as long a time, as the settings say (nginx: ngx_http_v2_state_headers)."""
        core = request.server.core
        client = self.client
        if (
            core.keepalive_timeout == 0.0
            or client.requests >= core.keepalive_requests
            or self.reactor.now - client.started >= core.keepalive_time
            or self.runtime.draining
        ):
            self.wire.goaway()

    def on_trailers(self, stream: Stream, block: Block) -> None:
        self.on_data(stream, b"", True)  # nobody asks for trailers of requests, as in nginx

    def on_data(self, stream: Stream, data: bytes, ended: bool) -> None:
        mine = self.table.get(stream.number)
        if mine is None:
            self.wire.consume(stream, len(data))
        else:
            mine.on_data(data, ended)

    def on_reset(self, stream: Stream, code: int) -> None:
        mine = self.table.get(stream.number)
        if mine is not None:
            mine.on_gone()

    def on_room(self, stream: Stream | None) -> None:
        if self._waiting:
            self.flush_soon()

    def on_goaway(self, last: int, code: int) -> None:
        if code != NO_ERROR:
            self.connection.log(INFO, f"client sent GOAWAY with error code {code}")

    def on_priority(self, number: int, value: bytes) -> None:
        priority = priority_of(value)
        stream = self.table.get(number)
        if stream is not None:
            stream.urgency, stream.incremental = priority.urgency, priority.incremental
        elif number > self.wire.last_stream and len(self._priorities) < _MOST_PRIORITIES:
            self._priorities[number] = priority

    def _prioritise(self, stream: Http2Stream, request: Request) -> None:
        priority = self._priorities.pop(stream.wire.number, None) if self._priorities else None
        if priority is None:
            value = request.fields.get(b"priority")
            if value is None:
                return
            priority = priority_of(value)
        stream.urgency, stream.incremental = priority.urgency, priority.incremental

    # -- one request -------------------------------------------------------------------------------------------------

    async def _serve(self, stream: Http2Stream, request: Request) -> None:
        """Answer one request."""
        request.stream = stream
        if stream.begin(request):
            request.body = RequestBody(request, stream)
        runtime = self.runtime
        response: Response | None = None
        code = INTERNAL_ERROR
        runtime.serving += 1
        try:
            response = await respond(request)
            await send_response(stream, self.beginnings, request, response)
            request.complete = True
            code = NO_ERROR
        except (NetworkSignal, CloseConnection, BodyCutShort, HTTPError, FileFailed) as failure:
            note_failure(request, failure)
            if isinstance(failure, ClientTimeout):
                code = PROTOCOL_ERROR  # as in nginx
            elif isinstance(failure, CloseConnection):
                code = CANCEL  # 444: no response, to this request
        finally:
            stream.unwatch()
            if response is not None:
                response.body.close()
            for logger in request.location.loggers:
                logger.log(request)
            runtime.serving -= 1
            self._end(stream, request, code)

    def _end(self, stream: Http2Stream, request: Request, code: int) -> None:
        """Give the stream back, and the request's body once nobody uses it any more."""
        background = stream.background
        self.table.pop(stream.wire.number, None)
        self._waiting.pop(stream, None)
        if code != NO_ERROR:
            self.wire.reset(stream.wire, code)
        self.wire.release(stream.wire)
        stream.end()
        self.flush_soon()
        if not self.table:
            self._on_idle()
        if request.body is not None:
            if background is None:
                _close_body(request)
            else:
                self.reactor.spawn(_close_body_after(request, background))

    def _on_idle(self) -> None:
        """Act on the end of the last request: the connection waits for the next one, or is over."""
        if self._receiving:
            return  # whoever reads looks at it next
        if self.over or self.wire.goaway_sent:
            self._wake_reader()
        else:
            self.begin_idling()

    def _wake_reader(self) -> None:
        task = self.connection.task
        if task is not None and not task.done and task is not self.reactor.current:
            self.transport.stop_waiting()
            self.reactor.soon(task)

    def begin_idling(self) -> None:
        """Give the client `keepalive_timeout` for its next request; it may have to give way to others."""
        core = self.connection.listener.default.core
        seconds = core.keepalive_timeout if self.client.requests else core.client_header_timeout
        if not self._idle_until:
            self._idle_until = self.reactor.now + seconds
            seconds = min(seconds, _COOLING)
        self.runtime.idle[self.connection] = None
        self.reactor.timers.set(self._until, min(self._idle_until, self.reactor.now + seconds))

    def expect_rest(self) -> None:
        """Give the client `client_header_timeout` for the rest of what it has begun to send."""
        self.reactor.timers.set(self._until, self.reactor.now + self.connection.listener.default.core.client_header_timeout)

    def stop_expecting(self) -> None:
        """End what `begin_idling` and `expect_rest` began: something has come."""
        self._until.deadline = 0.0
        self.runtime.idle.pop(self.connection, None)

    def _on_read_timeout(self) -> None:
        task = self.connection.task
        if task is not None and self.transport.reader is task:
            self.transport.reader = None
            task.throw(ClientTimeout())

    def _on_send_timeout(self) -> None:
        writer = self._writer
        if writer is not None and self._blocked:
            self.transport.writer = None
            writer.throw(ClientTimeout())

    def is_cooling(self) -> bool:
        """Return whether a deadline has passed only for the connection to drop what makes it fast: it goes on idling then."""
        if not self._idle_until or self.table or self.wire.lacks_headers():
            return False
        self.wire.forget()
        return self.reactor.now < self._idle_until

    def gives_up_request(self) -> bool:
        """Refuse a request whose header block did not come in time; return whether the connection can go on."""
        if not self.wire.give_up():
            return False
        self.connection.log(INFO, "client timed out while sending a request (client_header_timeout)")
        self.flush_soon()
        return True

    async def unclogged(self) -> None:
        """Wait until the socket takes more. Ends as the connection does, when it does not in time."""
        self._is_reader_waiting = True
        try:
            await SUSPEND
        finally:
            self._is_reader_waiting = False

    def drain(self) -> None:
        """Take no more requests."""
        self.wire.goaway()
        self.flush_soon()
        if not self.table:
            self._wake_reader()

    # -- what leaves -------------------------------------------------------------------------------------------------

    def send_headers(self, stream: Http2Stream, block: bytes, ended: bool) -> None:
        """Send a header section, or trailers."""
        self.wire.send_headers(stream.wire, block, ended)
        self.flush_soon()

    def send_data(self, stream: Http2Stream, data: bytes, most: int, ended: bool) -> None:
        """Send content in frames of `most` bytes, no more than `room_of` says."""
        stream.burst += len(data)
        self.wire.send_data(stream.wire, data, most, ended)
        self.flush_soon()

    def check(self, stream: Http2Stream) -> None:
        """Raise ClientFailed when the client does not want the response any more."""
        if stream.gone:
            raise ClientFailed(errno.ECONNRESET, "the stream was reset")

    def room_of(self, stream: Http2Stream, most: int) -> int:
        """Return how many bytes a stream may send now, in frames of `most`: whole frames, unless a window ends before.

        Raises ClientFailed when it is over.
        """
        self.check(stream)
        if self._blocked or stream.burst >= _BURST:
            return 0
        return min(self.wire.room(stream.wire), max(_BURST // most, 1) * most)

    def consume(self, stream: Http2Stream, count: int) -> None:
        """Let the client send more of a body."""
        self.wire.consume(stream.wire, count)
        if self.wire.out:
            self.flush_soon()

    def enlarge(self, stream: Http2Stream, window: int) -> None:
        """Let the client send more of a body ahead."""
        self.wire.enlarge(stream.wire, window)
        self.flush_soon()

    def wait_for_room(self, stream: Http2Stream) -> None:
        """Have the stream go on when it is its turn."""
        self._waiting[stream] = None
        self.flush_soon()

    def flush_soon(self) -> None:
        """Send what has been made, after the events at hand."""
        if self._blocked or self.over:
            return
        writer = self._writer
        if writer is None:
            writer = self._writer = Task(self.reactor, self._write())
        if not writer.queued:
            self.reactor.soon(writer)

    async def sent(self) -> None:
        """Return when the socket has taken all that there is to send."""
        while not self.over and not self.flush_now():
            self.flush_soon()
            await self.unclogged()

    def is_clogged(self) -> bool:
        """Whether so much has been made since the socket takes no more that nothing more should be read."""
        if not self._blocked:
            return False
        return sum([len(piece) for piece in self.wire.out]) > _MOST_UNSENT

    async def _write(self) -> None:
        """Send what the streams make, for as long as the connection lives."""
        try:
            while not self.over:
                if self._flush():
                    if self._waiting and self._wake():
                        continue
                    await SUSPEND
                else:
                    self._blocked = True
                    self.reactor.timers.set(self._send_until, self.reactor.now + self.connection.listener.default.core.send_timeout)
                    await self.transport.writable(0.0)
                    self._blocked = False
                    self._send_until.deadline = 0.0
                    if self._is_reader_waiting:
                        self._wake_reader()
        except (ClientFailed, ClientTimeout) as failure:
            self._writer = None  # whoever ends the connection must not end this task, which has ended
            self._fail(failure)
        except Shutdown:
            pass  # the connection is over

    def _flush(self) -> bool:
        """Send what there is; return whether the socket took all of it. Raises ClientFailed."""
        out = self.wire.out
        data = self._unsent
        if out:
            data = b"".join(out) if not data else data + b"".join(out)
            self.wire.out = []
        if not data or self.transport.closed:
            return True
        sent = self.transport.send(data)
        self._unsent = b"" if sent == len(data) else data[sent:]
        return sent == len(data)

    def _wake(self) -> bool:
        """Give those their turn who wait for it, and can send; return whether there was one."""
        able = [stream for stream in self._waiting if stream.gone or self.wire.room(stream.wire) > 0]
        if not able:
            return False
        urgency = min([stream.urgency for stream in able])
        chosen: list[Http2Stream] = []
        for stream in able:
            if stream.gone or stream.urgency == urgency:
                chosen.append(stream)
                if not stream.incremental and not stream.gone:
                    break  # those behind it wait until it is over
        for stream in chosen:
            del self._waiting[stream]
        for stream in chosen:
            stream.burst = 0
            stream.on_room()
        return True

    # -- the end -----------------------------------------------------------------------------------------------------

    def _fail(self, failure: NetworkSignal) -> None:
        """End the connection: nothing can be sent."""
        self.over = True
        task = self.connection.task
        if task is not None and not task.done:
            self.transport.stop_waiting()
            task.throw(failure)

    def flush_now(self) -> bool:
        """Send what there is, for the last time perhaps; return whether all of it was sent."""
        if self.over or self._blocked:
            return False
        try:
            return self._flush()
        except ClientFailed:
            self.over = True
            return False

    def abandon(self) -> None:
        """End all requests, as the client is gone; those that go on without a client do so."""
        self.over = True
        for stream in list(self.table.values()):
            stream.on_gone()
        self._end_writer()

    def shut_down(self) -> None:
        """End all requests, as the worker ends."""
        self.over = True
        for stream in list(self.table.values()):
            task = stream.task
            stream.gone = True
            stream.stop_waiting()
            if task is not None and not task.done:
                task.throw(Shutdown())
        self._end_writer()

    def _end_writer(self) -> None:
        self.reactor.timers.forget(self._until)
        self.reactor.timers.forget(self._send_until)
        writer = self._writer
        self._writer = None
        if writer is not None and not writer.done and writer is not self.reactor.current:
            writer.throw(Shutdown())


def _close_body(request: Request) -> None:
    body = request.body
    request.body = None  # they refer to each other
    if body is not None:
        body.close()


async def _close_body_after(request: Request, background: list[BackgroundTask]) -> None:
    """Close the body when those have ended who may share it."""
    try:
        for task in background:
            await task.wait()
    finally:
        _close_body(request)


def log_text(code: int, reason: str) -> str:
    """Return what the error log says of a connection that ends for a mistake of the client's."""
    what = "too much at once" if code == ENHANCE_YOUR_CALM else "a protocol error" if code == PROTOCOL_ERROR else f"error {code}"
    return f"client connection of HTTP/2 ended: {shown(reason.encode())} ({what})"
