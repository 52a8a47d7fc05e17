"""HTTP/1 as a location's upstreams speak it: 1.0 or 1.1, and the header fields that it sends."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

from portico.codec.fields import joined_lines
from portico.passing.fields import RequestFieldRules, forwarded_element
from portico.passing.http1.stream import Http1UpstreamStream
from portico.passing.protocol import UpstreamProtocol, UpstreamRequest, UpstreamStream

if TYPE_CHECKING:
    from portico.balancing.pool import PeerConnection


@final
class Http1Protocol(UpstreamProtocol):
    """`proxy_pass`. The field lines that depend only on the client's connection and header section are made once for them."""

    def __init__(self, rules: RequestFieldRules, version: int) -> None:
        super().__init__(can_upgrade=True, needs_length=version == 10)
        self._rules = rules
        self._line_end: bytes = b" HTTP/1.1\r\n" if version > 10 else b" HTTP/1.0\r\n"
        configured = rules.configured
        self._sends_host = b"host" not in configured
        self._sends_close = b"connection" not in configured and version == 10
        self._sends_length = b"content-length" not in configured
        self._sends_encoding = b"transfer-encoding" not in configured

    def encode(self, asked: UpstreamRequest) -> bytes:
        request = asked.request
        if (
            asked.is_repeatable
            and asked.body is None
            and asked.content is None
            and request.memo is not None
            and self._rules.are_stable
        ):
            memo = request.memo
            if memo.owner is self:
                lines = memo.text
            else:
                lines = self._lines(asked)
                memo.owner = self
                memo.text = lines
        else:
            lines = self._lines(asked)
        if asked.fields:
            lines = joined_lines([key + b": " + value for key, value in asked.fields]) + lines
        head = asked.method + b" " + asked.uri + self._line_end + lines
        if asked.content is not None:
            return head + asked.content
        if asked.body is not None and asked.body.data:
            return head + asked.body.data
        return head

    def _lines(self, asked: UpstreamRequest) -> bytes:
        """Return the field lines, in nginx's order, and the empty line that ends them."""
        request = asked.request
        rules = self._rules
        lines: list[bytes] = []
        for header in rules.headers:
            value = header.value.render(request)
            if value:
                lines.append(header.name + b": " + value)
        if self._sends_host:
            lines.append(b"Host: " + asked.host)
        if self._sends_close:
            lines.append(b"Connection: close")
        length = asked.length()
        if length >= 0:
            if self._sends_length:
                lines.append(b"Content-Length: %d" % length)
        elif asked.body is not None and self._sends_encoding:
            lines.append(b"Transfer-Encoding: chunked")
        if rules.forwarded:
            lines.append(b"Forwarded: " + forwarded_element(request))
        own = joined_lines(lines) if lines else b""
        return own + rules.passed_on(request.fields) + b"\r\n"

    def stream_of(self, connection: PeerConnection) -> UpstreamStream:
        stream = connection.state
        if isinstance(stream, Http1UpstreamStream):
            return stream
        fresh = Http1UpstreamStream(connection.transport)
        connection.state = fresh
        return fresh
