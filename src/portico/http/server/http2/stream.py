"""`ClientStream` of HTTP/2: one for each request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.http2.hpack import encoded_field
from portico.errorlog import ERR, INFO
from portico.http.errors import HTTPError
from portico.http.server.http2.blocks import block_of
from portico.http.server.http2.deadline import Deadline
from portico.http.server.stream import ClientStream
from portico.net.reactor import SUSPEND, ClientFailed, ClientGone, ClientTimeout, Suspend, Task

if TYPE_CHECKING:
    from portico.codec.http2.streams import Stream
    from portico.http.request import Request
    from portico.http.response import Response
    from portico.http.server.http2.streams import ServerStreams
    from portico.net.duplex import Duplex
    from portico.net.pipe import Pipe
    from portico.variables.client import Client

_BODY_WINDOW: Final = 1 << 18  # bytes that the client may send ahead, once somebody reads the body
_MOST_PIECES: Final = 256  # of content that waits: a client may send it by the byte, and each piece costs memory
_CONTINUE: Final = encoded_field(b":status", b"100")
_ECONNRESET: Final = 104


@final
class Http2Stream(ClientStream):
    """The client's side of one request, a stream of its connection. `ended`: no body follows."""

    def __init__(self, client: Client, streams: ServerStreams, wire: Stream, ended: bool) -> None:
        super().__init__(client)
        self.streams = streams
        self.wire = wire  # the stream as the protocol knows it
        self.request: Request | None = None
        self.task: Task | None = None
        self.gone = False  # the client has reset it, or the connection is over
        self.burst = 0  # frames sent in this turn
        self.urgency = 3  # of the response (RFC 9218 section 4.1): 0 to 7
        self.incremental = False
        self._ended = ended  # the client has sent all of the body
        self._pieces: list[bytes] | None = None if ended else []  # content that has come
        self._size = 0  # bytes of content that were taken
        self._may_continue = False
        self._reader: Task | None = None
        self._writer: Task | None = None
        self._deadline: Deadline | None = None

    def begin(self, request: Request) -> bool:
        """Take up the request; return whether it has a body."""
        fields = request.fields
        self.request = request
        self._may_continue = fields.expect_continue and not self._ended
        return request.refusal is None and (not self._ended or fields.content_length == 0)

    # -- what the connection tells -----------------------------------------------------------------------------------

    def on_data(self, data: bytes, ended: bool) -> None:
        """Take content that has come."""
        pieces = self._pieces
        if data and pieces is not None:
            pieces.append(data)
            if len(pieces) > _MOST_PIECES:
                self._pieces = [b"".join(pieces)]
        self._ended = ended
        reader = self._reader
        if reader is not None:
            self.stop_waiting()
            self.reactor.soon(reader)  # not at once: more of it may be in what is being read

    def on_room(self) -> None:
        """Go on with sending."""
        writer = self._writer
        if writer is not None:
            self.stop_waiting()
            writer.resume()

    def on_gone(self) -> None:
        """Act on a client that has reset the stream, or whose connection is over."""
        self.gone = True
        self._pieces = None
        task = self.task
        if task is None or task.done:
            return
        if self._reader is not None or self._writer is not None:
            self.stop_waiting()
            task.throw(_gone())
        elif self.is_watched:
            self.unwatch()
            task.throw(ClientGone())

    def on_timeout(self) -> None:
        """Act on a client that neither sends nor takes anything."""
        waiting = self._reader or self._writer
        self.stop_waiting()
        if waiting is not None:
            waiting.throw(ClientTimeout())

    def _wait(self, seconds: float) -> Suspend:
        if seconds > 0.0:
            deadline = self._deadline
            if deadline is None:
                deadline = self._deadline = Deadline(self.on_timeout)
            self.reactor.timers.set(deadline, self.reactor.now + seconds)
        return SUSPEND

    def stop_waiting(self) -> None:
        self._reader = None
        self._writer = None
        if self._deadline is not None:
            self._deadline.deadline = 0.0

    def end(self) -> None:
        """Hold on to nothing of the request."""
        if self._deadline is not None:
            self.reactor.timers.forget(self._deadline)
            self._deadline = None
        self._pieces = None
        self.request = None
        self.task = None
        self.background = None
        self.is_watched = False

    # -- the client's presence ---------------------------------------------------------------------------------------

    def has_left(self) -> bool:
        return self.gone

    def is_broken(self) -> bool:
        return self.gone

    # -- the request's body ------------------------------------------------------------------------------------------

    def expect_none(self) -> None:
        self._may_continue = False

    def allow_body(self) -> None:
        if self._ended:
            return
        if self._may_continue:
            self._may_continue = False
            if not self._pieces:
                self.streams.send_headers(self, _CONTINUE, False)
        self.streams.enlarge(self, _BODY_WINDOW)

    def take_body(self) -> bytes | None:
        if self.gone:
            raise _gone()
        pieces = self._pieces
        if not pieces:
            if not self._ended:
                return None
            self._check_end()
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self._size += len(data)
        self.streams.consume(self, len(data))
        request = self.request
        assert request is not None
        request.received = self.wire.received
        length = request.fields.content_length
        if length < 0:
            most = request.location.core.client_max_body_size
            if self._size > most > 0:
                reason = f"client intended to send too large body: {self._size} bytes (client_max_body_size is {most})"
                raise HTTPError(413, reason, ERR)
        elif self._size > length:
            raise HTTPError(400, "client intended to send body data larger than declared", INFO)
        if self._ended:
            self._check_end()
        return data

    def _check_end(self) -> None:
        """Refuse a body that is shorter than its Content-Length (RFC 9113 section 8.1.1). Raises HTTPError."""
        request = self.request
        assert request is not None
        length = request.fields.content_length
        if self._size < length:
            reason = f"client prematurely closed stream: only {self._size} out of {length} bytes of request body received"
            raise HTTPError(400, reason, INFO)

    def body_ended(self) -> bool:
        return self._ended and not self._pieces

    def body_readable(self, seconds: float) -> Suspend:
        self._reader = self.reactor.current
        self.streams.flush_soon()  # the client may have to know that it can send
        return self._wait(seconds)

    # -- the response ------------------------------------------------------------------------------------------------

    def takes_interim(self) -> bool:
        return not self.gone

    def takes_trailers(self) -> bool:
        return True

    def takes_trailers_behind_length(self) -> bool:
        return True

    async def send_interim(self, status: int, reason: bytes, fields: list[tuple[bytes, bytes]], seconds: float) -> None:
        if self.gone:
            raise _gone()
        self.streams.send_headers(self, encoded_field(b":status", b"%d" % status) + block_of(fields), False)

    def framing_field(self, name: bytes, response: Response) -> bytes | None:
        return None

    def room(self, seconds: float) -> Suspend:
        self._writer = self.reactor.current
        self.streams.wait_for_room(self)
        return self._wait(seconds)

    def waits_for_room(self) -> bool:
        return self._writer is not None

    def send_from(self, pipe: Pipe) -> int:
        raise NotImplementedError  # content goes in frames, which the kernel cannot make

    def tunnel(self) -> tuple[Duplex, bytes]:
        raise NotImplementedError  # RFC 9113 section 8.6: there is no 101


def _gone() -> ClientFailed:
    return ClientFailed(_ECONNRESET, "the stream was reset")
