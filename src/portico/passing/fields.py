"""The head of the request that the upstream gets.

In nginx's order: what `proxy_set_header` says, the defaults that it does not replace, then the client's own fields but for those that
concern its connection only (RFC 9110 section 7.6.1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.fields import joined_lines
from portico.codec.forwarded import element, nodes_of
from portico.passing.directives import SetHeader
from portico.variables.variable import PER_REQUEST

if TYPE_CHECKING:
    from portico.http.request import Request

HOP_BY_HOP: Final = frozenset(
    (
        b"connection", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"transfer-encoding", b"upgrade",
        b"host", b"content-length", b"expect",
    )
)  # fmt: skip


_FORWARDED: Final[frozenset[bytes]] = frozenset((b"forwarded",))
_NONE: Final[frozenset[bytes]] = frozenset()
CONDITIONS: Final = frozenset(
    (b"if-modified-since", b"if-unmodified-since", b"if-none-match", b"if-match", b"range", b"if-range")
)


@final
class RequestHead:
    """Makes heads for one location. What depends only on the client's connection and header block is made once for them."""

    def __init__(self, headers: list[SetHeader], pass_headers: bool, version: int, forwarded: bool) -> None:
        self.version: bytes = b" HTTP/1.1\r\n" if version > 10 else b" HTTP/1.0\r\n"
        self.headers = headers
        self.pass_headers = pass_headers
        configured = {header.lower for header in headers}
        self.own_host = b"host" not in configured
        self.own_connection = b"connection" not in configured and version == 10
        self.own_length = b"content-length" not in configured
        self.own_encoding = b"transfer-encoding" not in configured
        self.forwarded = forwarded and b"forwarded" not in configured
        self.dropped: frozenset[bytes] = HOP_BY_HOP | configured | (_FORWARDED if self.forwarded else _NONE)
        self.left_out = _NONE
        self.memorable = all(header.value.stability < PER_REQUEST for header in headers)

    def leave_conditions_out(self) -> None:
        """For a cache, which answers the client's conditions and ranges itself (ngx_http_proxy_cache_headers)."""
        if self.pass_headers:
            self.left_out = CONDITIONS - self.dropped
        self.dropped |= CONDITIONS

    def conditions(self, request: Request) -> bytes:
        """The lines of the client that were left out, for what the cache has nothing to do with after all (nginx: !u->cacheable)."""
        fields = request.fields
        lines = [
            fields.keys[i] + b": " + fields.values[i] + b"\r\n"
            for i in range(len(fields.names))
            if fields.names[i] in self.left_out and fields.names[i] not in fields.connection_tokens
        ]
        return b"".join(lines)

    def settle(self) -> None:
        """Once the values know their variables: whether a block can be remembered."""
        self.memorable = all(header.value.stability < PER_REQUEST for header in self.headers)

    def block(self, request: Request, proxy_host: bytes, length: int, chunked: bool, memorable: bool) -> bytes:
        """Every line after the request line, with the blank one. `length`: of the body, -1 when there is none."""
        fields = request.fields
        remember = memorable and self.memorable and length < 0 and not chunked and request.shares_fields
        if remember and fields.memo_owner is self:
            return fields.memo
        made = self._make(request, proxy_host, length, chunked)
        if remember:
            fields.memo_owner = self
            fields.memo = made
        return made

    def _make(self, request: Request, proxy_host: bytes, length: int, chunked: bool) -> bytes:
        lines: list[bytes] = []
        for header in self.headers:
            value = header.value.render(request)
            if value:
                lines.append(header.name + b": " + value)
        if self.own_host:
            lines.append(b"Host: " + proxy_host)
        if self.own_connection:
            lines.append(b"Connection: close")
        if chunked:
            if self.own_encoding:
                lines.append(b"Transfer-Encoding: chunked")
        elif length >= 0 and self.own_length:
            lines.append(b"Content-Length: %d" % length)
        if self.forwarded:
            lines.append(b"Forwarded: " + _forwarded(request))
        if self.pass_headers:
            self._copy(request, lines)
        return joined_lines(lines) + b"\r\n" if lines else b"\r\n"

    def _copy(self, request: Request, lines: list[bytes]) -> None:
        fields = request.fields
        names = fields.names
        keys = fields.keys
        values = fields.values
        dropped = self.dropped
        nominated = fields.connection_tokens
        for i in range(len(names)):
            name = names[i]
            if name in dropped or (nominated and name in nominated):
                continue
            lines.append(keys[i] + b": " + values[i])


def _forwarded(request: Request) -> bytes:
    """Who asked, behind what a trusted proxy has told (RFC 7239 section 4)."""
    client = request.client
    scheme = b"https" if client.secure else b"http"
    before = request.fields.joined(b"forwarded") if request.told_address else None
    if before and nodes_of(before):  # of whoever connected: the client itself is in what that one says
        return before + b", " + element(client.remote_addr, client.remote_port, request.asked_host, scheme)
    return element(request.remote_addr, request.remote_port, request.asked_host, scheme)
