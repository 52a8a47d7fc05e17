"""`ClientStream` of HTTP/1: one for all requests of a connection, one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.fields import joined_lines
from portico.errorlog import INFO
from portico.http.errors import HTTPError
from portico.http.response import UPGRADED
from portico.http.server.framing import BY_CHUNKS, framing_of, has_body
from portico.http.server.http1.body_reader import BodyReader
from portico.http.server.stream import ClientStream
from portico.net.transport import BODY_READ_SIZE

if TYPE_CHECKING:
    from portico.http.request import Request
    from portico.http.response import Response
    from portico.http.server.http1.prefixes import Prefixes
    from portico.net.duplex import Duplex
    from portico.net.pipe import Pipe
    from portico.net.reactor import Suspend
    from portico.net.transport import Transport
    from portico.variables.client import Client

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


@final
class Http1Stream(ClientStream):
    """The client's side of the request that an HTTP/1 connection serves now."""

    def __init__(self, client: Client, transport: Transport, prefixes: Prefixes) -> None:
        super().__init__(client)
        self.prefixes = prefixes
        self.transport = transport
        self.buffer: bytes = b""  # received and not used yet: the start of a body, or of the next request
        self.request: Request | None = None
        self._body: BodyReader | None = None
        self._may_continue = False  # a 100 (Continue) is expected, and was not sent

    def begin(self, request: Request) -> bool:
        """Take up the next request; return whether it has a body."""
        fields = request.fields
        self.request = request
        self._may_continue = fields.expect_continue and request.version > 10
        if request.refusal is not None or (fields.content_length < 0 and not fields.chunked):
            self._body = None
            return False
        self._body = BodyReader(-1 if fields.chunked else fields.content_length)
        return True

    def end(self) -> None:
        """Hold on to nothing of the request."""
        self.request = None
        self._body = None
        self.is_watched = False

    # -- the client's presence ---------------------------------------------------------------------------------------

    def has_left(self) -> bool:
        return self.transport.peer_closed

    def is_broken(self) -> bool:
        return self.transport.broken

    # -- the request's body ------------------------------------------------------------------------------------------

    def expect_none(self) -> None:
        self._may_continue = False

    def allow_body(self) -> None:
        if self._may_continue:
            self._may_continue = False
            request = self.request
            empty = request is not None and request.fields.content_length == 0  # nginx answers this too
            if not self.buffer and (empty or not self.body_ended()):  # RFC 9110 section 10.1.1: a body that comes needs no 100
                self.transport.send(_CONTINUE)

    def take_body(self) -> bytes | None:
        body = self._body
        request = self.request
        assert body is not None and request is not None
        while not body.done:  # a read may bring nothing but the framing of chunks
            data: bytes | None = self.buffer
            if data:
                self.buffer = b""
            else:
                data = self.transport.recv(BODY_READ_SIZE) if self.transport.ready else None
                if data is None:
                    return None
                if not data:
                    raise _closed_early()
            request.received += len(data)
            content = body.feed(data, request.location.core.client_max_body_size)
            remainder = body.remainder
            if remainder:
                self.buffer = remainder
                request.received -= len(remainder)
            if content:
                return content
        return b""

    def body_ended(self) -> bool:
        return self._body is None or self._body.done

    def body_readable(self, seconds: float) -> Suspend:
        return self.transport.readable(seconds)

    def stop_waiting(self) -> None:
        self.transport.stop_waiting()

    # -- the response ------------------------------------------------------------------------------------------------

    def takes_interim(self) -> bool:
        return self.request is not None and self.request.version > 10

    def takes_trailers(self) -> bool:
        request = self.request
        return request is not None and framing_of(request.version, -1, request.location.core.chunked) == BY_CHUNKS

    async def send_interim(self, status: int, reason: bytes, fields: list[tuple[bytes, bytes]], seconds: float) -> None:
        text = b"HTTP/1.1 %d %b\r\n%b\r\n" % (status, reason, lines_of(fields))
        await self.transport.send_all(text, seconds)

    def framing_field(self, name: bytes, response: Response) -> bytes | None:
        request = self.request
        if request is None:
            return None
        core = request.location.core
        if name == b"connection":
            return b"upgrade" if response.body.kind == UPGRADED else b"keep-alive" if request.keep_alive else b"close"
        if name == b"keep-alive":
            announced = core.keepalive_announced
            return b"timeout=%d" % announced if request.keep_alive and announced else None
        if not has_body(request.method, response.status):
            return None
        chunked = framing_of(request.version, response.content_length, core.chunked) == BY_CHUNKS
        return b"chunked" if chunked else None

    def room(self, seconds: float) -> Suspend:
        return self.transport.writable(seconds)

    def waits_for_room(self) -> bool:
        return self.transport.writer is not None

    def send_from(self, pipe: Pipe) -> int:
        return self.transport.splice_out(pipe)

    def tunnel(self) -> tuple[Duplex, bytes]:
        received = self.buffer
        self.buffer = b""
        return self.transport, received


def lines_of(fields: list[tuple[bytes, bytes]]) -> bytes:
    """Return fields as the lines of a header section, each with its CRLF. None of them can become two."""
    if not fields:
        return b""
    return joined_lines([key + b": " + value for key, value in fields])


def _closed_early() -> HTTPError:
    error = HTTPError(400, "client prematurely closed connection", INFO)
    error.close = True
    return error
