"""Which header fields an upstream gets: those that the configuration sets, and the client's, but for those that concern its
connection only (RFC 9110 section 7.6.1).

How they are sent is the protocol's matter (`http1/protocol.py`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.fields import RequestFields, joined_lines
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
_UPGRADING: Final = frozenset((b"http2-settings",))  # RFC 7540 section 3.2.1: named by clients that would like HTTP/2


@final
class RequestFieldRules:
    """The header fields that the upstreams of one location get.

    `forwarded`: a Forwarded field is made (RFC 7239), unless the configuration sets one. `dropped`: the client's fields that are
    never passed on.
    """

    def __init__(self, headers: list[SetHeader], pass_headers: bool, forwarded: bool) -> None:
        self.headers = headers
        self.pass_headers = pass_headers
        self.configured: frozenset[bytes] = frozenset(header.lower for header in headers)
        self.forwarded = forwarded and b"forwarded" not in self.configured
        self.dropped: frozenset[bytes] = HOP_BY_HOP | self.configured | (_FORWARDED if self.forwarded else _NONE)
        self.left_out: frozenset[bytes] = _NONE  # by a cache, of what would be passed on otherwise
        self.are_stable = False  # every value holds for all requests with one header section of one connection

    def settle(self) -> None:
        """Note that the values know their variables."""
        self.are_stable = all(header.value.stability < PER_REQUEST for header in self.headers)

    def leave_conditions_out(self) -> None:
        """Leave conditions and ranges to a cache, which judges them itself (ngx_http_proxy_cache_headers)."""
        if self.pass_headers:
            self.left_out = CONDITIONS - self.dropped
        self.dropped |= CONDITIONS

    def withheld(self, request: Request) -> list[tuple[bytes, bytes]]:
        """Return the client's fields that were left out, for a request that is not for the cache after all (nginx: !u->cacheable)."""
        fields = request.fields
        return [
            (fields.keys[i], fields.values[i])
            for i in range(len(fields.names))
            if fields.names[i] in self.left_out and fields.names[i] not in fields.connection_tokens
        ]

    def drops_nominated(self, request: Request) -> bool:
        """Return whether a field in Connection keeps another one from the upstream that would be passed on otherwise."""
        if not self.pass_headers:
            return False
        first = request.fields.first
        return any(
            name in first and name not in self.dropped and name not in _UPGRADING for name in request.fields.connection_tokens
        )

    def passed_on(self, fields: RequestFields) -> bytes:
        """Return the client's fields that are passed on, as HTTP/1 sends them. They are made once for a header section."""
        if fields.passed_on_by is not self:
            lines = self.lines_of(fields)
            fields.passed_on = joined_lines(lines) if lines else b""
            fields.passed_on_by = self
        return fields.passed_on

    def lines_of(self, fields: RequestFields) -> list[bytes]:
        """Return the client's fields that are passed on, each as `name: value`."""
        lines: list[bytes] = []
        if not self.pass_headers:
            return lines
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
        return lines


def forwarded_element(request: Request) -> bytes:
    """Return the value of Forwarded: who asked, behind what a trusted proxy has said (RFC 7239 section 4)."""
    client = request.client
    scheme = b"https" if client.secure else b"http"
    before = request.fields.joined(b"forwarded") if request.told_address else None
    if before and nodes_of(before):  # of whoever connected: the client itself is in what that one says
        return before + b", " + element(client.remote_addr, client.remote_port, request.asked_host, scheme)
    return element(request.remote_addr, request.remote_port, request.asked_host, scheme)
