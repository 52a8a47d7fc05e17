"""The heads of one client connection, and the requests that they are.

A browser repeats its header block with every request, so the last block of the connection is remembered with everything it led to
(fields, virtual server, host): the same bytes again cost one comparison.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.errors import ProtocolError
from portico.codec.fields import NO_CONNECTION, HeaderOptions, RequestFields
from portico.codec.http1_request import RequestLine, parse_request_fields, parse_request_line, split_target, valid_host
from portico.config.regex import RegexFailed
from portico.errorlog import ALERT
from portico.http.error_pages import TOO_LARGE_HEADER
from portico.http.errors import HTTPError
from portico.http.request import Request
from portico.http.routing.uri import NormalUri, normalise

if TYPE_CHECKING:
    from portico.http.plan import Listener, VirtualServer
    from portico.http.server.http1.lines import RequestLines
    from portico.variables.client import Client

_METHOD: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ_-"
NO_FIELDS: Final = RequestFields(b"", [], [], [], {}, -1, False, NO_CONNECTION, b"", False)


@final
class RequestHeads:
    """Makes a request of each head. A head that breaks the protocol gives a request that exists only to be refused (`refusal`)."""

    def __init__(self, client: Client, listener: Listener, lines: RequestLines) -> None:
        self.client = client
        self.listener = listener
        self.lines = lines
        self.pipelined = False  # the head at hand came before the answer to the one before was sent
        # the last header block and what it led to
        self.fields: RequestFields = NO_FIELDS
        self.fields_version = 0
        self.server: VirtualServer = listener.default
        self.host: bytes = b""

    def is_repeated(self, buffer: bytes) -> bool:
        """Whether `buffer` is one request line and the header block of the request before: then its end need not be looked for."""
        raw = self.fields.raw
        return len(raw) > 0 and buffer.endswith(raw + b"\r\n") and buffer.find(b"\n") == len(buffer) - len(raw) - 3

    def oversized(self, buffer: bytes) -> int:
        """Whether a head breaks `large_client_header_buffers`: the status to answer, 0 when it does not."""
        core = self.server.core
        size = core.large_buffer_size
        line_end = buffer.find(b"\n")
        if line_end < 0 or line_end >= size:
            return 414 if line_end >= size or len(buffer) > size else 0
        if len(buffer) > size * core.large_buffers:
            return TOO_LARGE_HEADER
        at = line_end + 1
        while len(buffer) - at > size:
            end = buffer.find(b"\n", at)
            if end < 0 or end - at >= size:
                return TOO_LARGE_HEADER
            at = end + 1
        return 0

    def forget(self) -> None:
        """Idle for a while: what is remembered of the last header block is not worth its memory."""
        self.fields = NO_FIELDS
        self.fields_version = 0

    def request_of(self, head: bytes) -> Request:
        """The request that a head, with its blank line, is."""
        line_end = head.find(b"\n")
        line = head[:line_end]
        if line[-1:] == b"\r" and head[-4:] == b"\r\n\r\n":
            line = line[:-1]
        else:
            return self.refused(line, HTTPError(400, "client sent a line without CR before its LF in the request head"))
        block = head[line_end + 1 : len(head) - 2]  # at least empty, now that the line ends are known
        try:
            known = self.lines.read(line)
            parsed = known.parsed
            if block != self.fields.raw or parsed.version != self.fields_version:
                self._new_fields(parsed, block)
            return self._request(parsed, known.uri)
        except ProtocolError as error:
            return self.refused(line, HTTPError(error.status, error.reason))
        except ValueError:
            return self.refused(line, HTTPError(400, "client sent invalid request: the path cannot be decoded"))
        except RegexFailed as given_up:  # of a server_name
            self.forget()
            return self.refused(line, HTTPError(500, str(given_up), ALERT))

    def _new_fields(self, parsed: RequestLine, block: bytes) -> None:
        """Another header block than the one before: parse it and find its server."""
        core = self.listener.default.core
        self.forget()
        fields = parse_request_fields(
            block, parsed.version, HeaderOptions(core.underscores_in_headers, core.ignore_invalid_headers)
        )
        self.host = b"" if fields.host is None else valid_host(fields.host)[0]
        self.server = self.listener.find(self.host)
        self.fields = fields
        self.fields_version = parsed.version

    def _request(self, parsed: RequestLine, uri: NormalUri | None) -> Request:
        server = self.server
        host = self.host
        target = parsed.target
        if uri is None:
            authority, target, _ = split_target(target)
            if authority:
                host = valid_host(authority)[0]
                server = self.listener.find(host)
            uri = normalise(target, self.listener.default.core.merge_slashes)
        request = Request(self.client, parsed.line, parsed.method, parsed.version, self.fields, server)
        request.raw_uri = target
        request.asked_host = host
        request.host = host or server.name_bytes
        request.uri = uri.uri
        request.args = uri.args
        request.plain_uri = True
        request.quoted_uri = uri.quoted
        request.shares_fields = host is self.host
        request.pipelined = self.pipelined
        request.received += len(self.fields.raw) + 2
        if self.listener.captures_names:
            self._keep_captures(request, host)
        return request

    def _keep_captures(self, request: Request, host: bytes) -> None:
        """Give the request what a regex in `server_name` captured."""
        match = self.listener.names.find(host)
        if match.captures is not None:
            request.captures = match.captures
        if match.named is not None:
            request.keep_names(match.named)

    def refused(self, line: bytes, error: HTTPError) -> Request:
        """A request that exists only to be refused, on the default server."""
        error.close = True
        request = Request(self.client, line, b"", 11, NO_FIELDS, self.listener.default)
        request.refusal = error
        return request

    def refused_as_too_large(self, buffer: bytes, status: int) -> Request:
        """The request of a head that `oversized` does not let pass."""
        core = self.server.core
        line = buffer[: core.large_buffer_size].partition(b"\n")[0].rstrip(b"\r")
        limits = f"large_client_header_buffers is {core.large_buffers} of {core.large_buffer_size} bytes"
        what = "URI" if status == 414 else "header line or too many of them"
        return self.refused(line, HTTPError(status, f"client sent too long {what} ({limits})"))

    def unanswered(self, buffer: bytes, status: int) -> Request:
        """A request that ends before its head does: it has no answer, but a line in the access log."""
        line = buffer.partition(b"\n")[0].rstrip(b"\r")
        request = Request(self.client, line, b"", 11, NO_FIELDS, self.listener.default)
        request.status = status
        return request


def may_be_http(buffer: bytes) -> bool:
    """Whether what has come of a head can become one: TLS on a plain port, HTTP/0.9 and noise are refused at once."""
    line_end = buffer.find(b"\n")
    if line_end < 0:
        return not buffer[:32].partition(b" ")[0].translate(None, _METHOD)
    try:
        parse_request_line(buffer[:line_end].removesuffix(b"\r"))
    except ProtocolError:
        return False
    return True
