"""Requests out of the header blocks of one HTTP/2 connection (RFC 9113 section 8.3).

What a block's fields come to (fields, virtual server, host) is remembered beside the block (`codec/http2/hpack.py`): of a client
that repeats them only the path is looked at. A block that breaks the rules gives a request that exists only to be refused, with 400
as in nginx.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, final

from portico.codec.errors import ProtocolError, shown
from portico.codec.fields import CLIENT, NO_CONNECTION, HeaderOptions, RequestFields, length_of
from portico.codec.http1_request import check_unique, is_method, is_spaced, valid_host
from portico.codec.versions import HTTP_2
from portico.config.regex import RegexFailed
from portico.errorlog import ALERT
from portico.http.errors import HTTPError
from portico.http.request import Request, SectionMemo
from portico.http.routing.target import RequestTarget
from portico.http.routing.uri import normalise
from portico.http.server.limits import check_number_of_fields

if TYPE_CHECKING:
    from portico.codec.http2.hpack import Block, HeaderList
    from portico.codec.http2.streams import Stream
    from portico.http.plan import Listener, VirtualServer
    from portico.variables.client import Client

_NO_FIELDS: Final = RequestFields(b"", [], [], [], {}, -1, False, NO_CONNECTION, b"", False)
_UNDECODABLE: Final = RequestTarget(b"", b"", b"", False)
_PSEUDO: Final = (b":method", b":scheme", b":authority", b":path")
_PLAIN: Final = b"abcdefghijklmnopqrstuvwxyz0123456789-"
_PLAIN_UNDERSCORE: Final = _PLAIN + b"_"
_NOT_IN_NAME: Final = bytes(range(0x21)) + b":ABCDEFGHIJKLMNOPQRSTUVWXYZ\x7f"
_SCHEME: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+-."
_LETTERS: Final = _SCHEME[:52]
# RFC 9113 section 8.2.2: they are about a connection of HTTP/1.
_OF_CONNECTION: Final = (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
_KEPT_FROM: Final = frozenset((b"CONNECT", b"TRACE"))


@final
class KnownFields:
    """What the fields of a request come to. `open_fields`: those of a request whose body has no Content-Length, as it has one."""

    def __init__(
        self, method: bytes, fields: RequestFields, open_fields: RequestFields, host: bytes, server: VirtualServer
    ) -> None:
        self.method = method
        self.fields = fields
        self.open_fields = open_fields
        self.host = host  # in lower case, without its port
        self.server = server
        self.memo = SectionMemo()


@final
class KnownPath:
    """What a path comes to, with the method in front of it."""

    def __init__(self, line: bytes, target: RequestTarget) -> None:
        self.line = line
        self.target = target


@final
class RequestReader:
    """Makes the requests of one connection."""

    def __init__(self, client: Client, listener: Listener) -> None:
        self.client = client
        self.listener = listener

    def request_of(self, stream: Stream, block: Block, ended: bool) -> Request:
        """Return the request that a block is. `ended`: no content follows."""
        try:
            return self._request(stream, block, ended)
        except ProtocolError as error:
            return self._refused(block, HTTPError(error.status, error.reason))
        except RegexFailed as given_up:  # of a server_name
            return self._refused(block, HTTPError(500, str(given_up), ALERT))

    def _request(self, stream: Stream, block: Block, ended: bool) -> Request:
        headers = block.headers
        known = headers.made
        if not isinstance(known, KnownFields):
            known = self._read(headers)
            headers.made = known
        path = block.made
        if not isinstance(path, KnownPath):
            path = self._path(known.method, block.path)
            block.made = path
        if ended and known.fields.content_length > 0:
            raise ProtocolError(400, "client prematurely closed stream")
        fields = known.fields if ended else known.open_fields
        request = Request(self.client, path.line, known.method, HTTP_2, fields, known.server)
        request.target = path.target
        request.asked_host = known.host
        request.memo = known.memo if ended else None
        request.received = stream.received
        if known.method in _KEPT_FROM:
            request.refusal = HTTPError(405, f"client sent {known.method.decode()} method")
        if self.listener.captures_names:
            match = self.listener.names.find(known.host)
            if match.captures is not None:
                request.captures = match.captures
            if match.named is not None:
                request.keep_names(match.named)
        return request

    def _path(self, method: bytes, path: bytes) -> KnownPath:
        """Return what a path comes to. Raises ProtocolError."""
        if not path:
            raise ProtocolError(400, "client sent no :path header")
        try:
            if path[:1] != b"/" or is_spaced(path):
                raise ValueError
            target = normalise(path, self.listener.default.core.merge_slashes)
        except ValueError:
            raise ProtocolError(400, f'client sent invalid :path header: "{shown(path)}"') from None
        return KnownPath(method + b" " + path + b" HTTP/2.0", target)

    def _read(self, headers: HeaderList) -> KnownFields:
        """Return what a header list comes to, but for its path. Raises ProtocolError; RegexFailed of a server_name."""
        core = self.listener.default.core
        pseudo = _pseudo_headers(headers)
        options = HeaderOptions(core.underscores_in_headers, core.ignore_invalid_headers)
        names, values = _regular_fields(headers, len(pseudo), options)
        count = len(names) - 1 if names[-1:] == [b"cookie"] else len(names)  # nginx does not count it
        method = _method(pseudo)
        _check_scheme(pseudo)
        first: dict[bytes, bytes] = {}
        for index in range(len(names) - 1, -1, -1):
            first[names[index]] = values[index]
        _check_connection(names, first)
        check_unique(names, names, values, first, CLIENT)
        authority = pseudo.get(b":authority")
        host = first.get(b"host")
        if authority is None:
            if host is None:
                raise ProtocolError(400, 'client sent neither ":authority" nor "Host" header')
            authority = host
        elif host is None:
            names.insert(0, b"host")
            values.insert(0, authority)
            first[b"host"] = authority
        elif host != authority:
            raise ProtocolError(400, 'client sent ":authority" and "Host" headers with different values')
        name = valid_host(authority)[0]
        server = self.listener.find(name)
        if not self.listener.is_http2 and (server.http2 is None or not server.http2.enabled):
            reason = "client attempted to request the server name for which the negotiated protocol is disabled"
            raise ProtocolError(421, reason)
        check_number_of_fields(count, server.core)
        length = first.get(b"content-length")
        size = -1 if length is None else length_of(length, CLIENT)
        expects = first.get(b"expect", b"").lower() == b"100-continue"
        raw = b" ".join(names)  # all that anybody asks of it: whether a name has an underscore
        fields = RequestFields(raw, names, names, values, first, size, False, NO_CONNECTION, b"", expects)
        unended = fields
        if size < 0:
            unended = RequestFields(raw, names, names, values, first, size, True, NO_CONNECTION, b"", expects)
        return KnownFields(method, fields, unended, name, server)

    def _refused(self, block: Block, error: HTTPError) -> Request:
        """Return a request that exists only to be refused, on the default server."""
        names = block.headers.names
        method = block.headers.values[names.index(b":method")] if b":method" in names else b""
        if not is_method(method):
            method = b""
        line = b""
        target = _UNDECODABLE
        try:
            if method:
                known = self._path(method, block.path)
                line, target = known.line, known.target
        except ProtocolError:
            pass  # it is refused for that, or for something else as well
        request = Request(self.client, line, method, HTTP_2, _NO_FIELDS, self.listener.default)
        request.target = target
        request.refusal = error
        return request


def _pseudo_headers(headers: HeaderList) -> dict[bytes, bytes]:
    """Return the pseudo-header fields, which stand first. Raises ProtocolError."""
    found: dict[bytes, bytes] = {}
    names = headers.names
    for index, name in enumerate(names):
        if name[:1] != b":":
            break
        if name not in _PSEUDO:
            raise ProtocolError(400, f'client sent unknown pseudo-header "{shown(name)}"')
        if name in found:
            raise ProtocolError(400, f"client sent duplicate {name.decode()} header")
        found[name] = headers.values[index]
    if b":path" not in found:
        raise ProtocolError(400, "client sent no :path header")
    return found


def _regular_fields(headers: HeaderList, start: int, options: HeaderOptions) -> tuple[list[bytes], list[bytes]]:
    """Return names and values of the fields behind the first `start`; the parts of Cookie are one (RFC 9113 section 8.2.3).

    Raises ProtocolError.
    """
    names: list[bytes] = []
    values: list[bytes] = []
    cookies: list[bytes] = []
    plain = _PLAIN_UNDERSCORE if options.underscores else _PLAIN
    for index in range(start, len(headers.names)):
        name = headers.names[index]
        value = headers.values[index]
        other = name.translate(None, plain)
        if other or not name:
            if name[:1] == b":":
                raise ProtocolError(400, "client sent out of order pseudo-headers")
            if not name or other.translate(None, _NOT_IN_NAME) != other:
                raise ProtocolError(400, f'client sent invalid header name: "{shown(name)}"')
        if value.find(b"\n") >= 0 or value.find(b"\r") >= 0 or value.find(b"\0") >= 0 or value.strip(b" \t") != value:
            raise ProtocolError(400, f'client sent header "{shown(name)}" with invalid value: "{shown(value)}"')
        if other and options.ignore_invalid:
            continue
        if name == b"cookie":
            cookies.append(value)
        else:
            names.append(name)
            values.append(value)
    if cookies:
        names.append(b"cookie")
        values.append(b"; ".join(cookies))
    return names, values


def _method(pseudo: dict[bytes, bytes]) -> bytes:
    method = pseudo.get(b":method")
    if method is None:
        raise ProtocolError(400, "client sent no :method header")
    if not is_method(method):
        raise ProtocolError(400, f'client sent invalid method: "{shown(method)}"')
    return method


def _check_scheme(pseudo: dict[bytes, bytes]) -> None:
    scheme = pseudo.get(b":scheme")
    if scheme is None:
        raise ProtocolError(400, "client sent no :scheme header")
    if not scheme or scheme.translate(None, _SCHEME) or scheme[:1].translate(None, _LETTERS):
        raise ProtocolError(400, f'client sent invalid :scheme header: "{shown(scheme)}"')


def _check_connection(names: list[bytes], first: dict[bytes, bytes]) -> None:
    """Refuse fields that are about a connection: an upstream of HTTP/1 might believe them. Raises ProtocolError."""
    for name in _OF_CONNECTION:
        if name in first:
            raise ProtocolError(400, f'client sent "{name.decode().title()}" header')
    if b"te" in first and (first[b"te"].lower() != b"trailers" or names.count(b"te") > 1):
        raise ProtocolError(400, 'client sent invalid "TE" header')
