"""The body of an upstream's response, on its way.

    framing:   taken off by the protocol's reader (protocol.py)
    buffered:  while the client takes no more, the upstream is read on, into memory and then a temporary file (`absorb`)
    spliced:   a long body of known length goes from socket to socket inside the kernel

When the body is done the exchange ends, and with it the connection is released; when it is given up, it is closed.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING, Final, final

from portico.codec.errors import ProtocolError
from portico.errorlog import CRIT, ERR, WARN
from portico.http.errors import BodyCutShort, FileFailed
from portico.http.response import STREAM, Body
from portico.net.pipe import Pipe
from portico.net.reactor import SUSPEND, NetworkSignal, UpstreamFailed, UpstreamTimeout
from portico.net.transport import BODY_READ_SIZE
from portico.passing.hook import Sink
from portico.passing.pace import ReadPace, read_pace

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.server.stream import ClientStream
    from portico.http.upstream_state import Attempt
    from portico.net.duplex import Duplex
    from portico.passing.exchange import Exchange
    from portico.passing.protocol import ResponseBodyReader
    from portico.variables.template import Template

_TIMED_OUT: Final = "upstream timed out (110: Connection timed out) while reading upstream"
SPLICE_FROM: Final = 65536  # bytes left from which splicing is worth its system calls


@final
class UpstreamBody(Body):
    """What an upstream sends behind the header section of its response."""

    def __init__(self, exchange: Exchange, request: Request, attempt: Attempt, length: int, buffered: bool) -> None:
        stream = exchange.stream
        self.kind = STREAM
        self.length = length
        self.exchange: Exchange | None = exchange
        self.request = request
        self.attempt = attempt
        self.connection = exchange.connection
        self.end: Duplex = stream.end
        self.settings = exchange.settings
        self.reader: ResponseBodyReader = stream.body_reader()
        self.received: bytes = stream.rest  # behind the header section, and not read yet
        stream.rest = b""
        self.buffered = buffered
        self.done = self.reader.done
        self.truncated = False  # the upstream failed: what was read ahead is still sent
        self.queue: list[bytes] = []  # read ahead, in order
        self.queued = 0
        self.file = -1  # then what is in the file
        self.file_path: str = ""  # where it was made, for the error log
        self.file_read = 0
        self.file_written = 0
        self.sink: Sink | None = None
        self.pace: ReadPace | None = None  # *_limit_rate; None: full speed

    def limit_rate(self, limit: Template) -> None:
        """Read no faster than `limit` says, in bytes a second, from now on."""
        self.pace = read_pace(limit, self.request, len(self.received))

    # -- reading -----------------------------------------------------------------------------------------------------

    def take(self) -> bytes | None:
        if self.queue:
            data = self.queue.pop(0)
            self.queued -= len(data)
            return data
        if self.file_read < self.file_written:
            try:
                data = os.pread(self.file, min(BODY_READ_SIZE, self.file_written - self.file_read), self.file_read)
            except OSError as error:
                raise FileFailed("pread", self.file_path, error) from None
            self.file_read += len(data)
            if self.file_read == self.file_written:  # all of it is on its way: the file begins anew
                self.file_read = 0
                self.file_written = 0
            return data
        if self.truncated:
            raise BodyCutShort
        try:
            return self._receive()
        except BodyCutShort:
            return None  # what the caller has goes out first, if only the header section: the next call tells

    def _receive(self) -> bytes | None:
        """Return the next content from the connection; b"" at the end; None when nothing is there. Raises BodyCutShort."""
        while not self.done:
            data: bytes | None = self.received
            if data:
                self.received = b""
            else:
                data = self._read()
                if data is None:
                    return None
            content = self._framed(data)
            if content:
                self.attempt.length += len(content)
                if self.sink is not None:
                    self._pass_on(self.sink, content)
                return content
        self._finish(True)
        return b""

    def _pass_on(self, sink: Sink, content: bytes) -> None:
        sink.write(content)
        if self.done:  # stored before the client has the last of it: its next request finds it
            self.sink = None
            sink.finish()

    def _read(self) -> bytes | None:
        end = self.end
        if not end.ready:
            return None
        size = BODY_READ_SIZE
        if self.pace is not None:
            size = min(size, self.pace.allowed())
            if size <= 0:
                return None
        try:
            data = end.recv(size)
        except UpstreamFailed as error:
            self._fail(f"recv() failed ({error.errno}: {error.strerror}) while reading upstream")
            raise BodyCutShort from None
        if data is not None:
            self.attempt.bytes_received += len(data)
            if self.pace is not None:
                self.pace.count(len(data))
        return data

    def _framed(self, data: bytes) -> bytes:
        """Return the content in what was received, b"" for the end of the connection; sets `done` at the end. Raises BodyCutShort."""
        reader = self.reader
        if not data:
            reader.end()
            if not reader.done:
                self._fail("upstream prematurely closed connection while reading upstream")
                raise BodyCutShort
            self.done = True
            if self.connection.transport.truncated and self.sink is not None:  # RFC 9112 section 9.8: was that all?
                self.request.log_error(
                    WARN, "upstream ended TLS without close_notify: the response is not stored while reading upstream"
                )
                self.sink.abort()
                self.sink = None
            return b""
        try:
            content = reader.feed(data)
        except ProtocolError as error:
            self._fail(error.reason)
            raise BodyCutShort from None
        self.done = reader.done
        return content

    async def wait(self) -> None:
        end = self.end
        if self.truncated:
            return
        pace = self.pace
        if pace is not None and pace.allowed() <= 0:
            try:
                await pace.wait()
            finally:
                pace.stop_waiting()
            return
        if end.ready:
            return
        try:
            await end.readable(self.settings.read_timeout)
        except UpstreamTimeout:
            self._fail(_TIMED_OUT)
            raise BodyCutShort from None

    # -- reading ahead -----------------------------------------------------------------------------------------------

    async def absorb(self, client: ClientStream, seconds: float) -> None:
        if not self.buffered or self.done or self.truncated:
            await client.room(seconds)
            return
        client.room(seconds)
        end = self.end
        pace = self.pace
        try:
            while client.waits_for_room():
                self._read_ahead()
                delayed = pace is not None and pace.allowed() <= 0
                if end.ready and self.exchange is not None and self._has_room() and not delayed:
                    await end.reactor.turn()  # the upstream sends faster than this worker should read for one client
                    continue
                if self.exchange is None:  # all is here, the connection somebody else's
                    await SUSPEND
                    return
                if not self._has_room():
                    end.stop_waiting()  # the upstream waits for us
                elif pace is not None and delayed:
                    pace.wait()
                else:
                    end.readable(self.settings.read_timeout)
                await SUSPEND
                end.stop_waiting()
                if pace is not None:
                    pace.stop_waiting()
        except UpstreamTimeout:
            self._fail(_TIMED_OUT)
        finally:
            client.stop_waiting()
            if self.exchange is not None:
                end.stop_waiting()
            if pace is not None:
                pace.stop_waiting()

    def _read_ahead(self) -> None:
        """Take what the upstream has sent, as far as there is room. When that is all, the upstream is free."""
        try:
            while not self.done and not self.truncated and self._has_room():
                data = self._receive()
                if data is None:
                    return
                if data:
                    self._hold(data)
                    if self.end.reactor.is_turn_over():
                        return
        except BodyCutShort:
            return  # `truncated` is set: the client gets what is here before it learns of it
        if self.done:
            self._finish(True)

    def _has_room(self) -> bool:
        if self.file_read == self.file_written and self.queued < self.settings.memory:
            return True
        if self.file_written < self.settings.max_temp_file_size:
            return True
        return self.sink is not None and self.sink.is_wanted()  # as in nginx: what a cache gets waits for no client

    def _hold(self, data: bytes) -> None:
        if self.file_read == self.file_written and self.queued < self.settings.memory:
            self.queue.append(data)
            self.queued += len(data)
            return
        if self.file < 0:
            self.file = self._open_file()
        view = memoryview(data)
        try:
            while view:
                written = os.pwrite(self.file, view, self.file_written)
                self.file_written += written
                view = view[written:]
        except OSError as error:
            self._fail(str(FileFailed("pwrite", self.file_path, error)), CRIT)
            raise BodyCutShort from None

    def _open_file(self) -> int:
        try:
            fd, path = tempfile.mkstemp(prefix="response.", dir=self.settings.temp_path)
        except OSError as error:
            self._fail(str(FileFailed("mkstemp", f"{self.settings.temp_path}/response.XXXXXXXX", error)), CRIT)
            raise BodyCutShort from None
        self.file_path = path
        os.unlink(path)
        self.request.log_error(WARN, f"an upstream response is buffered to a temporary file {path} while reading upstream")
        return fd

    # -- splicing ----------------------------------------------------------------------------------------------------

    def is_buffered(self) -> bool:
        return self.buffered

    def can_splice(self) -> bool:
        return (
            self.reader.left >= SPLICE_FROM
            and self.sink is None
            and self.pace is None
            and not self.queue
            and self.file_read == self.file_written
            and not self.received
            and not self.connection.transport.secure
        )

    async def splice(self, client: ClientStream, seconds: float) -> int:
        """Move the rest; with buffering, until the client takes no more: then the buffers take over. See Body.splice."""
        pool = client.reactor.pipes
        pipe = pool.acquire()
        if pipe is None:
            return 0  # copying needs no descriptors
        moved = 0
        try:
            while self.reader.left > 0 or pipe.held:
                if pipe.held == 0 and not await self._fill(pipe):
                    break
                sent = client.send_from(pipe)
                moved += sent
                if sent == 0:
                    if self.buffered and self.reader.left > 0 and self.settings.max_temp_file_size > 0:
                        self._unpipe(pipe)
                        return moved
                    await client.room(seconds)
                elif self.reader.left > 0 and client.reactor.is_turn_over():
                    await client.reactor.turn()
        finally:
            pool.release(pipe)
        return moved

    async def _fill(self, pipe: Pipe) -> bool:
        """Move what the upstream has sent into the pipe; waits for it. Returns False where only an ordinary read will tell."""
        transport = self.connection.transport
        while True:
            try:
                count = transport.splice_in(pipe, self.reader.left)
            except UpstreamFailed:
                return False  # the ordinary read will tell what is wrong
            if count > 0:
                self.reader.skip(count)
                self.attempt.length += count
                self.attempt.bytes_received += count
                if self.reader.done:  # the upstream is free, however long the client takes for what the pipe holds
                    self.done = True
                    self._finish(True)
                return True
            if count < 0:
                return False
            await self.wait()

    def _unpipe(self, pipe: Pipe) -> None:
        while pipe.held:
            self._hold(pipe.take(min(pipe.held, BODY_READ_SIZE)))

    # -- end ---------------------------------------------------------------------------------------------------------

    def _finish(self, clean: bool) -> None:
        sink = self.sink
        if sink is not None:
            self.sink = None
            if clean and self.done:
                sink.finish()
            else:
                sink.abort()
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            exchange.end(self.attempt, clean and self.done, False)

    def _fail(self, reason: str, level: int = ERR) -> None:
        """Note that the rest will not come. To the balancer that is no failure, as in nginx: there was a response."""
        self.truncated = True
        if self.sink is not None:
            self.sink.abort()
            self.sink = None
        self.request.log_error(level, reason)
        exchange = self.exchange
        if exchange is not None:
            self.exchange = None
            exchange.end(self.attempt, False, False)

    async def _read_on(self) -> None:
        """Read the rest, which a cache wants, though the client has left (nginx: p->cacheable)."""
        reactor = self.end.reactor
        try:
            while not self.done and self.sink is not None and self.sink.is_wanted():
                data = self._receive()
                if data is None:
                    await self.wait()
                elif not data:
                    break
                elif reactor.is_turn_over():
                    await reactor.turn()
        except (BodyCutShort, NetworkSignal):
            pass  # what there was to say is in the error log
        finally:
            self._finish(self.done)

    def close(self) -> None:
        sink = self.sink
        if sink is not None and not self.done and not self.truncated and sink.is_wanted():
            self.queue.clear()
            self.end.reactor.spawn(self._read_on())
        else:
            self._finish(self.done)
        if self.file >= 0:
            os.close(self.file)
            self.file = -1
        self.queue.clear()
