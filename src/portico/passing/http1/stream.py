"""`UpstreamStream` of HTTP/1: one for all requests of a connection, one after the other.

An upstream often repeats the header section of its last response byte for byte. Then one comparison takes the place of finding its
end and parsing it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.chunked import LAST_CHUNK, encode_chunk
from portico.codec.errors import ProtocolError
from portico.codec.http1_response import ResponseHead, check_beginning, find_head_end, parse_response_head
from portico.passing.http1.body_reader import Http1BodyReader
from portico.passing.protocol import ResponseBodyReader, UpstreamRequest, UpstreamStream

if TYPE_CHECKING:
    from portico.net.duplex import Duplex

_INTERIM: Final = b"HTTP/1.1 1"  # what the status line of an interim response begins with; but 101 is final


@final
class Http1UpstreamStream(UpstreamStream):
    """The request that an HTTP/1 connection to an upstream carries now, and its response."""

    def __init__(self, end: Duplex) -> None:
        super().__init__(end)
        self._method: bytes = b""
        self._limit = 0
        self._chunked = False  # the request's body is sent in chunks
        self._stopped = False  # the upstream did not read the request to its end: no other can follow it
        self._section: bytes = b""  # the last final header section, as received
        self._head: ResponseHead | None = None  # … parsed
        self._searched = 0  # bytes of `rest` in which no header section ends
        self._interim = 0  # bytes of interim responses
        self._whole = False  # the body was taken with `whole_body`
        self._reader: Http1BodyReader | None = None  # reads the body otherwise

    # -- the request -------------------------------------------------------------------------------------------------

    def begin(self, asked: UpstreamRequest, encoded: bytes, limit: int) -> bytes:
        self._method = asked.method
        self._limit = limit
        self._chunked = asked.body is not None and asked.is_open_ended()
        self._interim = 0
        self._whole = False
        self._reader = None
        return encoded

    def encode_piece(self, data: bytes) -> bytes:
        return encode_chunk(data) if self._chunked else data

    def encode_end(self) -> bytes:
        return LAST_CHUNK if self._chunked else b""

    def has_begun(self, data: bytes) -> bool:
        rest = self.rest + data
        while rest.startswith(_INTERIM) and rest[9:12] != b"101":
            end = find_head_end(rest, 0)
            if end < 0:
                self.rest = rest
                return len(rest) >= self._limit
            self._count_interim(end)
            rest = rest[end:]
        self.rest = rest
        return len(rest) > 0 and (len(rest) >= len(_INTERIM) or not _INTERIM.startswith(rest))

    def stop_sending(self) -> None:
        self._stopped = True

    # -- the response ------------------------------------------------------------------------------------------------

    def read_head(self, data: bytes) -> ResponseHead | None:
        if self.rest:
            data = self.rest + data
        section = self._section
        if section and data.startswith(section):
            self.rest = data[len(section) :]
            self._searched = 0
            return self._head
        end = find_head_end(data, self._searched)
        if end < 0:
            check_beginning(data)
            if len(data) >= self._limit:
                raise _too_big("header")
            self.rest = data
            self._searched = len(data) - 3 if len(data) > 3 else 0
            return None
        if end > self._limit:
            raise _too_big("header")
        self.rest = data[end:]
        self._searched = 0
        return self._parsed(data[:end])

    def _parsed(self, section: bytes) -> ResponseHead:
        """Return a header section that is not the one before; a final one is stored for the next response."""
        head = parse_response_head(section)
        if head.status >= 200 or head.status == 101:
            self._section = section
            self._head = head
        else:
            self._count_interim(len(section))
        return head

    def _count_interim(self, size: int) -> None:
        """Bound interim responses together as one header section is bounded: else an upstream could send them for ever."""
        self._interim += size
        if self._interim > self._limit:
            raise _too_big("early hints")

    def whole_body(self) -> bytes | None:
        head = self._head
        assert head is not None
        length = head.content_length
        rest = self.rest
        if length < 0 or len(rest) < length:
            return None
        self._whole = True
        if len(rest) == length:
            self.rest = b""
            return rest
        self.rest = rest[length:]
        return rest[:length]

    def body_reader(self) -> ResponseBodyReader:
        head = self._head
        assert head is not None
        reader = Http1BodyReader(head.content_length, head.chunked)
        self._reader = reader
        return reader

    def is_reusable(self) -> bool:
        head = self._head
        if head is None or head.close or self._stopped or self.rest:
            return False
        reader = self._reader
        if reader is not None:  # a body that only the end of the connection ends leaves none
            return reader.done and not reader.remainder and (head.content_length >= 0 or head.chunked)
        return self._whole or not may_send_body(head, self._method)


def may_send_body(head: ResponseHead, method: bytes) -> bool:
    """Return whether bytes of a body may follow a header section in response to `method`.

    RFC 9110 section 8.6: a 204 has no length, a 304 hardly ever one (no usual server sends it). One that announces a body may send
    it, as the beginning of the next response. To HEAD every server announces what GET would bring.
    """
    if method == b"HEAD":
        return False
    if head.status == 204 or head.status == 304:
        return head.content_length > 0 or head.chunked
    return True


def _too_big(what: str) -> ProtocolError:
    return ProtocolError(502, f"upstream sent too big {what}")
