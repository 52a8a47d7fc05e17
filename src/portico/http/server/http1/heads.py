"""The header sections of one client connection, and the requests that they are.

A browser repeats its header section with every request, so the connection holds on to the last one with everything it led to
(`sections.py`: fields, virtual server, host): the same bytes again cost one comparison.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, final

from portico.codec.errors import ProtocolError
from portico.codec.fields import NO_FIELDS, RequestFields
from portico.codec.http1_request import RequestLine, parse_request_line, split_target, valid_host
from portico.config.regex import RegexFailed
from portico.errorlog import ALERT
from portico.http.error_pages import TOO_LARGE_HEADER
from portico.http.errors import HTTPError
from portico.http.request import Request, SectionMemo
from portico.http.routing.target import RequestTarget
from portico.http.routing.uri import normalise
from portico.http.server.http1.sections import Section, Sections
from portico.http.server.limits import check_number_of_fields

if TYPE_CHECKING:
    from portico.http.plan import Listener
    from portico.http.server.http1.lines import RequestLines
    from portico.http.settings import CoreSettings
    from portico.variables.client import Client

_HOST: Final = re.compile(rb"\nhost:([^\n]*)\n", re.IGNORECASE)
_UNDECODABLE: Final = RequestTarget(b"", b"", b"", False)
_METHOD: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ_-"


@final
class RequestHeads:
    """Makes a request of each header section. One that breaks the protocol gives a request that exists only to be refused."""

    def __init__(self, client: Client, listener: Listener, lines: RequestLines, sections: Sections) -> None:
        self.client = client
        self.listener = listener
        self.lines = lines
        self.sections = sections
        self.pipelined = False  # the one at hand came before the response to the one before was sent
        self.ends_in_doubt = False  # of the request at hand: nothing that comes behind it is read as another one
        self.section: Section | None = None  # the last one
        self.memo: SectionMemo | None = None  # what was made of it, once it has come a second time

    def is_repeated(self, buffer: bytes) -> bool:
        """Return whether `buffer` is one request line and the header section of the request before: then it is whole."""
        if self.section is None:
            return False
        raw = self.section.fields.raw
        return len(raw) > 0 and buffer.endswith(raw + b"\r\n") and buffer.find(b"\n") == len(buffer) - len(raw) - 3

    def oversized(self, buffer: bytes) -> int:
        """Return the status to respond with when a header section breaks `large_client_header_buffers`; 0 when it does not.

        All up to the Host line has the default server's buffers, and what follows those of the server that Host names, as in nginx,
        which goes on with the buffer that it has begun.
        """
        default = self.listener.default.core
        size = default.large_buffer_size
        line_end = buffer.find(b"\n")
        if line_end < 0 or line_end >= size:
            return 414 if line_end >= size or len(buffer) > size else 0
        found = _HOST.search(buffer)
        named_at = 0 if found is None else found.end()
        core = self._core_of(found)
        begun = (named_at + size - 1) // size * size
        if named_at > size * default.large_buffers or len(buffer) > max(begun, core.large_buffer_size * core.large_buffers):
            return TOO_LARGE_HEADER
        at = line_end + 1
        while len(buffer) - at > size:
            end = buffer.find(b"\n", at)
            if end < 0 or end - at >= size:
                return TOO_LARGE_HEADER
            at = end + 1
            if at >= named_at:
                size = core.large_buffer_size
        return 0

    def _core_of(self, found: re.Match[bytes] | None) -> CoreSettings:
        """Return the settings of the server that the Host line names, those of the default server where none was found."""
        if found is not None:
            try:
                return self.listener.find(valid_host(found[1].strip(b" \t\r"))[0]).core
            except (ProtocolError, RegexFailed):
                pass  # the request is refused for it when it is whole
        return self.listener.default.core

    def request_of(self, head: bytes) -> Request:
        """Return the request that a header section, with its request line and blank line, is."""
        self.ends_in_doubt = False
        line_end = head.find(b"\n")
        line = head[:line_end]
        end = len(head) - 2
        bare = line[-1:] != b"\r" or head[-4:] != b"\r\n\r\n"
        if not bare:
            line = line[:-1]
        else:
            line = line.removesuffix(b"\r")
            if head[-2:] != b"\r\n":
                end += 1
        block = head[line_end + 1 : end]  # at least empty
        try:
            known = self.lines.read(line)
            parsed = known.parsed
            section = self.section
            if section is None or block != section.fields.raw or parsed.version != section.version:
                self.memo = None
                section = self.section = self.sections.read(block, parsed.version, self.listener)
            elif self.memo is None:
                self.memo = SectionMemo()
            if bare or section.fields.has_bare_lf:
                self._judge_line_ends(head, section.fields)
            return self._request(parsed, known.target, section, len(head))
        except ProtocolError as error:
            return self.refused(line, HTTPError(error.status, error.reason))
        except ValueError:
            return self._undecodable(line)
        except RegexFailed as given_up:  # of a server_name
            return self.refused(line, HTTPError(500, str(given_up), ALERT))

    def _judge_line_ends(self, head: bytes, fields: RequestFields) -> None:
        """Note whether somebody in front, to whom a bare LF ends no line, may see another end of this request. Raises ProtocolError.

        Where all lines end alike, both see the same request or none. Where CRLF and LF are mixed, one may see the header section go
        on where the other sees its end, or a field that says where the body ends inside the value of another. So there is no body
        then, and what comes behind is no request: the connection is closed (RFC 9112 section 11.2).
        """
        ends = head.count(b"\n")
        if head.count(b"\r\n") in (0, ends):
            return
        if fields.content_length >= 0 or fields.chunked:
            raise ProtocolError(400, "client sent a body behind a header section with both CRLF and bare LF as line ends")
        self.ends_in_doubt = True

    def _request(self, parsed: RequestLine, target: RequestTarget | None, section: Section, received: int) -> Request:
        server = section.server
        host = section.host
        memo = self.memo
        if target is None:
            authority, path, _ = split_target(parsed.target)
            if authority:
                host = valid_host(authority)[0]
                server = self.listener.find(host)
                check_number_of_fields(len(section.fields.names), server.core)
                memo = None  # what it is about has another host than the header section
            target = normalise(path, self.listener.default.core.merge_slashes)
        request = Request(self.client, parsed.line, parsed.method, parsed.version, section.fields, server)
        request.target = target
        request.asked_host = host
        request.memo = memo
        request.received = received
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
        """Return a request that exists only to be refused, on the default server."""
        error.close = True
        request = Request(self.client, line, b"", 11, NO_FIELDS, self.listener.default)
        request.refusal = error
        return request

    def _undecodable(self, line: bytes) -> Request:
        """Return a request that is refused for its path: its method and version are known."""
        request = self.refused(line, HTTPError(400, "client sent invalid request: the path cannot be decoded"))
        parsed = parse_request_line(line)
        request.method = parsed.method
        request.version = parsed.version
        request.target = _UNDECODABLE
        return request

    def refused_as_too_large(self, buffer: bytes, status: int) -> Request:
        """Return the request of a header section that `oversized` does not let pass."""
        core = self._core_of(None if status == 414 else _HOST.search(buffer))
        line = buffer[: core.large_buffer_size].partition(b"\n")[0].rstrip(b"\r")
        limits = f"large_client_header_buffers is {core.large_buffers} of {core.large_buffer_size} bytes"
        what = "URI" if status == 414 else "header line or too many of them"
        return self.refused(line, HTTPError(status, f"client sent too long {what} ({limits})"))

    def unanswered(self, buffer: bytes, status: int) -> Request:
        """Return a request that ends before its header section does: it has no response, but a line in the access log."""
        line = buffer.partition(b"\n")[0].rstrip(b"\r")
        request = Request(self.client, line, b"", 11, NO_FIELDS, self.listener.default)
        request.status = status
        return request


def may_be_http(buffer: bytes) -> bool:
    """Return whether what has come can become a request: TLS on a plain port, HTTP/0.9 and noise are refused at once."""
    line_end = buffer.find(b"\n")
    if line_end < 0:
        return not buffer[:32].partition(b" ")[0].translate(None, _METHOD)
    try:
        parse_request_line(buffer[:line_end].removesuffix(b"\r"))
    except ProtocolError:
        return False
    return True
