"""Requests out of the bytes of one HTTP/1 connection, without I/O.

    request = reader.begin(received)        # for each request, with what came behind the one before
    while request is None:          # a whole header section, or one that is refused as soon as that is certain
        request = reader.feed(data)

A request that is refused (`Request.refusal`) is answered and ends the connection.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.codec.http1_request import find_request_end
from portico.http.server.http1.heads import RequestHeads, may_be_http

if TYPE_CHECKING:
    from portico.http.plan import Listener
    from portico.http.request import Request
    from portico.http.server.http1.lines import RequestLines
    from portico.http.server.http1.sections import Sections
    from portico.variables.client import Client


@final
class HeadReader:
    """The header sections of one connection. `buffer`: of the one that is coming; `rest`: what came behind the one that is whole."""

    def __init__(self, client: Client, listener: Listener, lines: RequestLines, sections: Sections) -> None:
        self.heads = RequestHeads(client, listener, lines, sections)
        self.buffer: bytes = b""
        self.rest: bytes = b""
        self._checked = False  # the request line is one of HTTP

    def begin(self, received: bytes) -> Request | None:
        """Begin with what came behind the request before; return the next request when that holds it."""
        self.buffer = b""
        self.rest = b""
        self._checked = False
        self.heads.pipelined = len(received) > 0
        return self.feed(received) if received else None

    def feed(self, data: bytes) -> Request | None:
        """Return the request that is whole, or refused, with `data`; None: more is needed."""
        buffer = self.buffer
        heads = self.heads
        if buffer:
            start = max(len(buffer) - 3, 0)
            buffer += data
        else:
            start = 0
            buffer = data.lstrip(b"\r\n") if data[0] <= 13 else data  # RFC 9112 section 2.2: empty lines before a request
            if heads.is_repeated(buffer):
                return self._whole(buffer, len(buffer))
        end = find_request_end(buffer, start) if buffer else -1
        if end >= 0:
            return self._whole(buffer, end)
        self.buffer = buffer
        if not buffer:
            return None
        if not self._checked:
            if not may_be_http(buffer):
                return heads.request_of(buffer.partition(b"\n")[0] + b"\r\n\r\n")
            self._checked = b"\n" in buffer
        if len(buffer) > heads.listener.least_header_buffer:
            status = heads.oversized(buffer)
            if status:
                return heads.refused_as_too_large(buffer, status)
        return None

    def _whole(self, buffer: bytes, end: int) -> Request:
        """Return the request whose header section are the first `end` bytes."""
        heads = self.heads
        if end > heads.listener.least_header_buffer:
            status = heads.oversized(buffer[:end])
            if status:
                return heads.refused_as_too_large(buffer[:end], status)
        self.buffer = b""
        if end == len(buffer):
            return heads.request_of(buffer)
        request = heads.request_of(buffer[:end])
        if not heads.ends_in_doubt:
            self.rest = buffer[end:]
        return request
